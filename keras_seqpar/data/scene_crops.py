"""Augmented crops of scenes with a class per pixel, and batches of them for `fit`."""

import keras
import numpy as np
from keras import ops

from keras_seqpar.data import augmentation
from keras_seqpar.data.camvid import Split, positions

ZOOM = 1.4  # training crops are enlarged or reduced by up to this factor
JITTER = 0.2  # standard deviation of the logarithm of the brightness; for each color a third
NOISE = 8.0  # largest standard deviation of the noise, for pixels of 0 to 255
MIXED = 0.5  # share of crops with a box from another crop
# Numbers per image: affine map, factor per color, noise, box, corner of the part (consistency.py).
ROW = augmentation.AFFINE + 3 + 1 + 4 + 2
BOX = slice(ROW - 6, ROW - 2)
STRIDE = 4  # pixels: parts start on the grid of the network's last map, as crops of streams do


class Prepare(keras.layers.Layer):
    """Augments images in training: crop, scale, mirror, brightness, noise, boxes.

    Noise, because videos are noisy and predictions should not flicker. A box with pixels and
    positions of the image's partner in the reversed batch (CutMix, arXiv 1905.04899), because the
    prediction for a pixel should depend on few pixels around it.

    Call arguments: images `(batch, height, width, 3)` of 0 to 255 and `(batch, ROW)` numbers.
    Returns `(batch, size, size, 5)`; at inference whole images, unchanged.

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
            where = ops.convert_to_tensor(positions(height, width)[None], "float32")
            where = ops.tile(where, (ops.shape(images)[0], 1, 1, 1))
            return ops.concatenate([images, where], axis=-1)
        first = augmentation.AFFINE
        affine, colors, noise = rows[:, :first], rows[:, first : first + 3], rows[:, first + 3]
        images = augmentation.resample(images, affine, self.size)
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


def draw(rng: np.random.Generator, count: int, shape: tuple[int, ...], size: int) -> np.ndarray:
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
    rows[:, augmentation.AFFINE : augmentation.AFFINE + 3] = np.exp(light)
    rows[:, augmentation.AFFINE + 3] = rng.uniform(0, NOISE, count)
    sides = np.round(size * np.sqrt(rng.uniform(0.05, 0.4, (count, 1)) * [0.75, 1 / 0.75]))
    corner = np.round(rng.uniform(0, 1, (count, 2)) * (size - sides))
    box = np.concatenate([corner, corner + sides], axis=1)
    rows[:, BOX] = box * (rng.uniform(size=(count, 1)) < MIXED)
    rows[:, -2:] = STRIDE * rng.integers(0, (size - size // 2) // STRIDE + 1, 2)
    return rows.astype("float32")


def crop_labels(labels: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """The classes of the crops of `rows`, from the nearest pixels, with the boxes mixed in."""
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


def targets(labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes and weights of pixels as a loss takes them; unlabeled pixels have weight 0."""
    known = labels < len(weights)
    labels = np.where(known, labels, 0)
    return labels.astype("int32"), (weights[labels] * known).astype("float32")


class TrainingBatches(keras.utils.PyDataset):
    """Shuffled crops; the random choices of a batch are a function of (seed, epoch, step)."""

    def __init__(self, split: Split, weights: np.ndarray, *, size: int, batch_size: int, seed: int):
        super().__init__()
        self.split, self.weights = split, weights
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Shuffles for an epoch."""
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.split))

    def __len__(self) -> int:
        return len(self.split) // self.batch_size

    def __getitem__(self, step: int):
        rng = np.random.default_rng([self.seed, self.epoch, step + 1])
        indices = self.order[step * self.batch_size : (step + 1) * self.batch_size]
        labels = self.split.labels[indices]
        rows = draw(rng, self.batch_size, labels.shape[1:], self.size)
        labels, weights = targets(crop_labels(labels, rows, self.size), self.weights)
        return (self.split.images[indices], rows), labels, weights


class ValidationBatches(keras.utils.PyDataset):
    """Whole images in order; pixels of all classes count the same."""

    def __init__(self, split: Split, classes: int, *, batch_size: int):
        super().__init__()
        self.split, self.classes, self.batch_size = split, classes, batch_size

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __getitem__(self, step: int):
        indices = slice(step * self.batch_size, (step + 1) * self.batch_size)
        images = self.split.images[indices]
        rows = np.zeros((len(images), ROW), "float32")
        return (images, rows), *targets(self.split.labels[indices], np.ones(self.classes))
