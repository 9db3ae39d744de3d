"""What each kind of layer computes for all branches of a bank at once.

Features have a leading axis of branches: `(branches, batch, height, width, channels)`. It is 1
while all branches see the same. Then layers without weights are computed once, and a convolution
is one wide product. Afterwards convolutions are batched matrix products; larger kernels are a sum
of such products of shifted slices, or grouped convolutions where the backend has fast ones. What
is fast was measured on a CPU, ten branches of 64 channels (192 if depthwise) on 8 maps of 7x7.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import layers as kl
from keras import ops

from keras_seqpar.families import layers as own  # complete only when a rule is looked up

_FORMAT = "channels_last"
# Torch computes grouped convolutions 4 times faster than batched products of shifted slices; with
# XLA the others train them 27 to 37 times slower.
GROUPED = keras.backend.backend() == "torch"
# XLA trains wide depthwise convolutions 10 times slower on CPUs than sums of shifted slices, and
# TensorFlow without XLA is faster than both.
SHIFTED_DEPTHWISE = keras.backend.backend() == "jax"


@dataclasses.dataclass(frozen=True)
class Run:
    """One evaluation of a bank.

    Args:
        branches: number of branches.
        weights: name of a layer -> name of a weight -> `(branches, ...)`.
        gains: what `TopDownGain` multiplies by, `(branches, batch or 1)`; `None` for 1.
        training: whether normalizations use the batch, and stochastic depth drops.
        generator: of random numbers.
        assign: `assign(layer name, weight name, value)` stores new moving statistics.
    """

    branches: int
    weights: Mapping[str, Mapping[str, Any]]
    gains: Any
    training: bool
    generator: keras.random.SeedGenerator | None
    assign: Callable[[str, str, Any], None]

    def __call__(self, layer, *args, **kwargs):
        """What a layer of the template computes, for all branches."""
        rule = _rules().get(type(layer))
        return rule(self, layer, *args) if rule else self._weightless(layer, args[0])

    def _weightless(self, layer, inputs):
        """A layer that treats every image alike: the branches become part of the batch."""
        many = max(x.shape[0] for x in keras.tree.flatten(inputs))
        folded = keras.tree.map_structure(
            lambda x: _folded(x if x.shape[0] == many else ops.repeat(x, many, axis=0)), inputs
        )
        return _unfolded(layer(folded), many)


def check_template(template: keras.Model) -> None:
    """Refuses a branch with a layer that no rule here computes.

    Raises:
        ValueError: the message names the layer.
    """
    for layer in template.layers:
        known = type(layer) in _rules() or not (layer.variables or isinstance(layer, keras.Model))
        if not known or not _CHECKS.get(type(layer), lambda _: True)(layer):
            names = ", ".join(sorted(x.__name__ for x in _rules()))
            raise ValueError(
                f"A bank cannot compute the layer {layer.name!r}, a {type(layer).__name__} with "
                f"these settings. Known layers with weights: {names}; convolutions without groups "
                "and dilation, normalizations over the last axis. Keep the network with named "
                "branches."
            )


def _folded(x):
    shape = ops.shape(x)
    return ops.reshape(x, (-1, *shape[2:]))


def _unfolded(x, branches: int):
    return ops.reshape(x, (branches, -1, *ops.shape(x)[1:]))


def _per_branch(weight, ndim: int):
    """`(branches, channels)` with axes of 1 for batch and positions."""
    return ops.reshape(weight, (weight.shape[0], *(1,) * (ndim - 2), weight.shape[1]))


def _finished(layer, y, weights):
    """A product with the layer's bias and activation."""
    if layer.use_bias:
        y = y + _per_branch(weights["bias"], len(y.shape))
    return layer.activation(y)


def _product(x, kernel):
    """`(1 or branches, batch, ..., inputs)` times `(branches, inputs, outputs)`."""
    branches, inputs, outputs = kernel.shape
    if x.shape[0] == 1:  # of all branches at once
        wide = ops.reshape(ops.transpose(kernel, (1, 0, 2)), (inputs, branches * outputs))
        return _split(ops.matmul(x[0], wide), branches)
    y = ops.matmul(ops.reshape(x, (branches, -1, inputs)), kernel)
    return ops.reshape(y, (branches, *ops.shape(x)[1:-1], outputs))


def _split(x, branches: int):
    """`(batch, ..., branches * channels)` as `(branches, batch, ..., channels)`."""
    shape = ops.shape(x)
    x = ops.reshape(x, (*shape[:-1], branches, shape[-1] // branches))
    return ops.moveaxis(x, -2, 0)


def _joined(x):
    """`(branches, batch, ..., channels)` as `(batch, ..., branches * channels)`."""
    shape = ops.shape(x)
    return ops.reshape(ops.moveaxis(x, 0, -2), (*shape[1:-1], shape[0] * shape[-1]))


def _conv(run: Run, layer, x):
    weights = run.weights[layer.name]
    kernel = weights["kernel"]
    branches, height, width, inputs, outputs = kernel.shape
    if height * width > 1 and (x.shape[0] == 1 or GROUPED):
        wide = ops.transpose(kernel, (1, 2, 3, 0, 4))
        wide = ops.reshape(wide, (height, width, inputs, branches * outputs))
        x = x[0] if x.shape[0] == 1 else _joined(x)
        y = ops.conv(x, wide, layer.strides, layer.padding, data_format=_FORMAT)
        return _finished(layer, _split(y, branches), weights)
    y = None
    for (i, j), part in _shifted(x, (height, width), layer):
        product = _product(part, kernel[:, i, j])
        y = product if y is None else y + product
    return _finished(layer, y, weights)


def _shifted(x, kernel, layer):
    """For each place in a kernel, what it sees at all positions."""
    if layer.padding == "same":
        ends = [_ends(x.shape[2 + i], kernel[i], layer.strides[i], layer) for i in (0, 1)]
        if any(map(any, ends)):
            x = ops.pad(x, [(0, 0), (0, 0), *ends, (0, 0)])
    size, (down, right) = ops.shape(x)[2:4], layer.strides
    last = [size[i] - kernel[i] + 1 for i in (0, 1)]
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            yield (i, j), x[:, :, i : i + last[0] : down, j : j + last[1] : right]


def _ends(size: int | None, kernel: int, stride: int, layer) -> tuple[int, int]:
    """What "same" adds before and after an axis."""
    if stride == 1 or kernel == 1:
        total = kernel - 1
    elif size is None:
        raise ValueError(
            f"The convolution {layer.name!r} pads by the size of the image, which this network "
            "leaves open. Build it with an input_shape of whole numbers."
        )
    else:
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _depthwise(run: Run, layer, x):
    weights = run.weights[layer.name]
    kernel = weights["kernel"]
    branches, height, width, channels, times = kernel.shape
    if SHIFTED_DEPTHWISE and times == 1:
        y = 0.0
        for (i, j), part in _shifted(x, (height, width), layer):
            y = y + part * _per_branch(kernel[:, i, j, :, 0], 5)
        return _finished(layer, y, weights)
    if x.shape[0] == 1 and branches > 1:
        x = ops.repeat(x, branches, axis=0)
    # All branches side by side are one wide depthwise convolution.
    wide = ops.reshape(
        ops.transpose(kernel, (1, 2, 0, 3, 4)), (height, width, branches * channels, times)
    )
    y = ops.depthwise_conv(_joined(x), wide, layer.strides, layer.padding, data_format=_FORMAT)
    return _finished(layer, _split(y, branches), weights)


def _dense(run: Run, layer, x):
    weights = run.weights[layer.name]
    return _finished(layer, _product(x, weights["kernel"]), weights)


def _wide_type(x):
    """In float32 at least: statistics of half precision are too coarse."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def _batch_norm(run: Run, layer, x):
    weights, y = run.weights[layer.name], _wide_type(x)
    ndim = len(x.shape)
    if run.training and layer.trainable:
        mean, variance = ops.moments(y, axes=tuple(range(1, ndim - 1)), keepdims=True)
        for name, new in (("moving_mean", mean), ("moving_variance", variance)):
            old = weights[name]
            new = ops.reshape(new, (new.shape[0], new.shape[-1]))
            run.assign(layer.name, name, old * layer.momentum + new * (1 - layer.momentum))
    else:
        mean = _per_branch(weights["moving_mean"], ndim)
        variance = _per_branch(weights["moving_variance"], ndim)
    return ops.cast(_scaled(y, mean, variance, weights, layer.epsilon), x.dtype)


def _layer_norm(run: Run, layer, x):
    y = _wide_type(x)
    mean, variance = ops.moments(y, axes=-1, keepdims=True)
    weights = run.weights[layer.name]
    y = (y - mean) * ops.rsqrt(variance + layer.epsilon)
    for name, combine in (("gamma", ops.multiply), ("beta", ops.add)):
        if name in weights:
            y = combine(y, _per_branch(weights[name], len(y.shape)))
    return ops.cast(y, x.dtype)


def _scaled(x, mean, variance, weights, epsilon: float):
    """`(x - mean) / sqrt(variance + epsilon) * gamma + beta` as one product and one sum."""
    scale = ops.rsqrt(variance + epsilon)
    if "gamma" in weights:
        scale = scale * _per_branch(weights["gamma"], len(x.shape))
    offset = -mean * scale
    if "beta" in weights:
        offset = offset + _per_branch(weights["beta"], len(x.shape))
    return x * scale + offset


def _response_norm(run: Run, layer, x):
    gamma, beta = (
        _per_branch(run.weights[layer.name][name], len(x.shape)) for name in ("gamma", "beta")
    )
    return own.global_response_norm(x, gamma, beta, layer.epsilon)


def _gain(run: Run, layer, x):
    if run.gains is None:
        return x
    gains = ops.reshape(ops.cast(run.gains, x.dtype), (run.branches, -1, 1, 1, 1))
    return x * gains


def _stochastic_depth(run: Run, layer, x):
    if not run.training or not layer.trainable or layer.rate == 0:
        return x
    shape = (run.branches, ops.shape(x)[1], *(1,) * (len(x.shape) - 2))
    keep = keras.random.uniform(shape, seed=run.generator) >= layer.rate
    return x * ops.cast(keep, x.dtype) / (1 - layer.rate)


@functools.cache
def _rules() -> dict[type, Callable]:
    """The class of a layer -> what it computes for all branches."""
    return {
        kl.Conv2D: _conv,
        kl.DepthwiseConv2D: _depthwise,
        kl.Dense: _dense,
        kl.BatchNormalization: _batch_norm,
        kl.LayerNormalization: _layer_norm,
        own.GlobalResponseNorm: _response_norm,
        own.TopDownGain: _gain,
        own.StochasticDepth: _stochastic_depth,
    }


def _plain_conv(layer) -> bool:
    return (
        getattr(layer, "groups", 1) == 1
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.data_format == _FORMAT
    )


def _last_axis(layer) -> bool:
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return [*axes] in ([-1], [len(layer.output.shape) - 1])


_CHECKS: dict[type, Callable[[Any], bool]] = {
    kl.Conv2D: _plain_conv,
    kl.DepthwiseConv2D: _plain_conv,
    kl.BatchNormalization: _last_axis,
    kl.LayerNormalization: _last_axis,
}
