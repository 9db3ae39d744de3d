"""What a video source is: a file, images in order, a camera, or an address on the network."""

import dataclasses
import glob
import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from keras_seqpar.utils.images import decode_whole, image_endings

HINT = "Install it: pip install 'keras-seqpar[video]', or opencv-python-headless."
OPEN_SECONDS = 10  # after which an address counts as unreachable
_MOST_PARTS = 100_000  # of a file, that are looked at
_BOX_NAMES = {  # of the outermost boxes of MP4 and MOV files
    *(b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"free", b"skip", b"wide", b"pnot"),
    *(b"meta", b"udta", b"uuid", b"sidx", b"ssix", b"prft", b"pdin", b"emsg"),
}


def opencv() -> Any:
    """Imports OpenCV, with its log messages switched off.

    Returns:
        The module `cv2`.

    Raises:
        ImportError: it is not installed.

    Example:

    >>> opencv().cvtColor(images[0], opencv().COLOR_RGB2GRAY).shape
    (32, 32)
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f"Videos need OpenCV, which is not installed. {HINT}") from error
    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)
    return cv2


@dataclasses.dataclass(frozen=True)
class Source:
    """Where frames come from.

    Args:
        kind: `"file"`, `"images"`, `"camera"` or `"address"`.
        name: for messages and titles; an address without user and password.
        where: path of the file, paths of the images, number of the camera, or the address.
    """

    kind: str
    name: str
    where: Any

    def open(self) -> Any:
        """Opens the source: OpenCV's capture, or one of images with the same methods.

        Raises:
            ValueError: it cannot be opened.
        """
        cv2 = opencv()
        if self.kind == "images":
            return ImageCapture(self.where)
        if self.kind == "address":
            milliseconds = 1000 * OPEN_SECONDS
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds,
                      cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]  # fmt: skip
            capture = cv2.VideoCapture(self.where, cv2.CAP_FFMPEG, limits)
        else:
            capture = cv2.VideoCapture(self.where)
        if not capture.isOpened():
            capture.release()
            raise ValueError(self.explain())
        return capture

    def explain(self) -> str:
        """Why the source may not open, and what to do."""
        if self.kind == "camera":
            found = ", ".join(sorted(glob.glob("/dev/video*")))
            return (
                f"Camera {self.where} cannot be opened: there is no such camera, another program "
                "uses it, or it is not allowed (on Linux, add the user to the group video). "
                + (f"Found: {found}." if found else "No camera was found at /dev/video*.")
            )
        if self.kind == "address":
            return (
                f"{self.name} cannot be opened within {OPEN_SECONDS} s. Check the address, user "
                "and password, and that this machine reaches it."
            )
        return (
            f"{self.name} cannot be decoded as a video by OpenCV {opencv().__version__}. Convert "
            "it first, for example with ffmpeg -i FILE out.mp4."
        )


def parse_source(text: str) -> Source:
    """The source that a text names.

    Args:
        text: a file; a folder of images, or a pattern such as `frames/*.png` or
            `frames/%04d.png`; `"0"`, `"camera"` or `"camera:1"`, or `/dev/video0`; or an address
            such as `rtsp://...`.

    Raises:
        ValueError: there is no such file or image, or the camera has no number.
    """
    if Path(text).is_file():
        return Source("file", Path(text).name, text)
    if Path(text).is_dir():
        endings = image_endings()
        names = [name for name in os.listdir(text) if Path(name).suffix.lower() in endings]
        paths = [os.path.join(text, name) for name in names if not name.startswith(".")]
        if not paths:
            raise ValueError(f"The folder {text} has no images, such as .jpg or .png files.")
        return Source("images", Path(text).name, _in_order(paths))
    if re.fullmatch(r"[a-z][a-z0-9+.-]+://.+", text, re.IGNORECASE):
        return Source("address", re.sub(r"//[^/@]*@", "//", text), text)
    kind, colon, number = text.partition(":")
    if kind == "camera":
        if colon and not number.isdecimal():
            raise ValueError(f"A camera is named camera or camera:NUMBER, got {text!r}.")
        return Source("camera", text, int(number or "0"))
    if text.isdecimal():
        return Source("camera", f"camera:{text}", int(text))
    if match := re.fullmatch(r"/dev/video(\d+)", text):
        return Source("camera", text, int(match[1]))
    pattern = re.sub(r"%(0?\d+)?d", "*", text)
    if paths := [path for path in glob.glob(pattern) if Path(path).is_file()]:
        return Source("images", Path(text).name, _in_order(paths))
    raise ValueError(
        f"There is no file {text}. A source is a file, a folder or pattern of images "
        "(frames/*.png), a camera (0, camera:1) or an address (rtsp://...)."
    )


def _in_order(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths by the numbers in their names: 2 comes before 10."""
    return tuple(
        sorted(paths, key=lambda path: [(p.zfill(20), p) for p in re.split(r"(\d+)", path)])
    )


class ImageCapture:
    """Image files in order, with the methods of OpenCV's capture that a stream uses.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[str]):
        self._paths, self._next = paths, 0

    def read(self) -> tuple[bool, np.ndarray | None]:
        """Whether there is another image, and the image, `(height, width, 3)` uint8 BGR.

        Raises:
            OSError: a file is missing or not an image; it names the file.
            ValueError: an image has more than 8 bits and no known range; it names the file.
        """
        if self._next >= len(self._paths):
            return False, None
        image = decode_whole(self._paths[self._next])
        self._next += 1
        return True, image[..., ::-1]

    def get(self, name: int) -> float:
        """The number of images; 0 for all other properties."""
        return float(len(self._paths) if name == opencv().CAP_PROP_FRAME_COUNT else 0)

    def release(self) -> None:
        """Does nothing: no file stays open."""


def is_cut_short(path: str | os.PathLike) -> bool:
    """Whether a file ends before its own parts end: a download or a copy that broke off.

    Known are AVI, MP4, MOV and Matroska, whose parts say how long they are. Other files count as
    complete.

    Args:
        path: the file.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        end = 0
        for _ in range(_MOST_PARTS):
            file.seek(end)
            length = _part_length(file)
            if not length:
                return False
            end += length
            if end >= size:
                return end > size
    return False


def _part_length(file: BinaryIO) -> int:
    """The length in bytes of the part that begins here, head included; 0 if it says none."""
    head = file.read(16).ljust(16, b"\0")
    if head[:4] == b"RIFF":
        length = struct.unpack("<I", head[4:8])[0]
        return length + length % 2 + 8 if length else 0
    if head[:4] in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):  # EBML and Segment
        width = 9 - head[4].bit_length()  # bytes of the number that follows
        number = int.from_bytes(head[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
        return 0 if width > 8 or number == (1 << 7 * width) - 1 else 4 + width + number
    if head[4:8] in _BOX_NAMES:
        length = struct.unpack(">I", head[:4])[0]
        length = struct.unpack(">Q", head[8:])[0] if length == 1 else length
        return length if length >= 8 else 0
    return 0
