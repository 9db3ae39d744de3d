"""Learning from a trained network, too (distillation): the teacher, and its part in the loss."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from keras_seqpar.networks.inputs import normalization_of
from keras_seqpar.networks.parts import find_parts, with_activation
from keras_seqpar.utils.names import match_labels


class Teacher(keras.layers.Layer):
    """A trained network that gives logits for the training images; it is not trained.

    Call argument: images `(batch, size, size, 3)` of 0 to 255. Returns its logits in
    training, and zeros at validation, which does not use them.

    Args:
        network: a network of this package.
        categories: labels, in the order of the logits to return.

    Raises:
        ValueError: the network does not have all of the categories, or nothing says how its images
            are normalized.
    """

    def __init__(self, network: keras.Model, categories: Sequence[str], **kwargs):
        super().__init__(dtype="float32", **kwargs)
        parts = find_parts(network, allow_plain=True)
        self.columns = match_labels(categories, parts.hierarchy.categories)
        if missing := [n for n, i in zip(categories, self.columns, strict=True) if i is None]:
            raise ValueError(
                f"The teacher does not know {', '.join(missing)}. It must be trained on all "
                "categories of the data."
            )
        _, normalization = normalization_of(parts, network.inputs[0].shape[-1])
        if normalization is None:
            raise ValueError(
                "Nothing says how the teacher's images are normalized. Build it with "
                "include_preprocessing=True, so that it takes pixels."
            )
        self.offset, self.divisor = (np.array(x, "float32") for x in normalization)
        self.network = with_activation(network, None)
        self.trainable = False

    def call(self, images, training=False):
        if not training:
            return ops.zeros((ops.shape(images)[0], len(self.columns)))
        images = ops.divide(ops.subtract(images, self.offset), self.divisor)
        return ops.take(self.network(images, training=False), self.columns, axis=-1)

    def compute_output_shape(self, images_shape):
        return (images_shape[0], len(self.columns))


class Trainer(keras.Model):
    """A network in training: Keras's `fit`, with the cross-entropy and a teacher's part.

    Its inputs are the images and, per image, a row of numbers for the augmentation. Its
    outputs are the logits, followed by the teacher's logits if there is a teacher.

    Args:
        inputs: images and rows.
        outputs: `(batch, categories)`, or twice as wide with a teacher.
        distillation: the share of the teacher's part in the loss, 0 to 1.
        temperature: divides the logits of both before they are compared; the loss is
            multiplied by its square (Hinton et al., arXiv 1503.02531, section 2).
    """

    def __init__(self, inputs, outputs, *, distillation=0.0, temperature=1.0, **kwargs):
        super().__init__(inputs, outputs, **kwargs)
        self.distillation, self.temperature = distillation, temperature
        self.recalls: Callable[[], list[float | None]] = list  # top-1 of each category
        self._cross_entropy = keras.losses.CategoricalCrossentropy(from_logits=True)

    def zero_grad(self, set_to_none=True):
        """Clears the gradients before a step (torch).

        Keras keeps weights by path there, so those of a teacher with equal layer names hide the
        network's, whose gradients would add up over the steps.
        """
        for variable in self.trainable_variables:
            variable.value.grad = None

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        categories = y.shape[-1]
        logits = ops.cast(y_pred[:, :categories], "float32")
        loss = super().compute_loss(x, y, logits, sample_weight, training)
        if training and self.distillation:
            taught = ops.cast(y_pred[:, categories:], "float32") / self.temperature
            part = self._cross_entropy(
                ops.softmax(taught), logits / self.temperature, sample_weight
            )
            part = part * self.temperature**2
            loss = (1 - self.distillation) * loss + self.distillation * part
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, y_pred[:, : y.shape[-1]], sample_weight)
