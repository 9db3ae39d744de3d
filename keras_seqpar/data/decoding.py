"""Decoding images to squares: all at once into memory, or when they are read."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_seqpar.data.datasets import Split
from keras_seqpar.data.fingerprints import reader_of
from keras_seqpar.data.sources.trees import Record
from keras_seqpar.utils.images import decode


def decode_split(
    records: Sequence[Record],
    categories: Sequence[str],
    size: int,
    memory_limit: int,
    skip_unreadable: bool,
    spec: str,
) -> tuple[Split, list[str]]:
    """Decodes records, or makes a split that decodes when it is read.

    Args:
        records: the images, encoded or as paths.
        categories: labels, in the order of the category indices.
        size: side of the square images in pixels.
        memory_limit: largest number of bytes of decoded images to keep in memory.
        skip_unreadable: leave out images that cannot be decoded, instead of failing.
        spec: the data set, for messages.

    Returns:
        The split, and the names of the images that were left out.

    Raises:
        ValueError: images are unreadable, or a category has no readable one.
    """
    bad: dict[int, str] = {}
    if len(records) * size * size * 3 <= memory_limit:
        pixels = np.zeros((len(records), size, size, 3), "uint8")

        def keep(i: int) -> None:
            pixels[i] = _decode(records[i][2], size)

        bad = _try_all(keep, len(records))
    else:
        if skip_unreadable:  # all must be decoded once to know which
            bad = _try_all(lambda i: _decode(records[i][2], size), len(records))
        pixels = None
    if bad and not skip_unreadable:
        raise ValueError(_unreadable({records[i][0]: why for i, why in bad.items()}, spec))
    good = [i for i in range(len(records)) if i not in bad]
    counts = collections.Counter(records[i][1] for i in good)
    if lost := [label for i, label in enumerate(categories) if not counts[i]]:
        raise ValueError(f"No readable image is left of {', '.join(map(repr, lost))} in {spec!r}.")
    skipped = [records[i][0] for i in bad]
    kept = [records[i] for i in good]
    if pixels is None:
        sources, names = ([record[part] for record in kept] for part in (2, 0))
        pixels = _Decoding(sources, names, size, spec)
    elif bad:
        pixels = pixels[good]
    labels = np.array([record[1] for record in kept], "int32")
    contents = reader_of([record[2] for record in kept])
    return Split(tuple(record[0] for record in kept), labels, pixels, contents), skipped


def _decode(source: bytes | Path, size: int) -> np.ndarray:
    """Decodes an encoded image or a file, with the same messages for both."""
    return decode(source if isinstance(source, bytes) else source.read_bytes(), size)


class _Decoding:
    """Decodes images when they are asked for."""

    def __init__(self, sources, names, size: int, spec: str):
        self.sources, self.names, self.size, self.spec = sources, names, size, spec

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        out = np.empty((len(indices), self.size, self.size, 3), "uint8")

        def read(i: int) -> None:
            out[i] = _decode(self.sources[indices[i]], self.size)

        if bad := _try_all(read, len(indices)):
            reasons = {self.names[indices[i]]: why for i, why in bad.items()}
            raise ValueError(_unreadable(reasons, self.spec))
        return out


def _try_all(work: Callable[[int], object], count: int) -> dict[int, str]:
    """Runs `work(0) ... work(count - 1)` on all cores; returns the failed numbers with reasons."""

    def attempt(i: int) -> str | None:
        try:
            work(i)
        except Exception as error:  # broken files make decoders raise errors of many kinds
            return f"{type(error).__name__}: {error}"
        return None

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return {i: why for i, why in enumerate(pool.map(attempt, range(count))) if why}


def _unreadable(reasons: Mapping[str, str], spec: str, most: int = 8) -> str:
    shown = "".join(f"\n  {name} ({why})" for name, why in list(reasons.items())[:most])
    rest = f"\n  ... and {len(reasons) - most} more" if len(reasons) > most else ""
    return (
        f"{len(reasons)} unreadable or truncated image(s) in {spec!r}:{shown}{rest}\n"
        "Replace or remove them, or leave them out with skip_unreadable (--skip_unreadable)."
    )
