"""One stream of frames, whatever the source: a file, images, a camera, or an address."""

import time
from collections.abc import Iterator

import numpy as np

from keras_seqpar.data.video.sources import Source, is_cut_short, opencv, parse_source

DEFAULT_FRAME_RATE = 25.0  # if the source states no usable one
RETRIES = 3  # reads after one that failed, before a source counts as ended
RETRY_SECONDS = 1.0  # from one to the next, where frames come as they are made


class VideoStream:
    """Frames of an open source; iterate over `frames()`, then `close`, or use `with`.

    A read that fails is repeated a few times: after a pause for cameras and addresses, which are
    also opened again, and at once for files that state more frames.

    Args:
        source: where the frames come from.
        resize: `(width, height)` that frames are resized to; `None` keeps their size.
        color: order of the colors that the source gives: `"rgb"` for those of OpenCV as they are
            meant, `"bgr"` for a source whose red and blue come out swapped.

    Attributes:
        name: of the source.
        frame_size: `(width, height)` of the frames that are returned.
        frame_rate: frames per second.
        frame_count: number of frames according to the source; 0 if unknown. Some files state
            more or fewer frames than they have.
        frame_number: number of frames read so far.
        position_ms: time of the last frame read, in milliseconds from the first frame: the time
            stamp of a file, and the clock for cameras.

    Raises:
        ValueError: the source cannot be opened, or has no frame.

    Example:

    >>> with VideoWriter(Path("highway.mkv"), 25.0) as writer:
    ...     for frame in images:
    ...         writer.write(frame)
    >>> with open_video("highway.mkv") as clip:
    ...     frames = list(clip.frames(10))
    >>> clip.frame_size, len(frames)
    ((32, 32), 10)
    """

    def __init__(self, source: Source, resize: tuple[int, int] | None = None, color: str = "rgb"):
        cv2 = opencv()
        self._source, self._capture = source, source.open()
        self._swap, self.name = color != "bgr", source.name
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.frame_rate = float(rate) if rate and 0 < rate < 1000 else DEFAULT_FRAME_RATE
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frame_count = int(count) if 0 < count < 2**53 else 0
        self.is_live = source.kind == "camera" or (
            source.kind == "address" and not self.frame_count
        )
        self.frame_number, self.position_ms = 0, 0.0
        self._start = 0.0  # time of the first frame, in milliseconds
        try:
            self._ahead = self._read()  # its size counts: what a source states may be another
            if self._ahead is None:
                raise ValueError(f"{self.name} gave no frame that can be decoded.")
        except BaseException:
            self.close()
            raise
        self.frame_size = resize or (self._ahead[0].shape[1], self._ahead[0].shape[0])

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """`(height, width, 3)` of the frames that are returned."""
        width, height = self.frame_size
        return height, width, 3

    @property
    def missing(self) -> int:
        """How many frames fewer were read than the source states."""
        return max(0, self.frame_count - self.frame_number)

    @property
    def broke_off(self) -> bool:
        """Whether an end before the last frame is a fault, once no more frames come.

        It is for cameras, for addresses, and for files that were cut. A complete file that states
        more frames than it has is whole.
        """
        if self._source.kind == "address":
            return self.is_live or self.missing > 0
        if self._source.kind == "file":
            return self.missing > 0 and is_cut_short(self._source.where)
        return self.is_live

    def read(self) -> np.ndarray | None:
        """The next frame, `(height, width, 3)` uint8 RGB; `None` at the end.

        Raises:
            OSError: an image cannot be decoded.
        """
        found, self._ahead = self._ahead or self._read(), None
        if found is None:
            return None
        frame, milliseconds = found
        if self.frame_number == 0:
            self._start = milliseconds
        else:  # a source without time stamps gives 0 or NaN for every frame
            position, last = milliseconds - self._start, self.position_ms
            self.position_ms = position if position > last else last + 1000 / self.frame_rate
        self.frame_number += 1
        if (frame.shape[1], frame.shape[0]) != self.frame_size:
            cv2 = opencv()
            frame = cv2.resize(frame, self.frame_size, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(frame[..., ::-1] if self._swap else frame)

    def frames(self, limit: int | None = None) -> Iterator[np.ndarray]:
        """Yields frames, see `read`, until the source ends.

        Args:
            limit: stop when this many frames have been read in all.
        """
        while limit is None or self.frame_number < limit:
            frame = self.read()
            if frame is None:
                return
            yield frame

    def timed_frames(self, limit: int | None = None) -> Iterator[tuple[float, np.ndarray]]:
        """Yields `(position_ms, frame)` until the source ends; see `frames`."""
        for frame in self.frames(limit):
            yield self.position_ms, frame

    def close(self) -> None:
        """Releases the file or camera."""
        self._capture.release()

    def __enter__(self) -> "VideoStream":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _read(self) -> tuple[np.ndarray, float] | None:
        """The next frame as OpenCV gives it, and its time in milliseconds."""
        for attempt in range(RETRIES + 1):
            if attempt and self.is_live:
                time.sleep(RETRY_SECONDS)
                if attempt > 1:
                    self._open_again()
            elif attempt and not self.missing:
                break
            good, frame = self._capture.read()
            if good and frame is not None:
                return frame, self._time_of_last()
        return None

    def _open_again(self) -> None:
        self._capture.release()
        try:
            self._capture = self._source.open()
        except ValueError:
            pass  # the next attempt may find it

    def _time_of_last(self) -> float:
        if self.is_live:
            return 1000 * time.monotonic()
        return self._capture.get(opencv().CAP_PROP_POS_MSEC)


def open_video(
    source: str, resize: tuple[int, int] | None = None, color: str = "rgb"
) -> VideoStream:
    """Opens a video file, images, a camera or an address.

    Args:
        source: a file; a folder of images, or a pattern such as `frames/*.png` or
            `frames/%04d.png`; a camera: `"0"`, `"camera"`, `"camera:1"`, `/dev/video1`; or an
            address such as `rtsp://...` or `http://...`.
        resize: `(width, height)` to resize frames to.
        color: as for `VideoStream`.

    Returns:
        The open source.

    Raises:
        ImportError: OpenCV is not installed.
        ValueError: there is no such source, or it cannot be opened or decoded.

    Example:

    >>> for number in range(3):
    ...     keras.utils.save_img(f"frame{number}.png", images[number])
    >>> with open_video("frame*.png", resize=(64, 48)) as clip:
    ...     for milliseconds, frame in clip.timed_frames():
    ...         print(frame.shape)
    (48, 64, 3)
    (48, 64, 3)
    (48, 64, 3)
    """
    return VideoStream(parse_source(source), resize, color)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Reads a frame size as the commands take it.

    Args:
        text: for example "480x360"; `None` stays `None`.

    Returns:
        `(width, height)` in pixels.

    Raises:
        ValueError: another text.

    Example:

    >>> parse_size("480x360")
    (480, 360)
    """
    if text is None:
        return None
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"--size must be WIDTHxHEIGHT, for example 480x360, got {text!r}.")
    return int(parts[0]), int(parts[1])
