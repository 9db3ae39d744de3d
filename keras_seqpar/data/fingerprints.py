"""What a data set holds, told by names and contents: the same wherever it lies.

The content of an image is its size in bytes and a CRC-32 of its encoded bytes, as they are in a
folder or an archive: nothing is decoded. Of files above 256 KiB only samples are read.
"""

import concurrent.futures
import csv
import hashlib
import io
import os
import unicodedata
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.data.sources.encoded import in_memory

WHOLE = 2**18  # bytes up to which a file is read whole; larger ones at `SAMPLES` places
SAMPLES = 64
_BLOCK = 4096  # images whose contents are looked at in one go
_CHUNK = 256  # images whose pixels are read at once
_SHOWN = 5  # names in a sentence

# Name of an image -> its category, bytes and CRC-32.
Fingerprint = dict[str, tuple[str, int, int]]


def content_of(source: bytes | Path) -> tuple[int, int]:
    """The size in bytes and the CRC-32 of an encoded image.

    Args:
        source: its bytes or its file; both give the same.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(source, bytes):
        return _checked(io.BytesIO(source), len(source))
    with open(source, "rb") as file:
        return _checked(file, os.fstat(file.fileno()).st_size)


def _checked(file, size: int) -> tuple[int, int]:
    if size <= WHOLE:
        return size, zlib.crc32(file.read())
    checked, length = 0, WHOLE // SAMPLES
    for i in range(SAMPLES):
        file.seek((size - length) * i // (SAMPLES - 1))
        checked = zlib.crc32(file.read(length), checked)
    return size, checked


def contents_of(places: Sequence) -> np.ndarray:
    """`(images, 2)` uint64: the size and CRC-32 of every image."""
    found: list[tuple[int, int]] = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(places), _BLOCK):  # a task each for millions would take memory
            numbers = range(start, min(start + _BLOCK, len(places)))
            found += pool.map(lambda i: content_of(places[i]), numbers)
    return np.array(found, "uint64").reshape(-1, 2)


def reader_of(places: Sequence) -> Callable[[], np.ndarray]:
    """A function that returns `contents_of(places)`; files are read when it is called."""
    if not in_memory(places):
        return lambda: contents_of(places)
    found = contents_of(places)
    return lambda: found


def fingerprint(dataset: Dataset) -> Fingerprint:
    """The names, categories and contents of all images of a data set.

    Args:
        dataset: the data set. A split that knows no encoded images is told by its pixels.

    Returns:
        Name -> (category, bytes, CRC-32).

    Raises:
        OSError: an image cannot be read.

    Example:

    >>> before = fingerprint(data.load("digits", image_size=16))
    >>> differences(before, fingerprint(data.load("digits", image_size=16)))
    []
    """
    made: Fingerprint = {}
    for split in dataset.splits.values():
        contents = split.contents() if split.contents else _pixel_contents(split)
        for name, label, (size, check) in zip(
            split.names, split.labels, contents.tolist(), strict=True
        ):
            category, name = dataset.categories[label], unicodedata.normalize("NFC", name)
            while name in made:  # two files whose names differ in their Unicode form only
                name += "*"
            made[name] = (category, int(size), int(check))
    return made


def _pixel_contents(split: Split) -> np.ndarray:
    found = []
    for start in range(0, len(split), _CHUNK):
        images = split.read(range(start, min(len(split), start + _CHUNK)))
        found += [content_of(np.ascontiguousarray(image).tobytes()) for image in images]
    return np.array(found, "uint64").reshape(-1, 2)


def digest(images: Mapping[str, tuple[str, int, int]]) -> str:
    """The SHA-256 of a fingerprint."""
    return hashlib.sha256(to_csv(images).encode()).hexdigest()


def differences(
    before: Mapping[str, tuple[str, int, int]], now: Mapping[str, tuple[str, int, int]]
) -> list[str]:
    """Says which images differ: how many were replaced, removed or added, and the first names."""
    kinds = {
        "with another content or category": [n for n in before if n in now and now[n] != before[n]],
        "missing": [name for name in before if name not in now],
        "new": [name for name in now if name not in before],
    }
    return [
        f"{len(names):,} {kind}: {', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}"
        for kind, names in kinds.items()
        if names
    ]


def to_csv(images: Mapping[str, tuple[str, int, int]]) -> str:
    """A fingerprint as a table, one line per image, sorted by name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "category", "bytes", "crc32"))
    writer.writerows((n, c, size, f"{check:08x}") for n, (c, size, check) in sorted(images.items()))
    return text.getvalue()


def from_csv(text: str) -> Fingerprint:
    """Reads `to_csv`.

    Raises:
        ValueError: it is no such table.
    """
    lines = csv.DictReader(io.StringIO(text))
    try:
        return {
            line["name"]: (line["category"], int(line["bytes"]), int(line["crc32"], 16))
            for line in lines
        }
    except (KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"no table of images: {error}") from error
