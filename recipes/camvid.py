"""CamVid: street scenes from a car, with a class for every pixel, and batches of them for `fit`.

Brostow et al., "Semantic object classes in video: a high-definition ground truth database"
(Pattern Recognition Letters 30, 2009), in the split of 367, 101 and 233 pictures and the 11
classes of SegNet (arXiv 1511.00561), read from one zip: `train/`, `val/`, `test/` with pictures,
`trainannot/`, ... with grey pictures of class numbers, and `classes.txt`.

Beside colours, networks see where in the frame a pixel lies (`with_place`): streets have their
sky above and their kerbs at the sides. Told so, a network need not look far around to know, and
crops of a frame know it as well as the whole.
"""

import dataclasses
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import augment
import keras
import numpy as np
from keras import ops

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car"),
    *("pedestrian", "bicyclist"),
)
SPLITS = ("train", "val", "test")
UNLABELLED = "unlabelled"
ZOOM = 1.4  # training crops show things up to that much larger or smaller
JITTER = 0.2  # standard deviation of the logarithm of brightness; of each colour a third of it
NOISE = 8.0  # largest standard deviation of noise, of 255
MIXED = 0.5  # share of crops with a box of another one
# Per picture: affine map, factor per colour, noise, box, corner of the part (`agreement.py`).
ROW = augment.AFFINE + 3 + 1 + 4 + 2
BOX = slice(ROW - 6, ROW - 2)
STRIDE = 4  # pixels; of the network of three stages: parts lie on its grid, as a stream's crops do


@dataclasses.dataclass(frozen=True)
class Split:
    """Pictures with a class per pixel.

    Args:
        pictures: `(count, height, width, 3)` uint8.
        labels: `(count, height, width)` uint8; the number of classes stands for none.
    """

    pictures: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.pictures)


@dataclasses.dataclass(frozen=True)
class Scenes:
    """All splits.

    Args:
        categories: names of the classes.
        splits: name -> pictures.
    """

    categories: tuple[str, ...]
    splits: Mapping[str, Split]


def load(path: str, splits=SPLITS) -> Scenes:
    """Reads the data.

    Args:
        path: the zip.
        splits: which to read.

    Raises:
        ValueError: no such zip, something missing in it, or pictures that do not fit.
    """
    if not Path(path).is_file():
        raise ValueError(f"There is no file {path}: give the zip with CamVid.")
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
            listed = [name for name in names if PurePosixPath(name).name == "classes.txt"]
            if not listed:
                raise ValueError(f"{path} has no classes.txt.")
            top = PurePosixPath(listed[0]).parent
            classes = file.read(listed[0]).decode().split()
            if classes[-1] != UNLABELLED:
                raise ValueError(f"The last line of classes.txt must be {UNLABELLED!r}.")
            found = {name: _read_split(file, names, str(top / name)) for name in splits}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no readable zip: {error}") from error
    for name, split in found.items():
        if split.labels.max() > len(classes) - 1:
            raise ValueError(f"{name} has the class {split.labels.max()}, of {len(classes)}.")
    return Scenes(tuple(classes[:-1]), found)


def _read_split(file: zipfile.ZipFile, names, folder: str) -> Split:
    from PIL import Image

    wanted = sorted(n for n in names if PurePosixPath(n).parent == PurePosixPath(folder)
                    and n.endswith((".jpg", ".png")))  # fmt: skip
    if not wanted:
        raise ValueError(f"The zip has no pictures in {folder}.")
    parts: list[list[np.ndarray]] = [[], []]
    for name in wanted:
        label = f"{folder}annot/{PurePosixPath(name).stem}.png"
        if label not in names:
            raise ValueError(f"The picture {name} has no classes: {label} is missing.")
        for part, entry, mode in zip(parts, (name, label), ("RGB", "L"), strict=True):
            with Image.open(io.BytesIO(file.read(entry))) as picture:
                part.append(np.asarray(picture.convert(mode)))
    shapes = {x.shape[:2] for part in parts for x in part}
    if len(shapes) > 1:
        raise ValueError(f"The pictures in {folder} differ in size: {sorted(shapes)}.")
    return Split(*map(np.stack, parts))


def place(height: int, width: int) -> np.ndarray:
    """Where each pixel lies: `(height, width, 2)`, 0 to 255.

    The first channel grows from top to bottom, the second from the middle column to both sides,
    so that it does not know left from right.
    """
    down = (np.arange(height) + 0.5) / height
    across = np.abs((np.arange(width) + 0.5) / width * 2 - 1)
    return np.stack(np.meshgrid(255 * down, 255 * across, indexing="ij"), axis=-1)


def with_place(pictures: np.ndarray) -> np.ndarray:
    """Pictures `(..., height, width, 3)` with the channels of `place`, as uint8."""
    height, width = pictures.shape[-3:-1]
    where = np.round(place(height, width)).astype("uint8")
    where = np.broadcast_to(where, (*pictures.shape[:-1], 2))
    return np.concatenate([pictures, where], axis=-1)


def frequencies(split: Split, classes: int) -> np.ndarray:
    """Share of each class in what is labelled."""
    counts = np.bincount(split.labels.reshape(-1), minlength=classes)[:classes]
    return counts / counts.sum()


def class_weights(split: Split, classes: int) -> np.ndarray:
    """Weights of the classes' pixels in the loss: 1 over the root of their share.

    Half way, in logarithms, from none to those that make all classes count the same, which find
    small things but cost the large ones more than they bring. Their mean over pixels is 1.
    """
    shares = np.maximum(frequencies(split, classes), 1e-4)
    weights = shares**-0.5
    return (weights / (weights * shares).sum()).astype("float32")


class Prepare(keras.layers.Layer):
    """What stands before the network in training: crop, scale, mirror, brightness, noise, boxes.

    Noise, because videos have it and what a network says should not flicker with it. A box of
    the batch's picture in reverse order with its place (CutMix, arXiv 1905.04899), because what
    a network says of a pixel should depend on little around it.

    Call arguments: pictures `(batch, height, width, 3)` of 0 to 255 and `(batch, ROW)` numbers.
    Returns `(batch, size, size, 5)`; at inference everything, of the pictures' own size.

    Args:
        size: side of the crops.
        seed: of the noise.
    """

    def __init__(self, size: int, seed: int = 0, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.size = size
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, pictures, rows, training=False):
        pictures = ops.cast(pictures, "float32")
        height, width = pictures.shape[1:3]
        if not training:
            where = ops.convert_to_tensor(place(height, width)[None], "float32")
            where = ops.tile(where, (ops.shape(pictures)[0], 1, 1, 1))
            return ops.concatenate([pictures, where], axis=-1)
        first = augment.AFFINE
        affine, colours, noise = rows[:, :first], rows[:, first : first + 3], rows[:, first + 3]
        pictures = augment.resample(pictures, affine, self.size)
        grain = keras.random.normal(ops.shape(pictures), seed=self.seed_generator)
        pictures = pictures * colours[:, None, None] + grain * noise[:, None, None, None]
        pictures = ops.clip(pictures, 0.0, 255.0)
        centres = ops.arange(self.size, dtype="float32") + 0.5
        x = (affine[:, 0, None] * centres + affine[:, 2, None]) / width
        y = (affine[:, 4, None] * centres + affine[:, 5, None]) / height
        across = 255 * ops.abs(2 * x - 1)[:, None, :, None]
        down = 255 * y[:, :, None, None]
        full = ops.zeros_like(pictures[..., :1])
        made = ops.concatenate([pictures, down + full, across + full], axis=-1)
        top, left, bottom, right = (rows[:, i, None, None, None] for i in range(ROW)[BOX])
        across, down = centres[None, None, :, None], centres[None, :, None, None]
        box = (down > top) & (down < bottom) & (across > left) & (across < right)
        return ops.where(box, ops.flip(made, axis=0), made)

    def compute_output_shape(self, pictures_shape, rows_shape):
        return (pictures_shape[0], None, None, 5)


def draw(rng: np.random.Generator, count: int, shape, size: int) -> np.ndarray:
    """Draws `(count, ROW)` numbers for `Prepare`.

    Args:
        rng: where the random numbers come from.
        count: pictures.
        shape: `(height, width)` of the pictures.
        size: side of the crops.
    """
    scale = np.exp(rng.uniform(-np.log(ZOOM), np.log(ZOOM), count))
    scale = np.minimum(scale, min(shape) / size)
    side = scale * size
    rows = np.zeros((count, ROW))
    mirrored = rng.uniform(size=count) < 0.5
    left = rng.uniform(0, 1, count) * (shape[1] - side)
    rows[:, 0] = np.where(mirrored, -scale, scale)
    rows[:, 2] = np.where(mirrored, left + side, left)
    rows[:, 4], rows[:, 5] = scale, rng.uniform(0, 1, count) * (shape[0] - side)
    light = rng.normal(0, JITTER, (count, 1)) + rng.normal(0, JITTER / 3, (count, 3))
    rows[:, augment.AFFINE : augment.AFFINE + 3] = np.exp(light)
    rows[:, augment.AFFINE + 3] = rng.uniform(0, NOISE, count)
    sides = np.round(size * np.sqrt(rng.uniform(0.05, 0.4, (count, 1)) * [0.75, 1 / 0.75]))
    corner = np.round(rng.uniform(0, 1, (count, 2)) * (size - sides))
    box = np.concatenate([corner, corner + sides], axis=1)
    rows[:, BOX] = box * (rng.uniform(size=(count, 1)) < MIXED)
    rows[:, -2:] = STRIDE * rng.integers(0, (size - size // 2) // STRIDE + 1, 2)
    return rows.astype("float32")


def crop_labels(labels: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """The classes under the crops of `rows`: of the nearest pixels, boxes mixed."""
    centres = np.arange(size) + 0.5
    x = rows[:, 0, None] * centres + rows[:, 2, None]
    y = rows[:, 4, None] * centres + rows[:, 5, None]
    x = np.clip(np.floor(x), 0, labels.shape[2] - 1).astype(int)
    y = np.clip(np.floor(y), 0, labels.shape[1] - 1).astype(int)
    crops = labels[np.arange(len(labels))[:, None, None], y[:, :, None], x[:, None, :]]
    mixed = crops.copy()
    for i, (top, left, bottom, right) in enumerate(rows[:, BOX].astype(int)):
        mixed[i, top:bottom, left:right] = crops[-1 - i, top:bottom, left:right]
    return mixed


def answers(labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes and weights of pixels as a loss takes them; what is not labelled has none."""
    known = labels < len(weights)
    labels = np.where(known, labels, 0)
    return labels.astype("int32"), (weights[labels] * known).astype("float32")


class TrainingBatches(keras.utils.PyDataset):
    """Shuffled crops: all that is random in a batch is a function of (seed, epoch, step)."""

    def __init__(self, split: Split, weights: np.ndarray, *, size: int, count: int, seed: int):
        super().__init__()
        self.split, self.weights = split, weights
        self.size, self.count, self.seed = size, count, seed
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Shuffles for an epoch."""
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.split))

    def __len__(self) -> int:
        return len(self.split) // self.count

    def __getitem__(self, step: int):
        rng = np.random.default_rng([self.seed, self.epoch, step + 1])
        chosen = self.order[step * self.count : (step + 1) * self.count]
        labels = self.split.labels[chosen]
        rows = draw(rng, self.count, labels.shape[1:], self.size)
        labels, weights = answers(crop_labels(labels, rows, self.size), self.weights)
        return (self.split.pictures[chosen], rows), labels, weights


class ValidationBatches(keras.utils.PyDataset):
    """Whole pictures in order; pixels of all classes count the same."""

    def __init__(self, split: Split, classes: int, *, count: int):
        super().__init__()
        self.split, self.classes, self.count = split, classes, count

    def __len__(self) -> int:
        return -(-len(self.split) // self.count)

    def __getitem__(self, step: int):
        chosen = slice(step * self.count, (step + 1) * self.count)
        pictures = self.split.pictures[chosen]
        rows = np.zeros((len(pictures), ROW), "float32")
        return (pictures, rows), *answers(self.split.labels[chosen], np.ones(self.classes))


def confusion(labels: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by class (rows) and class said (columns); what is not labelled is left out."""
    known = labels < classes
    pairs = labels[known].astype(int) * classes + said[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def ious(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of each class; NaN for those that neither occur nor were said."""
    both = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - both
    return np.where(union > 0, both / np.maximum(union, 1), np.nan)
