"""CamVid: street scenes from a car with a class for every pixel, and scores of predictions.

Brostow et al., "Semantic object classes in video: a high-definition ground truth database"
(Pattern Recognition Letters 30, 2009), in the split of 367, 101 and 233 images and the 11
classes of SegNet (arXiv 1511.00561), read from one zip: `train/`, `val/`, `test/` with images,
`trainannot/`, ... with gray images of class numbers, and `classes.txt`.

In addition to colors, networks get the position of each pixel in the frame (`with_positions`): the
sky is at the top, curbs are at the sides. So a small receptive field is enough, and a crop has the
same positions as the same part of the frame.
"""

import contextlib
import dataclasses
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from keras_seqpar.data.fingerprints import Fingerprint
from keras_seqpar.data.sources.archives import reading

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car"),
    *("pedestrian", "bicyclist"),
)
SPLITS = ("train", "val", "test")
UNLABELED = ("unlabelled", "unlabeled")  # as files in circulation spell it


@dataclasses.dataclass(frozen=True)
class Split:
    """Images with a class per pixel.

    Args:
        images: `(count, height, width, 3)` uint8.
        labels: `(count, height, width)` uint8; unlabeled pixels have the number of classes.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


@dataclasses.dataclass(frozen=True)
class Scenes:
    """All splits.

    Args:
        categories: names of the classes.
        splits: name -> images.
        contents: what the images are, as in `keras_seqpar.data.fingerprints`.
    """

    categories: tuple[str, ...]
    splits: Mapping[str, Split]
    contents: Fingerprint = dataclasses.field(default_factory=dict)


def load(path: str, splits: Sequence[str] = SPLITS) -> Scenes:
    """Reads the data.

    Args:
        path: the zip.
        splits: which to read.

    Raises:
        ValueError: no such zip, something missing in it, or images that do not fit.
    """
    if not Path(path).is_file():
        raise ValueError(f"There is no file {path}: give the zip with CamVid.")
    with contextlib.ExitStack() as stack:
        with reading(path):
            file = stack.enter_context(zipfile.ZipFile(path))
        names = file.namelist()
        listed = [name for name in names if PurePosixPath(name).name == "classes.txt"]
        if not listed:
            raise ValueError(f"{path} has no classes.txt.")
        top = PurePosixPath(listed[0]).parent
        with reading(path):
            classes = file.read(listed[0]).decode().split()
        if not classes or classes[-1] not in UNLABELED:
            raise ValueError(f"The last line of classes.txt in {path} must be {UNLABELED[0]!r}.")
        found = {name: _read_split(file, names, str(top / name), path) for name in splits}
        contents = _contents(file, top, splits)
    for name, split in found.items():
        if split.labels.max() > len(classes) - 1:
            raise ValueError(
                f"{path}: {name} has pixels of class {split.labels.max()}, but classes.txt has "
                f"{len(classes)} lines, for classes from 0."
            )
    return Scenes(tuple(classes[:-1]), found, contents)


def _contents(file: zipfile.ZipFile, top: PurePosixPath, splits: Sequence[str]) -> Fingerprint:
    """The names, sizes and CRC-32 of what `load` reads, from the zip's own table."""
    read = {top / folder for split in splits for folder in (split, f"{split}annot")}
    return {
        PurePosixPath(item.filename).relative_to(top).as_posix(): ("", item.file_size, item.CRC)
        for item in file.infolist()
        if PurePosixPath(item.filename).parent in read and not item.is_dir()
    }


def _read_split(file: zipfile.ZipFile, names, folder: str, path: str) -> Split:
    listed = sorted(n for n in names if PurePosixPath(n).parent == PurePosixPath(folder)
                    and n.endswith((".jpg", ".png")))  # fmt: skip
    if not listed:
        raise ValueError(f"The zip has no images in {folder}.")
    parts: list[list[np.ndarray]] = [[], []]
    for name in listed:
        label = f"{folder}annot/{PurePosixPath(name).stem}.png"
        if label not in names:
            raise ValueError(f"The image {name} has no classes: {label} is missing.")
        for part, entry, mode in zip(parts, (name, label), ("RGB", "L"), strict=True):
            part.append(_read_image(file, entry, mode, path))
    shapes = {x.shape[:2] for part in parts for x in part}
    if len(shapes) > 1:
        raise ValueError(f"The images in {folder} differ in size: {sorted(shapes)}.")
    return Split(*map(np.stack, parts))


def _read_image(file: zipfile.ZipFile, name: str, mode: str, path: str) -> np.ndarray:
    from PIL import Image

    with reading(path):
        content = file.read(name)
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert(mode))
    except Exception as error:  # Pillow's decoders raise errors of many kinds
        raise ValueError(f"The image {name} in {path} is damaged: {error}") from error


def positions(height: int, width: int) -> np.ndarray:
    """The position of each pixel: `(height, width, 2)`, 0 to 255.

    The first channel grows from top to bottom, the second from the middle column to both sides,
    so that left and right look the same.
    """
    down = (np.arange(height) + 0.5) / height
    across = np.abs((np.arange(width) + 0.5) / width * 2 - 1)
    return np.stack(np.meshgrid(255 * down, 255 * across, indexing="ij"), axis=-1)


def with_positions(images: np.ndarray) -> np.ndarray:
    """Images `(..., height, width, 3)` with the channels of `positions`, as uint8."""
    height, width = images.shape[-3:-1]
    where = np.round(positions(height, width)).astype("uint8")
    where = np.broadcast_to(where, (*images.shape[:-1], 2))
    return np.concatenate([images, where], axis=-1)


def frequencies(split: Split, classes: int) -> np.ndarray:
    """Share of each class in the labeled pixels."""
    counts = np.bincount(split.labels.reshape(-1), minlength=classes)[:classes]
    return counts / counts.sum()


def class_weights(split: Split, classes: int) -> np.ndarray:
    """Weights of the classes' pixels in the loss: 1 over the root of their share.

    Weights of 1 over the share would make all classes count the same, which harms large classes
    more than it improves small ones; the root is half way, in logarithms, from no weights to them.
    The mean of the weights over the pixels is 1.
    """
    shares = np.maximum(frequencies(split, classes), 1e-4)
    weights = shares**-0.5
    return (weights / (weights * shares).sum()).astype("float32")


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by class (rows) and predicted class (columns); unlabeled pixels are left out."""
    known = labels < classes
    pairs = labels[known].astype(int) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def ious(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of each class; NaN for those that neither occur nor are predicted."""
    both = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - both
    return np.where(union > 0, both / np.maximum(union, 1), np.nan)
