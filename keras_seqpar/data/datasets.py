"""A data set of labeled images: its splits, and how to keep some of its categories."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from keras_seqpar.data.streaming import Decoding
from keras_seqpar.utils.names import match_labels, unknown_name


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """One split of a data set.

    Args:
        names: file name or number of every image.
        labels: `(images,)` category index of every image, `int32`.
        pixels: all images, `(images, size, size, 3)` uint8, or a function from indices to
            such an array where they do not fit into memory.
        contents: returns the size and CRC-32 of every encoded image, as `contents_of` in
            `keras_seqpar.data.fingerprints`, which recognizes them by these; `None` where there are
            only pixels.

    Example:

    >>> validation = load("digits", image_size=32).validation
    >>> len(validation), validation.labels[:3].tolist(), validation.read([0, 1]).shape
    (360, [1, 4, 8], (2, 32, 32, 3))
    """

    names: tuple[str, ...]
    labels: np.ndarray
    pixels: np.ndarray | Callable[[np.ndarray], np.ndarray]
    contents: Callable[[], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns the images at `indices`: `(len(indices), size, size, 3)` uint8, 0..255."""
        indices = np.asarray(indices, "int64").reshape(-1)
        return self.pixels(indices) if callable(self.pixels) else self.pixels[indices]


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set of labeled images.

    Args:
        name: the spec it was loaded from.
        categories: labels, in the order of the category indices.
        splits: the splits that were loaded, by name: "train", "validation".
        skipped: names of the unreadable images that were left out.
        left_out: files of its folder or archive that are not used, counted in words, or "".

    Example:

    >>> digits = load("digits", image_size=32)
    >>> digits.categories[:3], len(digits.train), len(digits.validation)
    (('0', '1', '2'), 1437, 360)
    """

    name: str
    categories: tuple[str, ...]
    splits: Mapping[str, Split]
    skipped: tuple[str, ...] = ()
    left_out: str = ""

    @property
    def train(self) -> Split:
        """The split to train on."""
        return self.splits["train"]

    @property
    def validation(self) -> Split:
        """The split to measure on."""
        return self.splits["validation"]


def only(dataset: Dataset, categories: Sequence[str]) -> Dataset:
    """Keeps some categories of a data set.

    Args:
        dataset: the data set.
        categories: labels to keep, in the order of the new indices; compared as `match_labels`
            does.

    Returns:
        A data set with the images of these categories, in the same order as before.

    Raises:
        ValueError: an unknown or a repeated label, or none.

    Example:

    >>> only(load("digits", image_size=32), ["3", "8"]).categories
    ('3', '8')
    """
    known = list(dataset.categories)
    kept = rows_of(known, categories)
    new = np.full(len(known), -1, "int32")
    new[kept] = range(len(kept))
    splits = {}
    for name, split in dataset.splits.items():
        rows = np.flatnonzero(new[split.labels] >= 0)
        splits[name] = Split(
            tuple(split.names[i] for i in rows),
            new[split.labels[rows]],
            _pixels_of_rows(split, rows),
            functools.partial(_contents_of_rows, split, rows) if split.contents else None,
        )
    labels = tuple(known[i] for i in kept)
    return Dataset(dataset.name, labels, splits, dataset.skipped, dataset.left_out)


def rows_of(known: Sequence[str], categories: Sequence[str]) -> list[int]:
    """The indices of some categories; arguments and errors as for `only`."""
    known = list(known)
    kept = [i for i in match_labels(categories, known) if i is not None]
    if len(kept) < len(categories):
        unknown = categories[match_labels(categories, known).index(None)]
        raise ValueError(unknown_name("category", unknown, known))
    if not kept or len(set(kept)) < len(kept):
        raise ValueError(f"Name every category once, and one at least; got {list(categories)}.")
    return kept


def _pixels_of_rows(split: Split, rows: np.ndarray):
    if isinstance(split.pixels, Decoding):
        return split.pixels.take(rows)
    if callable(split.pixels):
        return lambda indices: split.read(rows[indices])
    return split.pixels[rows]


def _contents_of_rows(split: Split, rows: np.ndarray) -> np.ndarray:
    assert split.contents is not None
    return split.contents()[rows]


def missing_library(spec: str, library: str) -> str:
    """The message where a data set needs a library that is not installed."""
    return (
        f"The data set {spec!r} needs {library}. Install it with "
        "pip install 'keras-seqpar[train,tensorflow]', or give a folder of images: folder:PATH."
    )
