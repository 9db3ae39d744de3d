"""One call of a layer, and how it runs: on a whole map, or on a crop without padding."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
from keras import layers as kl
from keras import ops

from keras_seqpar.selective.planning.graph import Operation


@dataclasses.dataclass(frozen=True)
class Value:
    """Takes the place of the tensor with this number."""

    number: int


@dataclasses.dataclass(frozen=True)
class LayerCall(Operation):
    """A call of a layer; its name is that of the layer's class.

    Args:
        layer: the layer, or another Keras operation.
        args: positional arguments, with a `Value` in place of each tensor.
        kwargs: named arguments, likewise.
    """

    layer: keras.Operation
    args: tuple
    kwargs: Mapping

    @property
    def constants(self) -> list:
        """The arrays and variables among the arguments."""
        given = keras.tree.flatten((self.args, self.kwargs))
        return [x for x in given if hasattr(x, "shape")]

    def __call__(self, inputs: Sequence) -> list:
        """Calls the layer on tensors, in the order of `inputs`; returns its outputs."""
        in_order = iter(inputs)
        args, kwargs = keras.tree.map_structure(
            lambda x: next(in_order) if isinstance(x, Value) else x, (self.args, dict(self.kwargs))
        )
        return keras.tree.flatten(self.layer(*args, **kwargs))

    def on_crop(self, x):
        """The output of a windowed layer for a crop whose border is there already."""
        layer, kind = self.layer, type(self.layer)
        if kind in (kl.ZeroPadding2D, kl.Cropping2D):
            return x
        if kind is kl.MaxPooling2D:
            return ops.max_pool(x, layer.pool_size, layer.strides)
        if kind is kl.AveragePooling2D:
            return ops.average_pool(x, layer.pool_size, layer.strides)
        dtype, options = layer.compute_dtype, {"dilation_rate": layer.dilation_rate}
        x = ops.cast(x, dtype)
        if kind is kl.SeparableConv2D:
            kernels = (ops.cast(k, dtype) for k in (layer.depthwise_kernel, layer.pointwise_kernel))
            x = ops.separable_conv(x, *kernels, layer.strides, **options)
        else:
            convolve = ops.conv if kind is kl.Conv2D else ops.depthwise_conv
            x = convolve(x, ops.cast(layer.kernel, dtype), layer.strides, **options)
        if layer.use_bias:
            x = x + ops.cast(layer.bias, dtype)
        return x if layer.activation is None else layer.activation(x)
