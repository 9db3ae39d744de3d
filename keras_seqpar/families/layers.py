"""The Keras layers that families build their blocks of, beyond Keras's own."""

import math

import keras
from keras import ops

_TINIEST = 1e-24  # the square of a norm that cannot matter beside GlobalResponseNorm's epsilon


@keras.saving.register_keras_serializable(package="keras_seqpar")
class TopDownGain(keras.layers.Layer):
    """Multiplies a branch's features by a gain (top-down attention).

    Every branch has one. The family decides where it is (in arXiv 2308.05128, section 3.3: after
    "conv 5b"). The neutral gain 1 adds no operation to the graph.

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
class StochasticDepth(keras.layers.Layer):
    """Drops the residual of whole images at random while training.

    Huang et al., arXiv 1603.09382, in timm's arithmetic (`DropPath`): kept residuals are
    divided by the probability to keep them, so that inference is the identity and adds no
    operation. A frozen one (`trainable=False`) drops nothing.

    Args:
        rate: probability that an image's residual is dropped, from 0 to below 1.
        seed: seed of the random numbers.
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
        return global_response_norm(x, self.gamma, self.beta, self.epsilon)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


def global_response_norm(x, gamma, beta, epsilon: float):
    """What `GlobalResponseNorm` computes.

    Args:
        x: features `(..., height, width, channels)`.
        gamma: factors that fit the features.
        beta: offsets that fit the features.
        epsilon: what keeps the quotient finite where all values are 0.
    """
    wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    squares = ops.sum(ops.square(wide), axis=(-3, -2), keepdims=True)
    # GELU makes channels that are exactly 0; the root's gradient there would be NaN.
    norms = ops.sqrt(ops.maximum(squares, _TINIEST))
    factor = norms / (ops.mean(norms, axis=-1, keepdims=True) + epsilon)
    return x + gamma * (x * ops.cast(factor, x.dtype)) + beta


def add_residual(x, y, name: str, *, rate: float, seed: int | None):
    """The end of a residual block: what comes in and what the block made of it, added.

    Args:
        x: what comes in.
        y: what the block made of it.
        name: prefix of the layer names.
        rate: of stochastic depth, with which `y` is left out in training.
        seed: of stochastic depth.
    """
    if rate:
        y = StochasticDepth(rate, seed, name=f"{name}_drop")(y)
    return keras.layers.Add(name=f"{name}_add")([y, x])


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
