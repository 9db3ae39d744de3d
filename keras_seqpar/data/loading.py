"""Images with labels from one spec string: `digits`, `imagenette`, `folder:`, `archive:`.

Import it by name (`from keras_seqpar import data`): the package itself does not, and the
libraries that read images are imported only where they are used. Every image comes out
as a square of RGB pixels from 0 to 255: the shorter side is resized to `image_size` (bicubic,
with antialiasing), and the square in the middle is kept.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from keras_seqpar.data.trees import SPLITS, Record, check_tree, read_archive, read_folder
from keras_seqpar.utils.images import decode
from keras_seqpar.utils.names import unknown_name

SPECS = ("digits", "imagenette", "folder:PATH", "archive:PATH.zip", "archive:PATH.tar")
MEMORY_LIMIT = 4 * 2**30

# The ten WordNet ids of Imagenette (github.com/fastai/imagenette) and their labels.
IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """One split of a data set.

    Args:
        names: file name or number of every image.
        labels: `(images,)` category index of every image, `int32`.
        pixels: all images, `(images, size, size, 3)` uint8, or a function from indices to
            such an array where they do not fit into memory.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    pixels: np.ndarray | Callable[[np.ndarray], np.ndarray]

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Returns the images at `indices`: `(len(indices), size, size, 3)` uint8, 0..255."""
        indices = np.asarray(indices, "int64").reshape(-1)
        return self.pixels(indices) if callable(self.pixels) else self.pixels[indices]


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set of labeled images.

    Args:
        name: the spec it was loaded from.
        categories: labels, in the order of the category indices.
        splits: the splits that were asked for, by name: "train", "validation".
        skipped: names of the unreadable images that were left out.
    """

    name: str
    categories: tuple[str, ...]
    splits: Mapping[str, Split]
    skipped: tuple[str, ...] = ()

    @property
    def train(self) -> Split:
        """The split to train on."""
        return self.splits["train"]

    @property
    def validation(self) -> Split:
        """The split to measure on."""
        return self.splits["validation"]


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
            names in sorted order.
            `archive:PATH`: such a tree in a .zip or .tar file, read without unpacking.
        image_size: side of the square images, in pixels.
        data_dir: where tensorflow-datasets keeps its data; it downloads what is not there.
        skip_unreadable: leave out images that cannot be decoded, instead of failing.
        splits: which splits to read.
        memory_limit: largest number of bytes of decoded images per split to keep in memory.
            A larger split is decoded whenever it is read.

    Returns:
        The data set.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an unknown spec or split; a folder that is missing or empty or has no
            splits; a category without images, or not in every split; unreadable images.
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
    if spec == "digits":
        return _digits(image_size, splits)
    if spec == "imagenette":
        categories, records = _imagenette(data_dir, splits)
    elif kind in ("folder", "archive") and path:
        tree = read_folder(path) if kind == "folder" else read_archive(path, splits, memory_limit)
        categories, records = check_tree(tree, path, splits)
    else:
        raise ValueError(f"Unknown data set {spec!r}. Valid: {', '.join(SPECS)}.")
    made, skipped = {}, []
    for name, images in records.items():
        made[name], bad = _split(images, categories, image_size, memory_limit, skip_unreadable)
        skipped += bad
    return Dataset(spec, categories, made, tuple(skipped))


def only(dataset: Dataset, categories: Sequence[str]) -> Dataset:
    """Keeps some categories of a data set.

    Args:
        dataset: the data set.
        categories: labels to keep, in the order wanted.

    Returns:
        A data set of their images alone, in the order they had.

    Raises:
        ValueError: an unknown or a repeated label, or none.

    Example:

    >>> only(load("digits", image_size=32), ["3", "8"]).categories
    ('3', '8')
    """
    known = list(dataset.categories)
    for label in categories:
        if label not in known:
            raise ValueError(unknown_name("category", label, known))
    if not categories or len(set(categories)) < len(categories):
        raise ValueError(f"Name every category once, and one at least; got {list(categories)}.")
    new = np.full(len(known), -1, "int32")
    new[[known.index(label) for label in categories]] = range(len(categories))
    splits = {}
    for name, split in dataset.splits.items():
        rows = np.flatnonzero(new[split.labels] >= 0)
        splits[name] = Split(
            tuple(split.names[i] for i in rows),
            new[split.labels[rows]],
            functools.partial(_read_rows, split, rows)
            if callable(split.pixels)
            else split.pixels[rows],
        )
    return Dataset(dataset.name, tuple(categories), splits, dataset.skipped)


def _read_rows(split: Split, rows: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return split.read(rows[indices])


def _split(records, categories, size, memory_limit, skip_unreadable) -> tuple[Split, list[str]]:
    """Decodes records, or makes a split that decodes when it is read."""
    bad: dict[int, str] = {}
    if len(records) * size * size * 3 <= memory_limit:
        pixels = np.zeros((len(records), size, size, 3), "uint8")

        def keep(i: int) -> None:
            pixels[i] = decode(records[i][2], size)

        bad = _try_all(keep, len(records))
    else:
        if skip_unreadable:  # all must be decoded once to know which
            bad = _try_all(lambda i: decode(records[i][2], size), len(records))
        pixels = None
    if bad and not skip_unreadable:
        raise ValueError(_unreadable({records[i][0]: why for i, why in bad.items()}))
    good = [i for i in range(len(records)) if i not in bad]
    counts = collections.Counter(records[i][1] for i in good)
    if lost := [label for i, label in enumerate(categories) if not counts[i]]:
        raise ValueError(f"No readable image is left of {', '.join(map(repr, lost))}.")
    skipped = [records[i][0] for i in bad]
    kept = [records[i] for i in good]
    if pixels is None:
        pixels = _Lazy([record[2] for record in kept], [record[0] for record in kept], size)
    elif bad:
        pixels = pixels[good]
    labels = np.array([record[1] for record in kept], "int32")
    return Split(tuple(record[0] for record in kept), labels, pixels), skipped


class _Lazy:
    """Decodes images when they are asked for."""

    def __init__(self, sources, names, size: int):
        self.sources, self.names, self.size = sources, names, size

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        out = np.empty((len(indices), self.size, self.size, 3), "uint8")

        def read(i: int) -> None:
            out[i] = decode(self.sources[indices[i]], self.size)

        if bad := _try_all(read, len(indices)):
            raise ValueError(_unreadable({self.names[indices[i]]: w for i, w in bad.items()}))
        return out


def _try_all(work: Callable[[int], object], count: int) -> dict[int, str]:
    """Runs `work(0) ... work(count - 1)` on all cores; returns who failed, and why."""

    def attempt(i: int) -> str | None:
        try:
            work(i)
        except Exception as error:  # broken files make decoders raise errors of many kinds
            return f"{type(error).__name__}: {error}"
        return None

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return {i: why for i, why in enumerate(pool.map(attempt, range(count))) if why}


def _unreadable(reasons: Mapping[str, str], most: int = 8) -> str:
    shown = "".join(f"\n  {name} ({why})" for name, why in list(reasons.items())[:most])
    rest = f"\n  ... and {len(reasons) - most} more" if len(reasons) > most else ""
    return (
        f"{len(reasons)} unreadable or truncated image(s):{shown}{rest}\n"
        "Replace or remove them, or leave them out with skip_unreadable (--skip_unreadable)."
    )


def _digits(size: int, splits: Sequence[str]) -> Dataset:
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(_missing("digits", "scikit-learn")) from error
    from PIL import Image

    source = load_digits()
    gray = np.round(source.images * (255 / 16)).astype("uint8")  # 0..16 -> 0..255
    resize = [Image.fromarray(g).resize((size, size), Image.Resampling.BICUBIC) for g in gray]
    pixels = np.repeat(np.stack([np.asarray(r) for r in resize])[..., None], 3, axis=-1)
    parts = train_test_split(
        np.arange(len(gray)), test_size=0.2, random_state=0, stratify=source.target
    )
    rows = dict(zip(("train", "validation"), map(np.sort, parts), strict=True))
    made = {
        name: Split(
            tuple(f"digits[{i}]" for i in rows[name]),
            source.target[rows[name]].astype("int32"),
            pixels[rows[name]],
        )
        for name in splits
    }
    return Dataset("digits", tuple(map(str, source.target_names)), made)


def _imagenette(data_dir, splits) -> tuple[tuple[str, ...], dict[str, list[Record]]]:
    try:
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(_missing("imagenette", "tensorflow-datasets")) from error
    import keras

    if keras.backend.backend() != "tensorflow":  # leave the GPU's memory to the backend
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    builder = tfds.builder("imagenette/160px-v2", data_dir=data_dir)
    if not builder.is_prepared():
        try:
            builder.download_and_prepare()
        except Exception as error:  # network and disk errors of many kinds
            raise ValueError(
                f"Imagenette is not in {builder.data_path} and could not be downloaded "
                f"({error}). Say where it lies with data_dir (--data_dir)."
            ) from error
    categories = tuple(IMAGENETTE[name] for name in builder.info.features["label"].names)
    records: dict[str, list[Record]] = {}
    for split in splits:
        encoded = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
        records[split] = [
            (f"{split}[{i}]", int(item["label"]), bytes(item["image"]))
            for i, item in enumerate(tfds.as_numpy(encoded))
        ]
    return categories, records


def _missing(spec: str, library: str) -> str:
    return (
        f"The data set {spec!r} needs {library}. Install it with "
        "pip install 'keras-seqpar[train,tensorflow]', or give a folder of images: folder:PATH."
    )
