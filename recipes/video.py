"""Videos and cameras as frames, and frames as videos, with OpenCV (the extra `video`)."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HINT = "Install it: pip install 'keras-seqpar[video]', or opencv-python-headless."


def opencv():
    """OpenCV's module.

    Raises:
        ImportError: it is not installed.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: what matters is said here
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f"Videos need OpenCV, which is not installed. {HINT}") from error
    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)
    return cv2


@dataclasses.dataclass
class Video:
    """An open video or camera.

    Args:
        name: of the file, or `"camera"`.
        width: of a frame.
        height: of a frame.
        fps: frames per second.
        count: frames that the file says it has; 0 where it says nothing. Some say too few.
        size: `(width, height)` that frames are resized to, or `None`.
        read: number of frames read so far.
    """

    name: str
    width: int
    height: int
    fps: float
    count: int
    size: tuple[int, int] | None = None
    read: int = 0
    _capture: object = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, 3)` of the frames given."""
        width, height = self.size or (self.width, self.height)
        return height, width, 3

    @property
    def ended_early(self) -> bool:
        """Whether fewer frames came than the file says it has."""
        return self.read < self.count

    def frames(self, most: int | None = None) -> Iterator[np.ndarray]:
        """Yields frames `(height, width, 3)`, uint8, red first, until the video ends.

        Args:
            most: how many at most.
        """
        cv2 = opencv()
        while most is None or self.read < most:
            good, frame = self._capture.read()
            if not good or frame is None:
                return
            self.read += 1
            if self.size:
                frame = cv2.resize(frame, self.size, interpolation=cv2.INTER_AREA)
            yield np.ascontiguousarray(frame[..., ::-1])

    def close(self) -> None:
        """Lets go of the file or camera."""
        self._capture.release()


def open_video(source: str, size: tuple[int, int] | None = None) -> Video:
    """Opens a video.

    Args:
        source: a file, `"camera"`, or `"camera:1"` for the second one.
        size: `(width, height)` to resize frames to.

    Raises:
        ImportError: OpenCV is not installed.
        ValueError: no such file, or nothing in it can be decoded.
    """
    cv2 = opencv()
    if source.partition(":")[0] == "camera":
        number = source.partition(":")[2] or "0"
        if not number.isdigit():
            raise ValueError(f"A camera is named camera or camera:NUMBER, got {source!r}.")
        capture = cv2.VideoCapture(int(number))
    else:
        if not Path(source).is_file():
            raise ValueError(f"There is no file {source}.")
        capture = cv2.VideoCapture(os.fspath(source))
    width, height = (
        int(capture.get(x)) for x in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    if not capture.isOpened() or not width or not height:
        capture.release()
        raise ValueError(
            f"{source} cannot be decoded as a video by OpenCV {cv2.__version__}. Convert it first, "
            "for example with ffmpeg -i FILE out.mp4."
        )
    fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return Video(
        Path(source).name,
        width,
        height,
        float(fps) if fps and 0 < fps < 1000 else 25.0,
        max(0, int(count)),
        size,
        _capture=capture,
    )


class Writer:
    """Writes a video; what was written is kept whatever happens, under its name once closed.

    Args:
        path: an .mp4 or .avi file.
        fps: frames per second.

    Raises:
        ValueError: another ending.
    """

    def __init__(self, path: Path, fps: float):
        codes = {".mp4": "mp4v", ".avi": "MJPG"}
        if path.suffix not in codes:
            raise ValueError(f"A video is written to an .mp4 or .avi file, got {path.name!r}.")
        self.path, self.fps, self._code = path, fps, codes[path.suffix]
        self._part = path.with_name(f".{path.stem}.tmp{path.suffix}")
        self._writer = None

    def __call__(self, frame: np.ndarray) -> None:
        """Adds a frame `(height, width, 3)`, uint8, red first."""
        cv2 = opencv()
        if self._writer is None:
            code = cv2.VideoWriter_fourcc(*self._code)
            size = frame.shape[1], frame.shape[0]
            self._writer = cv2.VideoWriter(os.fspath(self._part), code, self.fps, size)
            if not self._writer.isOpened():
                raise OSError(f"OpenCV cannot write {self.path}: try the ending .avi.")
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self) -> None:
        """Finishes the file and gives it its name."""
        if self._writer is not None:
            self._writer.release()
            os.replace(self._part, self.path)
            self._writer = None
