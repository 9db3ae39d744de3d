"""Images with labels from one spec string: `digits`, `imagenet`, `folder:`, `archive:`, `tfds:`.

The libraries that read images are imported only where they are used. Every image becomes a square
of RGB pixels from 0 to 255: the shorter side is resized to `image_size` (bicubic, with
antialiasing), and the square in the middle is kept. Transparent parts become white
(`keras_seqpar.utils.images` has the rule).
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_seqpar.data.datasets import Dataset, only, rows_of
from keras_seqpar.data.decoding import decode_split
from keras_seqpar.data.sources.digits import load_digits
from keras_seqpar.data.sources.encoded import Encoded
from keras_seqpar.data.sources.tfds import read_tfds, words
from keras_seqpar.data.sources.trees import SPLITS, read_archive, read_folder
from keras_seqpar.hierarchy.subsets import labels_if_subset
from keras_seqpar.utils.names import check_label
from keras_seqpar.utils.warning import warn_user

SPECS = (
    *("digits", "imagenette", "imagenet", "folder:PATH", "archive:PATH.zip", "archive:PATH.tar"),
    "tfds:NAME[/CONFIG]",
)
"""What `load` reads: the forms of its argument `spec`.

Example:

>>> "digits" in SPECS
True
"""
TFDS = {"imagenette": "imagenette/160px-v2", "imagenet": "imagenet2012"}  # spec -> their name
MEMORY_LIMIT = 4 * 2**30
"""How many bytes of decoded images per split `load` keeps in memory by default: 4 GiB.

Example:

>>> 10_000 * 224 * 224 * 3 < MEMORY_LIMIT  # 10,000 images of 224 pixels
True
"""


def load(
    spec: str,
    *,
    image_size: int,
    data_dir: str | os.PathLike | None = None,
    skip_unreadable: bool = False,
    splits: Sequence[str] = ("train", "validation"),
    memory_limit: int = MEMORY_LIMIT,
    categories: Sequence[str] | None = None,
) -> Dataset:
    """Loads a data set and decodes its images once, or when they are read where they are many.

    Args:
        spec: what to load.
            `digits`: the 1,797 images of 8x8 pixels that come with scikit-learn; a fixed
            stratified fifth is the validation split.
            `imagenette`: the same as `tfds:imagenette/160px-v2`.
            `imagenet`: ImageNet-1k with labels in words. Where `data_dir` is a folder with the
            splits, `PATH/<split>/<WordNet id>/<image>`, its images; else `tfds:imagenet2012`.
            `folder:PATH`: a tree `PATH/<split>/<category>/<image>`. Splits are called
            `train` and `validation` (or `val`, `valid`, `test`); categories are the folder
            names in sorted order. All images below a category's folder are used, of all kinds
            that Pillow reads. Hidden and system files are skipped; a warning counts all other
            files that are not used. The tree may lie in further folders of PATH.
            `archive:PATH`: such a tree in a .zip or .tar file, read without unpacking.
            `tfds:NAME` or `tfds:NAME/CONFIG`: a set of tensorflow-datasets with one image and
            one label per example. Where all its labels are WordNet ids of ImageNet-1k's
            categories, they become words.
        image_size: side of the square images, in pixels.
        data_dir: where tensorflow-datasets keeps its data; missing data is downloaded to it.
        skip_unreadable: leave out images that cannot be decoded, instead of failing.
        splits: which splits to read.
        memory_limit: largest number of bytes of decoded images per split to keep in memory.
            A larger split is decoded whenever it is read.
        categories: the labels to load, as `only` takes them, or the name of a subset of
            ImageNet-1k, as `subset_labels` takes it: "imagewoof". `None` for all.

    Returns:
        The data set.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an unknown spec or split; a folder that is missing or empty or has no
            splits; a category without images, or not in every split; a name that can be no label
            (a line break in it); unreadable images.
        ImportError: a library that the spec needs is not installed.

    Example:

    >>> digits = load("digits", image_size=32)
    >>> digits.categories[:3], digits.train.read([0, 1]).shape
    (('0', '1', '2'), (2, 32, 32, 3))
    """
    if not isinstance(spec, str):
        raise TypeError(f"The data set must be a string such as 'digits', got {spec!r}.")
    if isinstance(image_size, bool) or not isinstance(image_size, int):
        raise TypeError(f"image_size must be a whole number of pixels, got {image_size!r}.")
    if image_size < 1:
        raise ValueError(f"image_size must be 1 pixel or more, got {image_size}.")
    unknown = [name for name in splits if name not in SPLITS]
    if unknown or not splits:
        raise ValueError(f"Unknown splits {list(splits)}. Valid: {', '.join(SPLITS)}.")
    if spec == "digits":
        digits = load_digits(image_size, splits)
        return digits if categories is None else only(digits, labels_if_subset(categories))
    labels, images, left_out = _find(spec, data_dir, splits, memory_limit, 3 * image_size**2)
    if left_out:
        warn_user(f"Not used in {spec!r}: {left_out}.")
    labels = tuple(map(check_label, labels))
    if categories is not None:
        kept = rows_of(labels, labels_if_subset(categories))
        labels = tuple(labels[i] for i in kept)
        images = {name: _keep(split, kept) for name, split in images.items()}
    made, skipped = {}, []
    for name, split in images.items():
        made[name], bad = decode_split(
            split, labels, image_size, memory_limit, skip_unreadable, spec
        )
        skipped += bad
    return Dataset(spec, labels, made, tuple(skipped), left_out)


def _find(
    spec: str,
    data_dir: str | os.PathLike | None,
    splits: Sequence[str],
    memory_limit: int,
    pixels: int,
) -> tuple[Sequence[str], dict[str, Encoded], str]:
    """Labels, the encoded images of each split, and what is left out."""
    kind, _, path = spec.partition(":")
    archive = None
    if (kind == "tfds" and path) or spec in TFDS:
        name = TFDS.get(spec, path)
        folder = Path(data_dir).expanduser() if data_dir is not None else None
        if spec != "imagenet" or folder is None or (folder / name).is_dir():
            return *read_tfds(spec, name, data_dir, splits), ""
        kind, path = "folder", str(folder)
    if kind == "folder" and path:
        tree = read_folder(path, splits)
    elif kind == "archive" and path:
        archive, tree = path, read_archive(path, splits, memory_limit, pixels)
    else:
        raise ValueError(f"Unknown data set {spec!r}. Valid: {', '.join(SPECS)}.")
    images = {name: Encoded.of(records, archive) for name, records in tree.records.items()}
    labels = words(tree.categories) if spec == "imagenet" else tree.categories
    return labels, images, tree.left_out


def _keep(split: Encoded, kept: Sequence[int]) -> Encoded:
    """The images of some categories, which are numbered anew."""
    rows = np.flatnonzero(np.isin(split.labels, kept))
    some, new = split.take(rows), {old: i for i, old in enumerate(kept)}
    return some._replace(labels=np.array([new[old] for old in some.labels.tolist()], "int32"))
