"""Batches of a data set for `fit`: shuffled and augmented, or in order."""

import dataclasses

import keras
import numpy as np

from keras_seqpar.data import augmentation
from keras_seqpar.data.datasets import Split
from keras_seqpar.data.streaming import Decoding, ReadAhead


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of every batch that one of several processes computes.

    Args:
        process: number of this process, from 0.
        processes: number of processes.
        pieces: number of pieces of a batch that are computed separately.
    """

    process: int = 0
    processes: int = 1
    pieces: int = 1

    def of(self, batch: np.ndarray) -> np.ndarray:
        """This process's part of a batch."""
        size = len(batch) // self.processes
        return batch[self.process * size : (self.process + 1) * size]


EVERYTHING = Share()


class Reader:
    """Reads the images of batches from memory, or, where they do not fit, ahead of their use.

    Args:
        split: the images.
        workers: processes that decode, as for `ReadAhead`.
    """

    def __init__(self, split: Split, workers: int):
        self.split, self.indices = split, np.zeros((0, 0), "int64")
        pixels = split.pixels
        self.ahead = ReadAhead(pixels, workers) if isinstance(pixels, Decoding) else None

    def begin(self, indices: np.ndarray) -> None:
        """Sets what to read: `(steps, images per step)`."""
        self.indices = indices
        if self.ahead:
            self.ahead.begin(indices)

    def __getitem__(self, step: int) -> np.ndarray:
        return self.ahead[step] if self.ahead else self.split.read(self.indices[step])


def balanced_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order of images in which all categories are equally frequent.

    Images of rare categories are in it repeatedly, but none a second time before all others of
    its category are in it once; of frequent categories, a random part is in it.

    Args:
        labels: `(images,)` category index of every image.
        rng: the random choices.

    Returns:
        `(images,)` indices; the counts of the categories differ by 1 at most.
    """
    _, counts = np.unique(labels, return_counts=True)
    groups = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    each, rest = divmod(len(labels), len(groups))
    wanted = each + (rng.permutation(len(groups)) < rest)
    parts = [
        np.concatenate([rng.permutation(group) for _ in range(-(-number // len(group)))])[:number]
        for group, number in zip(groups, wanted, strict=True)
        if number
    ]
    return rng.permutation(np.concatenate(parts))


class TrainingBatches(keras.utils.PyDataset):
    """Shuffled batches; their random choices are a function of (seed, epoch, step).

    Args:
        split: the images.
        policy: the augmentation.
        categories: number of categories.
        image_size: side of the images that the network gets, in pixels.
        batch_size: images per batch.
        label_smoothing: part of a label that goes to all categories.
        seed: of the order and the augmentation.
        share: the part of every batch that this process computes; other images are not read.
        workers: processes that decode images which do not fit into memory, 0 for threads. The
            batches are the same.
        balanced: whether all categories are equally frequent in an epoch (`balanced_order`);
            without it, an epoch has each image once.
    """

    def __init__(
        self,
        split: Split,
        policy: augmentation.Policy,
        categories: int,
        *,
        image_size: int,
        batch_size: int,
        label_smoothing: float = 0.0,
        seed: int = 0,
        share: Share = EVERYTHING,
        workers: int = 0,
        balanced: bool = False,
    ):
        super().__init__()
        self.reader = Reader(split, workers)
        self.split, self.policy, self.categories = split, policy, categories
        self.balanced = balanced
        self.image_size, self.batch_size, self.share = image_size, batch_size, share
        self.label_smoothing, self.seed = label_smoothing, seed
        self.stored = split.read([0]).shape[1]
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Shuffles for an epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        order = (
            balanced_order(self.split.labels, rng)
            if self.balanced
            else rng.permutation(len(self.split))
        )
        self.epoch, self.order = epoch, order
        steps = order[: len(self) * self.batch_size].reshape(-1, self.batch_size)
        self.reader.begin(self.share.of(steps.T).T)

    def __len__(self) -> int:
        return len(self.split) // self.batch_size  # the rest is left out in this epoch

    def __getitem__(self, step: int):
        rng = np.random.default_rng([self.seed, self.epoch, step + 1])
        rows, weights, equalized = augmentation.draw(
            rng, self.batch_size, self.policy, stored=self.stored, size=self.image_size
        )
        indices = self.order[step * self.batch_size : (step + 1) * self.batch_size]
        images = augmentation.equalize(self.reader[step], self.share.of(equalized))
        labels = np.eye(self.categories)[self.split.labels[indices]]
        pieces = labels.reshape(self.share.pieces, -1, self.categories)
        partners = pieces[:, ::-1].reshape(labels.shape)  # as `Augment` mixes within a piece
        labels = weights[:, None] * labels + (1 - weights[:, None]) * partners
        labels = (1 - self.label_smoothing) * labels + self.label_smoothing / self.categories
        rows, labels = map(self.share.of, (rows, labels.astype("float32")))
        return (images, rows), labels


class ValidationBatches(keras.utils.PyDataset):
    """All images in order, with rows of zeros in place of augmentation.

    Every batch is full. Images that fill up the last batch have weight 0, and the weights of the
    others are raised, so that the mean over the batches is the mean over the images.

    Args:
        split: the images.
        columns: length of a row, `Policy.columns`.
        categories: number of categories.
        batch_size: images per batch.
        share: the part of every batch that this process computes.
        workers: as for `TrainingBatches`.
    """

    def __init__(
        self,
        split: Split,
        columns: int,
        categories: int,
        batch_size: int,
        share: Share = EVERYTHING,
        workers: int = 0,
    ):
        super().__init__()
        self.split, self.columns, self.share = split, columns, share
        self.categories, self.batch_size = categories, batch_size
        self.reader = Reader(split, workers)
        steps = np.minimum(np.arange(len(self) * batch_size), len(split) - 1)
        steps = steps.reshape(-1, batch_size)
        self.reader.begin(share.of(steps.T).T)

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __getitem__(self, step: int):
        indices = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        count = len(self.split)
        weights = np.where(indices < count, len(self) * self.batch_size / count, 0)
        indices = np.minimum(indices, count - 1)
        labels = np.eye(self.categories, dtype="float32")[self.split.labels[indices]]
        rows = np.zeros((self.batch_size, self.columns), "float32")
        batch = rows, labels, weights.astype("float32")
        rows, labels, weights = map(self.share.of, batch)
        return (self.reader[step], rows), labels, weights
