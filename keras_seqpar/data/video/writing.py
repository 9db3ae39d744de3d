"""Writing videos that can be played at any time, also after the process was killed.

A video is a Matroska file of JPEG frames. OpenCV's own writer was not enough: it cuts odd sizes by
one, knows no time stamps, keeps up to 512 KB of frames in memory, and says nothing when the disk
is full. Here each frame is encoded by OpenCV and written to the file at once, as a cluster of its
own (Matroska, RFC 9559). Players open such a file with or without the length in its head, which
`close` fills in.
"""

import struct
from pathlib import Path

import numpy as np

from keras_seqpar.data.video.sources import opencv
from keras_seqpar.utils.growing_file import GrowingFile

QUALITY = 90  # of JPEG
_UNKNOWN = b"\x01" + 7 * b"\xff"  # the length of a part that is still being written


def _part(name: str, content: bytes) -> bytes:
    """A part of a Matroska file: its name in hexadecimal digits, its length, its content."""
    return bytes.fromhex(name) + struct.pack(">Q", len(content) | 1 << 56) + content


def _number(name: str, value: int) -> bytes:
    return _part(name, struct.pack(">Q", value))


_DURATION = _part("4489", bytes(8))[:-8]  # the head of the length of the video


class VideoWriter:
    """Writes a video frame by frame, under its own name from the first frame on.

    What is in the file can be played at any time. An existing file is replaced at the first frame;
    without frames there is no file.

    Args:
        path: an .mkv file.
        frame_rate: frames per second, for players and for frames without a time.

    Raises:
        ValueError: another ending.

    Example:

    >>> with VideoWriter(Path("noise.mkv"), 25.0) as writer:
    ...     for number, frame in enumerate(images):
    ...         writer.write(frame, 40.0 * number)
    """

    def __init__(self, path: Path, frame_rate: float):
        if path.suffix != ".mkv":
            raise ValueError(f"A video is written to an .mkv file, got {path.name!r}.")
        self.path, self.frame_rate = path, frame_rate
        self._file = GrowingFile(path)
        self._shape: tuple[int, ...] = ()
        self._next = 0  # the earliest time of the next frame, in milliseconds
        self._end = 0

    def write(self, frame: np.ndarray, milliseconds: float | None = None) -> None:
        """Adds a frame.

        Args:
            frame: `(height, width, 3)`, uint8 RGB, of the size of the first one.
            milliseconds: when it is shown, after the frame before; by the frame rate if `None`.

        Raises:
            OSError: the file cannot be written; it names the file.
            ValueError: the frame has another size than the first one.
        """
        cv2 = opencv()
        if self._file.is_open and frame.shape != self._shape:
            raise ValueError(f"A frame of {self.path} is {frame.shape}, not {self._shape}.")
        jpeg = cv2.imencode(
            ".jpg", np.ascontiguousarray(frame[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        )[1].tobytes()
        time = self._next if milliseconds is None else max(self._next, round(milliseconds))
        block = b"\x81" + struct.pack(">hB", 0, 0x80) + jpeg  # of track 1, a key frame
        cluster = _part("1F43B675", _number("E7", time) + _part("A3", block))
        if not self._file.is_open:
            self._shape = frame.shape
            cluster = self._head() + cluster
        self._file.append(cluster)
        step = max(1, round(1000 / self.frame_rate))
        self._next, self._end = time + (step if milliseconds is None else 1), time + step

    def close(self) -> None:
        """Writes the length into the head of the file.

        Raises:
            OSError: the file cannot be written; it names the file.
        """
        if self._file.is_open:
            place = self._head().index(_DURATION) + len(_DURATION)
            with self._file:
                self._file.overwrite(place, struct.pack(">d", self._end))

    def _head(self) -> bytes:
        """All that comes before the first frame; the length is 0."""
        height, width = self._shape[:2]
        kind = _part("4282", b"matroska") + _number("4287", 4) + _number("4285", 2)
        limits = _number("4286", 1) + _number("42F7", 1) + _number("42F2", 4) + _number("42F3", 8)
        name = b"keras_seqpar"
        info = _number("2AD7B1", 1_000_000)  # nanoseconds of a unit of time
        info += _DURATION + struct.pack(">d", 0.0) + _part("4D80", name) + _part("5741", name)
        track = _number("D7", 1) + _number("73C5", 1) + _number("83", 1) + _number("9C", 0)
        track += _part("86", b"V_MJPEG") + _number("23E383", round(1e9 / self.frame_rate))
        track += _part("E0", _number("B0", width) + _number("BA", height))
        parts = _part("1549A966", info) + _part("1654AE6B", _part("AE", track))
        return _part("1A45DFA3", limits + kind) + bytes.fromhex("18538067") + _UNKNOWN + parts

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()
