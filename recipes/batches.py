"""Batches of a data set for `fit`: shuffled and augmented, or in order."""

import augment
import keras
import numpy as np

from keras_seqpar import data


class TrainingBatches(keras.utils.PyDataset):
    """Shuffled batches: all that is random in one is a function of (seed, epoch, step)."""

    def __init__(self, split: data.Split, policy: augment.Policy, categories: int, chosen):
        super().__init__()
        self.split, self.policy, self.categories = split, policy, categories
        self.size, self.count = chosen.image_size, chosen.batch_size
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
        pictures = augment.equalize(self.split.read(chosen), equalized)
        labels = np.eye(self.categories)[self.split.labels[chosen]]
        labels = own[:, None] * labels + (1 - own[:, None]) * labels[::-1]
        labels = (1 - self.smoothing) * labels + self.smoothing / self.categories
        return (pictures, rows), labels.astype("float32")


class ValidationBatches(keras.utils.PyDataset):
    """All pictures in order, beside rows that change nothing."""

    def __init__(self, split: data.Split, columns: int, categories: int, batch_size: int):
        super().__init__()
        self.split, self.columns = split, columns
        self.categories, self.count = categories, batch_size

    def __len__(self) -> int:
        return -(-len(self.split) // self.count)

    def __getitem__(self, step: int):
        chosen = np.arange(len(self.split))[step * self.count : (step + 1) * self.count]
        labels = np.eye(self.categories, dtype="float32")[self.split.labels[chosen]]
        return (self.split.read(chosen), np.zeros((len(chosen), self.columns), "float32")), labels
