"""Images with labels from one spec string: `digits`, `imagenette`, `folder:`, `archive:`.

The libraries that read images are imported only where they are used. Every image becomes a square
of RGB pixels from 0 to 255: the shorter side is resized to `image_size` (bicubic, with
antialiasing), and the square in the middle is kept. Transparent parts become white
(`keras_seqpar.utils.images` has the rule).
"""

import os
from collections.abc import Sequence

from keras_seqpar.data.datasets import Dataset
from keras_seqpar.data.decoding import decode_split
from keras_seqpar.data.sources.digits import load_digits
from keras_seqpar.data.sources.imagenette import read_imagenette
from keras_seqpar.data.sources.trees import SPLITS, read_archive, read_folder
from keras_seqpar.utils.names import check_label
from keras_seqpar.utils.warning import warn_user

SPECS = ("digits", "imagenette", "folder:PATH", "archive:PATH.zip", "archive:PATH.tar")
"""What `load` reads: the forms of its argument `spec`.

Example:

>>> "digits" in SPECS
True
"""
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
) -> Dataset:
    """Loads a data set and decodes its images once.

    Args:
        spec: what to load.
            `digits`: the 1,797 images of 8x8 pixels that come with scikit-learn; a fixed
            stratified fifth is the validation split.
            `imagenette`: `imagenette/160px-v2` of tensorflow-datasets.
            `folder:PATH`: a tree `PATH/<split>/<category>/<image>`. Splits are called
            `train` and `validation` (or `val`, `valid`, `test`); categories are the folder
            names in sorted order. All images below a category's folder are used, of all kinds
            that Pillow reads. Hidden and system files are skipped; a warning counts all other
            files that are not used. The tree may lie in further folders of PATH.
            `archive:PATH`: such a tree in a .zip or .tar file, read without unpacking.
        image_size: side of the square images, in pixels.
        data_dir: where tensorflow-datasets keeps its data; missing data is downloaded to it.
        skip_unreadable: leave out images that cannot be decoded, instead of failing.
        splits: which splits to read.
        memory_limit: largest number of bytes of decoded images per split to keep in memory.
            A larger split is decoded whenever it is read.

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
    kind, _, path = spec.partition(":")
    left_out = ""
    if spec == "digits":
        return load_digits(image_size, splits)
    if spec == "imagenette":
        categories, records = read_imagenette(data_dir, splits)
    elif kind in ("folder", "archive") and path:
        if kind == "folder":
            categories, records, left_out = read_folder(path, splits)
        else:
            categories, records, left_out = read_archive(path, splits, memory_limit)
        if left_out:
            warn_user(f"Not used in {spec!r}: {left_out}.")
    else:
        raise ValueError(f"Unknown data set {spec!r}. Valid: {', '.join(SPECS)}.")
    categories = tuple(map(check_label, categories))
    made, skipped = {}, []
    for name, images in records.items():
        made[name], bad = decode_split(
            images, categories, image_size, memory_limit, skip_unreadable, spec
        )
        skipped += bad
    return Dataset(spec, categories, made, tuple(skipped), left_out)
