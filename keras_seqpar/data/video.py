"""Reading frames from video files and cameras, and writing videos, with OpenCV (extra `video`)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HINT = "Install it: pip install 'keras-seqpar[video]', or opencv-python-headless."
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
DEFAULT_FRAME_RATE = 25.0  # if the file or camera states no usable one


def opencv() -> Any:
    """Imports OpenCV, with its log messages switched off.

    Raises:
        ImportError: it is not installed.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f"Videos need OpenCV, which is not installed. {HINT}") from error
    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)
    return cv2


class VideoStream:
    """An open video file or camera; iterate over `frames()`, then `close`, or use `with`.

    Args:
        capture: OpenCV's open capture.
        name: name of the file, or `"camera"`.
        resize: `(width, height)` that frames are resized to; `None` keeps their size.

    Attributes:
        name: see above.
        frame_size: `(width, height)` of the frames that are returned.
        frame_rate: frames per second.
        frame_count: number of frames according to the file; 0 if unknown. Some files state fewer
            frames than they have.
        frame_number: number of frames read so far.

    Example:

    >>> with open_video("highway.avi") as clip:
    ...     frames = list(clip.frames(100))
    """

    def __init__(self, capture: Any, name: str, resize: tuple[int, int] | None = None):
        cv2 = opencv()
        self._capture, self._resize = capture, resize
        self.name = name
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.frame_size = resize or (width, height)
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.frame_rate = float(rate) if rate and 0 < rate < 1000 else DEFAULT_FRAME_RATE
        self.frame_count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.frame_number = 0

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """`(height, width, 3)` of the frames that are returned."""
        width, height = self.frame_size
        return height, width, 3

    @property
    def position_ms(self) -> float:
        """Time of the last frame read, in milliseconds from the first frame."""
        return 1000 * max(0, self.frame_number - 1) / self.frame_rate

    @property
    def incomplete(self) -> bool:
        """Whether fewer frames were read than the file states."""
        return self.frame_number < self.frame_count

    def read(self) -> np.ndarray | None:
        """The next frame, `(height, width, 3)` uint8 RGB; `None` at the end."""
        good, frame = self._capture.read()
        if not good or frame is None:
            return None
        self.frame_number += 1
        if self._resize:
            cv2 = opencv()
            frame = cv2.resize(frame, self._resize, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(frame[..., ::-1])

    def frames(self, limit: int | None = None) -> Iterator[np.ndarray]:
        """Yields frames, see `read`, until the video ends.

        Args:
            limit: stop when this many frames have been read in all.
        """
        while limit is None or self.frame_number < limit:
            frame = self.read()
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        """Releases the file or camera."""
        self._capture.release()

    def __enter__(self) -> "VideoStream":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def open_video(source: str, resize: tuple[int, int] | None = None) -> VideoStream:
    """Opens a video file or a camera.

    Args:
        source: a file, `"camera"`, or `"camera:1"` for the second camera.
        resize: `(width, height)` to resize frames to.

    Raises:
        ImportError: OpenCV is not installed.
        ValueError: the file does not exist, or it cannot be decoded.
    """
    cv2 = opencv()
    kind, _, number = source.partition(":")
    if kind == "camera":
        if not (number or "0").isdigit():
            raise ValueError(f"A camera is named camera or camera:NUMBER, got {source!r}.")
        capture = cv2.VideoCapture(int(number or "0"))
    else:
        if not Path(source).is_file():
            raise ValueError(f"There is no file {source}.")
        capture = cv2.VideoCapture(os.fspath(source))
    sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    if not capture.isOpened() or not all(int(capture.get(side)) for side in sides):
        capture.release()
        raise ValueError(
            f"{source} cannot be decoded as a video by OpenCV {cv2.__version__}. Convert it first, "
            "for example with ffmpeg -i FILE out.mp4."
        )
    return VideoStream(capture, Path(source).name, resize)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`(width, height)` from the flag --size, for example "480x360"; `None` from `None`.

    Raises:
        ValueError: another text.
    """
    if text is None:
        return None
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"--size must be WIDTHxHEIGHT, for example 480x360, got {text!r}.")
    return int(parts[0]), int(parts[1])


class VideoWriter:
    """Writes a video under a temporary name; `close` renames it to its path.

    Args:
        path: an .mp4 or .avi file.
        frame_rate: frames per second.

    Raises:
        ValueError: another ending.
    """

    def __init__(self, path: Path, frame_rate: float):
        if path.suffix not in CODECS:
            raise ValueError(f"A video is written to an .mp4 or .avi file, got {path.name!r}.")
        self.path, self.frame_rate = path, frame_rate
        self._part = path.with_name(f".{path.stem}.tmp{path.suffix}")
        self._writer: Any = None

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame `(height, width, 3)`, uint8 RGB, of the size of the first one."""
        cv2 = opencv()
        if self._writer is None:
            code = cv2.VideoWriter_fourcc(*CODECS[self.path.suffix])
            size = frame.shape[1], frame.shape[0]
            self._writer = cv2.VideoWriter(os.fspath(self._part), code, self.frame_rate, size)
            if not self._writer.isOpened():
                raise OSError(f"OpenCV cannot write {self.path}: try the ending .avi.")
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self) -> None:
        """Finishes the file and renames it to its path; without frames there is no file."""
        if self._writer is not None:
            self._writer.release()
            os.replace(self._part, self.path)
            self._writer = None

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()
