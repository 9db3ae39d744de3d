"""CamVid: street scenes from a car, with a class for every pixel, and batches of them for `fit`.

Brostow et al., "Semantic object classes in video: a high-definition ground truth database"
(Pattern Recognition Letters 30, 2009), in the split of 367, 101 and 233 images and the 11
classes of SegNet (arXiv 1511.00561), read from one zip: `train/`, `val/`, `test/` with images,
`trainannot/`, ... with gray images of class numbers, and `classes.txt`.

Beside colors, networks see where in the frame a pixel lies (`with_place`): streets have their
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
UNLABELED = "unlabeled"
ZOOM = 1.4  # training crops show things up to that much larger or smaller
JITTER = 0.2  # standard deviation of the logarithm of brightness; of each color a third of it
NOISE = 8.0  # largest standard deviation of noise, of 255
MIXED = 0.5  # share of crops with a box of another one
# Per image: affine map, factor per color, noise, box, corner of the part (`agreement.py`).
ROW = augment.AFFINE + 3 + 1 + 4 + 2
BOX = slice(ROW - 6, ROW - 2)
STRIDE = 4  # pixels; of the network of three stages: parts lie on its grid, as a stream's crops do


@dataclasses.dataclass(frozen=True)
class Split:
    """Images with a class per pixel.

    Args:
        images: `(count, height, width, 3)` uint8.
        labels: `(count, height, width)` uint8; the number of classes stands for none.
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
    """

    categories: tuple[str, ...]
    splits: Mapping[str, Split]


def load(path: str, splits=SPLITS) -> Scenes:
    """Reads the data.

    Args:
        path: the zip.
        splits: which to read.

    Raises:
        ValueError: no such zip, something missing in it, or images that do not fit.
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
            if classes[-1] != UNLABELED:
                raise ValueError(f"The last line of classes.txt must be {UNLABELED!r}.")
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
        raise ValueError(f"The zip has no images in {folder}.")
    parts: list[list[np.ndarray]] = [[], []]
    for name in wanted:
        label = f"{folder}annot/{PurePosixPath(name).stem}.png"
        if label not in names:
            raise ValueError(f"The image {name} has no classes: {label} is missing.")
        for part, entry, mode in zip(parts, (name, label), ("RGB", "L"), strict=True):
            with Image.open(io.BytesIO(file.read(entry))) as image:
                part.append(np.asarray(image.convert(mode)))
    shapes = {x.shape[:2] for part in parts for x in part}
    if len(shapes) > 1:
        raise ValueError(f"The images in {folder} differ in size: {sorted(shapes)}.")
    return Split(*map(np.stack, parts))


def place(height: int, width: int) -> np.ndarray:
    """Where each pixel lies: `(height, width, 2)`, 0 to 255.

    The first channel grows from top to bottom, the second from the middle column to both sides,
    so that it does not know left from right.
    """
    down = (np.arange(height) + 0.5) / height
    across = np.abs((np.arange(width) + 0.5) / width * 2 - 1)
    return np.stack(np.meshgrid(255 * down, 255 * across, indexing="ij"), axis=-1)


def with_place(images: np.ndarray) -> np.ndarray:
    """Images `(..., height, width, 3)` with the channels of `place`, as uint8."""
    height, width = images.shape[-3:-1]
    where = np.round(place(height, width)).astype("uint8")
    where = np.broadcast_to(where, (*images.shape[:-1], 2))
    return np.concatenate([images, where], axis=-1)


def frequencies(split: Split, classes: int) -> np.ndarray:
    """Share of each class in what is labeled."""
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
    the batch's image in reverse order with its place (CutMix, arXiv 1905.04899), because what
    a network says of a pixel should depend on little around it.

    Call arguments: images `(batch, height, width, 3)` of 0 to 255 and `(batch, ROW)` numbers.
    Returns `(batch, size, size, 5)`; at inference everything, of the images' own size.

    Args:
        size: side of the crops.
        seed: of the noise.
    """

    def __init__(self, size: int, seed: int = 0, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.size = size
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images, rows, training=False):
        images = ops.cast(images, "float32")
        height, width = images.shape[1:3]
        if not training:
            where = ops.convert_to_tensor(place(height, width)[None], "float32")
            where = ops.tile(where, (ops.shape(images)[0], 1, 1, 1))
            return ops.concatenate([images, where], axis=-1)
        first = augment.AFFINE
        affine, colors, noise = rows[:, :first], rows[:, first : first + 3], rows[:, first + 3]
        images = augment.resample(images, affine, self.size)
        grain = keras.random.normal(ops.shape(images), seed=self.seed_generator)
        images = images * colors[:, None, None] + grain * noise[:, None, None, None]
        images = ops.clip(images, 0.0, 255.0)
        centers = ops.arange(self.size, dtype="float32") + 0.5
        x = (affine[:, 0, None] * centers + affine[:, 2, None]) / width
        y = (affine[:, 4, None] * centers + affine[:, 5, None]) / height
        across = 255 * ops.abs(2 * x - 1)[:, None, :, None]
        down = 255 * y[:, :, None, None]
        full = ops.zeros_like(images[..., :1])
        made = ops.concatenate([images, down + full, across + full], axis=-1)
        top, left, bottom, right = (rows[:, i, None, None, None] for i in range(ROW)[BOX])
        across, down = centers[None, None, :, None], centers[None, :, None, None]
        box = (down > top) & (down < bottom) & (across > left) & (across < right)
        return ops.where(box, ops.flip(made, axis=0), made)

    def compute_output_shape(self, images_shape, rows_shape):
        return (images_shape[0], None, None, 5)


def draw(rng: np.random.Generator, count: int, shape, size: int) -> np.ndarray:
    """Draws `(count, ROW)` numbers for `Prepare`.

    Args:
        rng: where the random numbers come from.
        count: images.
        shape: `(height, width)` of the images.
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
    centers = np.arange(size) + 0.5
    x = rows[:, 0, None] * centers + rows[:, 2, None]
    y = rows[:, 4, None] * centers + rows[:, 5, None]
    x = np.clip(np.floor(x), 0, labels.shape[2] - 1).astype(int)
    y = np.clip(np.floor(y), 0, labels.shape[1] - 1).astype(int)
    crops = labels[np.arange(len(labels))[:, None, None], y[:, :, None], x[:, None, :]]
    mixed = crops.copy()
    for i, (top, left, bottom, right) in enumerate(rows[:, BOX].astype(int)):
        mixed[i, top:bottom, left:right] = crops[-1 - i, top:bottom, left:right]
    return mixed


def answers(labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes and weights of pixels as a loss takes them; what is not labeled has none."""
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
        return (self.split.images[chosen], rows), labels, weights


class ValidationBatches(keras.utils.PyDataset):
    """Whole images in order; pixels of all classes count the same."""

    def __init__(self, split: Split, classes: int, *, count: int):
        super().__init__()
        self.split, self.classes, self.count = split, classes, count

    def __len__(self) -> int:
        return -(-len(self.split) // self.count)

    def __getitem__(self, step: int):
        chosen = slice(step * self.count, (step + 1) * self.count)
        images = self.split.images[chosen]
        rows = np.zeros((len(images), ROW), "float32")
        return (images, rows), *answers(self.split.labels[chosen], np.ones(self.classes))


def confusion(labels: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by class (rows) and class said (columns); what is not labeled is left out."""
    known = labels < classes
    pairs = labels[known].astype(int) * classes + said[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def ious(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of each class; NaN for those that neither occur nor were said."""
    both = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - both
    return np.where(union > 0, both / np.maximum(union, 1), np.nan)
