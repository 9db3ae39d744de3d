"""What a data set holds, told by names and contents: the same wherever it lies.

Of every image, the name, the category and the size in bytes are known. Of a sample, also the CRC-32
of the encoded bytes, as they are in a folder or an archive: nothing is decoded. The sample are
images in random order, the same for the same images, up to `READ` bytes of each split. So a smaller
split is known whole, and so is one in a zip, whose directory has the CRC-32 of all images.

Renamed, added, removed and resized images, and those moved to another category, are always
recognized. Images replaced by others with as many bytes are recognized in the sample only.
"""

import concurrent.futures
import csv
import hashlib
import io
import itertools
import os
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.data.sources.encoded import UNKNOWN, in_memory
from keras_seqpar.data.streaming import content_of

READ = 2**29  # bytes of the images of a split that are read
_BLOCK = 256  # images whose contents are looked at, or whose pixels are read, in one go
_SHOWN = 5  # names in a sentence

# Name of an image -> its category, bytes and CRC-32 (`None` where it is not known).
Fingerprint = dict[str, tuple[str, int, int | None]]


def on_all_cores(work: Callable[[int], Any], numbers: Sequence[int] | np.ndarray) -> list:
    """Runs `work` on numbers, in threads; returns what it returns."""

    def some(start: int) -> list:  # a task each for millions would take memory
        return [work(int(i)) for i in numbers[start : start + _BLOCK]]

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(itertools.chain(*pool.map(some, range(0, len(numbers), _BLOCK))))


def contents_of(places: Sequence, known: np.ndarray | None = None) -> np.ndarray:
    """`(images, 2)` int64: the size and CRC-32 of every image; `UNKNOWN` where it is not read.

    Args:
        places: the images.
        known: the same, as far as their source tells it; `None` where it tells nothing.
    """

    def size_of(i: int) -> int:
        place = places[i]
        return len(place) if isinstance(place, bytes) else os.stat(place).st_size

    found = np.full((len(places), 2), UNKNOWN) if known is None else known.copy()
    if known is None:
        found[:, 0] = on_all_cores(size_of, range(len(places)))
    order = np.random.default_rng(0).permutation(np.flatnonzero(found[:, 1] == UNKNOWN))
    if not in_memory(places):
        order = order[np.cumsum(found[order, 0]) <= READ]
    found[order, 1] = on_all_cores(lambda i: zlib.crc32(content_of(places[i])), order)
    return found


def reader_of(places: Sequence, known: np.ndarray | None = None) -> Callable[[], np.ndarray]:
    """A function that returns `contents_of`; files are read when it is called."""
    if not in_memory(places):
        return lambda: contents_of(places, known)
    found = contents_of(places, known)
    return lambda: found


def fingerprint(dataset: Dataset) -> Fingerprint:
    """The names, categories and contents of all images of a data set.

    Args:
        dataset: the data set. A split that knows no encoded images is told by its pixels.

    Returns:
        Name -> (category, bytes, CRC-32 or `None`).

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
            made[name] = (category, size, None if check == UNKNOWN else check)
    return made


def _pixel_contents(split: Split) -> np.ndarray:
    found = []
    for start in range(0, len(split), _BLOCK):
        images = split.read(range(start, min(len(split), start + _BLOCK)))
        encoded = [np.ascontiguousarray(image).tobytes() for image in images]
        found += [(len(content), zlib.crc32(content)) for content in encoded]
    return np.array(found, "int64").reshape(-1, 2)


def digest(images: Fingerprint) -> str:
    """The SHA-256 of a fingerprint."""
    return hashlib.sha256(to_csv(images).encode()).hexdigest()


def differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """Says which images differ: how many were replaced, removed or added, and the first names.

    CRC-32 that only one of both knows do not count.
    """

    def replaced(name: str) -> bool:
        (*one, check), (*other, check_now) = before[name], now[name]
        return one != other or (None not in (check, check_now) and check != check_now)

    kinds = {
        "with another content or category": [n for n in before if n in now and replaced(n)],
        "missing": [name for name in before if name not in now],
        "new": [name for name in now if name not in before],
    }
    return [
        f"{len(names):,} {kind}: {', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}"
        for kind, names in kinds.items()
        if names
    ]


def to_csv(images: Fingerprint) -> str:
    """A fingerprint as a table, one line per image, sorted by name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "category", "bytes", "crc32"))
    for name, (category, size, check) in sorted(images.items()):
        writer.writerow((name, category, size, "" if check is None else f"{check:08x}"))
    return text.getvalue()


def from_csv(text: str) -> Fingerprint:
    """Reads `to_csv`.

    Raises:
        ValueError: it is no such table.
    """
    lines = csv.DictReader(io.StringIO(text))
    try:
        return {
            line["name"]: (
                line["category"],
                int(line["bytes"]),
                int(line["crc32"], 16) if line["crc32"] != "" else None,
            )
            for line in lines
        }
    except (KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"no table of images: {error}") from error
