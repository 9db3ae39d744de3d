"""Accuracy over all images, and over the categories.

Weights of images say only which images count: those above 0 do, and all of them the same. So the
accuracies in training are shares of images with `--class_weight`, too.
"""

import keras
from keras import ops


class BalancedAccuracy(keras.metrics.Metric):
    """The mean top-1 of the categories of which there are images.

    Labels are `(batch, categories)`, one-hot or mixed (then the largest counts); predictions are
    logits or scores of the same shape.

    Args:
        categories: number of categories.
        name: of the metric.
    """

    def __init__(self, categories: int, name: str = "balanced_accuracy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.right = self.add_variable((categories,), "zeros", name="right")
        self.images = self.add_variable((categories,), "zeros", name="images")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts the images of a batch."""
        truth = ops.argmax(y_true, axis=-1)
        counted = ops.one_hot(truth, self.right.shape[0], dtype=self.right.dtype)
        if sample_weight is not None:
            counts = ops.cast(ops.reshape(sample_weight, (-1, 1)) > 0, counted.dtype)
            counted = counted * counts
        right = ops.cast(truth == ops.argmax(y_pred, axis=-1), counted.dtype)
        self.right.assign_add(ops.sum(counted * right[:, None], axis=0))
        self.images.assign_add(ops.sum(counted, axis=0))

    def result(self):
        """The accuracy since the last reset."""
        known = ops.cast(self.images > 0, self.images.dtype)
        return ops.sum(self.right / ops.maximum(self.images, 1)) / ops.maximum(ops.sum(known), 1)

    def recalls(self) -> list[float | None]:
        """Top-1 of each category since the last reset; `None` for those without images."""
        right, images = map(ops.convert_to_numpy, (self.right, self.images))
        return [float(r / n) if n else None for r, n in zip(right, images, strict=True)]


class Accuracy(BalancedAccuracy):
    """The share of images that are classified right."""

    def __init__(self, categories: int, name: str = "accuracy", **kwargs):
        super().__init__(categories, name=name, **kwargs)

    def result(self):
        """The accuracy since the last reset."""
        return ops.sum(self.right) / ops.maximum(ops.sum(self.images), 1)
