"""The Keras layers that SeqPar networks need beyond Keras's own."""

import math

import keras
from keras import ops

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.thresholds import Threshold

_TINIEST = 1e-24  # the square of a norm that cannot matter beside GlobalResponseNorm's epsilon


@keras.saving.register_keras_serializable(package="keras_seqpar")
class CategoryScores(keras.layers.Layer):
    """Joins the logits of all categories and turns them into scores.

    The last layer of every network of this package. Its configuration carries the
    hierarchy, so that a reloaded network can still be cut, attended and costed.

    Input: a list of `(batch, 1)` logits in category order, or one `(batch, categories)`
    tensor. Output: `(batch, categories)` scores.

    Args:
        hierarchy: a `Hierarchy` or its configuration.
        classifier_activation: name of a Keras activation, or `None` for logits. Softmax
            over all branches' logits is equation 3 of arXiv 2308.05128. With a single
            category softmax is the constant 1; use `"sigmoid"` for a detector.
        threshold: the `Threshold` fitted on these logits, its configuration, or `None`. It
            changes no score: it travels with the network (see `NoneOfThese`).
    """

    def __init__(self, hierarchy, classifier_activation="softmax", threshold=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(hierarchy, Hierarchy):
            hierarchy = Hierarchy.from_config(hierarchy)
        self.hierarchy = hierarchy
        self.classifier_activation = classifier_activation
        self.threshold = Threshold.of(threshold)
        self._activation = keras.activations.get(classifier_activation)

    def call(self, logits):
        return self._activation(_joined(logits))

    def compute_output_shape(self, logits_shape):
        first = logits_shape[0] if isinstance(logits_shape[0], (list, tuple)) else logits_shape
        return (first[0], len(self.hierarchy.category_ids))

    def get_config(self):
        return {
            **super().get_config(),
            "hierarchy": self.hierarchy.get_config(),
            "classifier_activation": self.classifier_activation,
            "threshold": self.threshold and self.threshold.get_config(),
        }


@keras.saving.register_keras_serializable(package="keras_seqpar")
class NoneOfThese(keras.layers.Layer):
    """Says whether an image shows none of the categories: 1 where it does not, else 0.

    Input: logits as for `CategoryScores`. Output: `(batch, 1)` float32.

    Args:
        threshold: the `Threshold` fitted on these logits, or its configuration.
    """

    def __init__(self, threshold, **kwargs):
        super().__init__(**kwargs)
        threshold = Threshold.of(threshold)
        if threshold is None:
            raise TypeError("NoneOfThese needs a threshold, got None.")
        self.threshold = threshold

    def call(self, logits):
        logits, value = _joined(logits), self.threshold.value
        if self.threshold.score == "max_logit":
            none = ops.max(logits, axis=-1, keepdims=True) < value
        else:
            # T log sum exp(z / T) < value, in a form that cannot overflow and needs no logarithm:
            # the sum of exp((z - value) / T) is below 1. One logit at the value is enough for 1.
            above = ops.minimum((logits - value) / self.threshold.temperature, 0.0)
            none = ops.sum(ops.exp(above), axis=-1, keepdims=True) < 1.0
        return ops.cast(none, "float32")

    def compute_output_shape(self, logits_shape):
        first = logits_shape[0] if isinstance(logits_shape[0], (list, tuple)) else logits_shape
        return (first[0], 1)

    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold.get_config()}


@keras.saving.register_keras_serializable(package="keras_seqpar")
class TopDownGain(keras.layers.Layer):
    """Multiplies a branch's features by a gain (top-down attention).

    One stands in every branch; where is part of the plan (after "conv 5b" in
    arXiv 2308.05128, section 3.3). The neutral gain 1 adds no operation to the graph.

    Call arguments: features `(batch, height, width, channels)` and optionally one gain
    per image, `(batch, 1)`, which multiplies the constant one.

    Args:
        gain: a finite number, 0 or more: above 1 favors the node, below 1 inhibits it.
    """

    def __init__(self, gain=1.0, **kwargs):
        super().__init__(**kwargs)
        self.gain = check_gain(gain)

    def call(self, features, gains=None):
        if self.gain != 1.0:
            features = features * ops.cast(self.gain, features.dtype)
        if gains is not None:
            gains = ops.reshape(ops.cast(gains, features.dtype), (-1, 1, 1, 1))
            features = features * gains
        return features

    def compute_output_shape(self, features_shape, gains_shape=None):
        return features_shape

    def get_config(self):
        return {**super().get_config(), "gain": self.gain}


@keras.saving.register_keras_serializable(package="keras_seqpar")
class GainSplit(keras.layers.Layer):
    """Splits a `(batch, nodes)` gains input into one `(batch, 1)` gain per node.

    Args:
        nodes: ids of the nodes that the columns belong to, in column order.
    """

    def __init__(self, nodes, **kwargs):
        super().__init__(**kwargs)
        self.nodes = list(nodes)

    def call(self, gains):
        return ops.split(gains, len(self.nodes), axis=-1)

    def compute_output_shape(self, gains_shape):
        return [(gains_shape[0], 1) for _ in self.nodes]

    def get_config(self):
        return {**super().get_config(), "nodes": self.nodes}


@keras.saving.register_keras_serializable(package="keras_seqpar")
class StochasticDepth(keras.layers.Layer):
    """Drops the residual of whole images at random while training.

    Huang et al., arXiv 1603.09382, in timm's arithmetic (`DropPath`): kept residuals are
    divided by the probability to keep them, so that inference is the identity and adds no
    operation. A frozen one (`trainable=False`) drops nothing.

    Args:
        rate: probability to drop an image's residual, from 0 to below 1.
        seed: seed of the choice.
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, residual, training=None):
        if not training or not self.trainable or self.rate == 0:  # frozen: as at inference
            return residual
        shape = (ops.shape(residual)[0],) + (1,) * (len(residual.shape) - 1)
        keep = keras.random.uniform(shape, seed=self.seed_generator) >= self.rate
        return residual * ops.cast(keep, residual.dtype) / (1 - self.rate)

    def compute_output_shape(self, residual_shape):
        return residual_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_seqpar")
class GlobalResponseNorm(keras.layers.Layer):
    """Global response normalization of ConvNeXt V2.

    Woo et al., arXiv 2301.00808, section 3.3 and its reference code: with `g` the L2 norm of
    each channel over all positions, `x + gamma * x * g / (mean(g) + epsilon) + beta`, the mean
    taken over the channels. `gamma` and `beta`, one value per channel, start at 0, so that a
    new layer is the identity. The norms are computed in float32 at least.

    Input and output: `(batch, height, width, channels)`.

    Args:
        epsilon: what keeps the quotient finite where all values are 0.
    """

    def __init__(self, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=channels, initializer="zeros")
        self.beta = self.add_weight(name="beta", shape=channels, initializer="zeros")

    def call(self, x):
        wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
        squares = ops.sum(ops.square(wide), axis=(1, 2), keepdims=True)
        # GELU makes channels that are exactly 0; the root's gradient there would be NaN.
        norms = ops.sqrt(ops.maximum(squares, _TINIEST))
        factor = norms / (ops.mean(norms, axis=-1, keepdims=True) + self.epsilon)
        return x + self.gamma * (x * ops.cast(factor, x.dtype)) + self.beta

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


def _joined(logits):
    """Logits of all categories in one tensor."""
    return ops.concatenate(logits, axis=-1) if isinstance(logits, (list, tuple)) else logits


def check_gain(gain, of: str = "") -> float:
    """Returns `gain` as a float.

    Args:
        gain: the number to check.
        of: whose gain it is, for the message.

    Raises:
        TypeError: no number.
        ValueError: negative, infinite or NaN.
    """
    where = f" of {of!r}" if of else ""
    if isinstance(gain, bool) or not hasattr(gain, "__float__"):
        raise TypeError(f"The gain{where} must be a number, got {gain!r}.")
    value = float(gain)
    if not math.isfinite(value) or value < 0:
        raise ValueError(
            f"The gain{where} must be finite and not negative, got {value}. "
            "1 is neutral, above 1 enhances, below 1 inhibits, 0 silences."
        )
    return value
