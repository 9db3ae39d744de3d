"""Batches of a data set for `fit`: shuffled and augmented, or in order."""

import augment
import keras
import numpy as np
from devices import ALONE

from keras_seqpar import data


class TrainingBatches(keras.utils.PyDataset):
    """Shuffled batches: all that is random in one is a function of (seed, epoch, step).

    Args:
        split: the images.
        policy: what to do to them.
        categories: number of categories.
        chosen: all flags of the training.
        devices: what the batches are for; each process gets its own part of every batch.
    """

    def __init__(
        self, split: data.Split, policy: augment.Policy, categories: int, chosen, devices=ALONE
    ):
        super().__init__()
        self.split, self.policy, self.categories = split, policy, categories
        self.size, self.count, self.devices = chosen.image_size, chosen.batch_size, devices
        self.smoothing, self.seed = chosen.label_smoothing, chosen.seed
        self.stored = split.read([0]).shape[1]
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Shuffles for an epoch."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.split))
        self.epoch, self.order = epoch, order

    def __len__(self) -> int:
        return len(self.split) // self.count  # what is left over comes in another epoch

    def __getitem__(self, step: int):
        rng = np.random.default_rng([self.seed, self.epoch, step + 1])
        rows, own, equalized = augment.draw(
            rng, self.count, self.policy, stored=self.stored, size=self.size
        )
        chosen = self.order[step * self.count : (step + 1) * self.count]
        images = augment.equalize(self.split.read(chosen), equalized)
        labels = np.eye(self.categories)[self.split.labels[chosen]]
        pieces = labels.reshape(self.devices.pieces, -1, self.categories)
        partners = pieces[:, ::-1].reshape(labels.shape)  # as `Augment` mixes within a piece
        labels = own[:, None] * labels + (1 - own[:, None]) * partners
        labels = (1 - self.smoothing) * labels + self.smoothing / self.categories
        images, rows, labels = map(self.devices.own, (images, rows, labels.astype("float32")))
        return (images, rows), labels


class ValidationBatches(keras.utils.PyDataset):
    """All images in order, beside rows that change nothing.

    Every batch is full: images that fill up the last one have no weight, and the others'
    weights make up for them, so that means over batches are means over the images.
    """

    def __init__(
        self, split: data.Split, columns: int, categories: int, batch_size: int, devices=ALONE
    ):
        super().__init__()
        self.split, self.columns, self.devices = split, columns, devices
        self.categories, self.count = categories, batch_size

    def __len__(self) -> int:
        return -(-len(self.split) // self.count)

    def __getitem__(self, step: int):
        chosen = np.arange(step * self.count, (step + 1) * self.count)
        weights = np.where(chosen < len(self.split), len(self) * self.count / len(self.split), 0)
        chosen = np.minimum(chosen, len(self.split) - 1)
        labels = np.eye(self.categories, dtype="float32")[self.split.labels[chosen]]
        rows = np.zeros((self.count, self.columns), "float32")
        batch = self.split.read(chosen), rows, labels, weights.astype("float32")
        if self.devices.joined:
            batch = map(self.devices.own, batch)
        images, rows, labels, weights = batch
        return (images, rows), labels, weights
