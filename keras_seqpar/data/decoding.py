"""Decoding images to squares: all at once into memory, or when they are read."""

from collections.abc import Sequence

import numpy as np

from keras_seqpar.data.datasets import Split
from keras_seqpar.data.fingerprints import reader_of
from keras_seqpar.data.sources.encoded import Encoded
from keras_seqpar.data.streaming import Decoding, decode_place, try_all, unreadable


def decode_split(
    images: Encoded,
    categories: Sequence[str],
    size: int,
    memory_limit: int,
    skip_unreadable: bool,
    spec: str,
) -> tuple[Split, list[str]]:
    """Decodes images, or makes a split that decodes them when it is read.

    Args:
        images: the images.
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
    count = len(images.names)
    bad: dict[int, str] = {}
    pixels = None
    if count * size * size * 3 <= memory_limit:
        pixels = made = np.zeros((count, size, size, 3), "uint8")

        def keep(i: int) -> None:
            made[i] = decode_place(images.places[i], size)

        bad = try_all(keep, count)
    elif skip_unreadable:  # all must be decoded once to know which
        bad = try_all(lambda i: decode_place(images.places[i], size), count)
    if bad and not skip_unreadable:
        raise ValueError(unreadable({images.names[i]: why for i, why in bad.items()}, spec))
    skipped = [images.names[i] for i in bad]
    if bad:
        good = np.array([i for i in range(count) if i not in bad], "int64")
        images = images.take(good)
        pixels = None if pixels is None else pixels[good]
    counts = np.bincount(images.labels, minlength=len(categories))
    if lost := [label for label, left in zip(categories, counts, strict=True) if not left]:
        raise ValueError(f"No readable image is left of {', '.join(map(repr, lost))} in {spec!r}.")
    shown = Decoding(images.places, images.names, size, spec) if pixels is None else pixels
    contents = reader_of(images.places, images.contents)
    return Split(images.names, images.labels, shown, contents), skipped
