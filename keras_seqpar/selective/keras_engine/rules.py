"""Calls of Keras layers: what they do to positions, and how they run on a crop."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from keras import layers as kl
from keras import ops

from keras_seqpar.families.layers import GlobalResponseNorm, StochasticDepth, TopDownGain
from keras_seqpar.networks.graph import internal_class
from keras_seqpar.networks.quantized import quantization_mode
from keras_seqpar.selective.planning import graph as planning
from keras_seqpar.selective.planning.effects import (
    GLOBAL,
    UNKNOWN,
    Barrier,
    Copied,
    Effect,
    Followed,
    Grown,
    Pointwise,
    Transposed,
    Window,
    Windowed,
    joined,
    resized,
    windowed,
    windows,
)

Shape = tuple[int, ...]
WITH_WEIGHTS = ()  # no layer has weights among its inputs: its own are part of it
CONVOLUTIONS = kl.Conv2D, kl.DepthwiseConv2D, kl.SeparableConv2D
_CUSTOM_ACTIVATION = "its activation is not one of Keras's"
_POINTWISE = "pointwise"  # position by position at inference, with the settings that are checked
_JOIN = "join"  # several maps, likewise
_OVER_AXES = "over axes"  # position by position if it is over channels
_KINDS = {
    **dict.fromkeys((kl.ReLU, kl.LeakyReLU, kl.ELU, kl.PReLU, kl.Activation, kl.Dense), _POINTWISE),
    **dict.fromkeys((kl.Rescaling, kl.Identity, kl.ActivityRegularization), _POINTWISE),
    **dict.fromkeys((kl.Dropout, kl.AlphaDropout, kl.SpatialDropout2D), _POINTWISE),
    **dict.fromkeys((kl.GaussianNoise, kl.GaussianDropout), _POINTWISE),
    **dict.fromkeys((StochasticDepth, TopDownGain), _POINTWISE),
    **dict.fromkeys((kl.Add, kl.Subtract, kl.Multiply, kl.Average, kl.Maximum, kl.Minimum), _JOIN),
    kl.Concatenate: _JOIN,
    **dict.fromkeys((kl.BatchNormalization, kl.LayerNormalization), _OVER_AXES),
    **dict.fromkeys((kl.RMSNormalization, kl.UnitNormalization), _OVER_AXES),
    **dict.fromkeys((kl.Softmax, kl.Normalization), _OVER_AXES),
    **dict.fromkeys((kl.GlobalAveragePooling2D, kl.GlobalMaxPooling2D), GLOBAL),
    **dict.fromkeys((kl.Flatten, kl.Reshape, GlobalResponseNorm, kl.GroupNormalization), GLOBAL),
}
# Classes that Keras does not export, by package and name: layers of keras.applications, and
# operations such as `x + y` and `keras.ops.relu(x)` in a functional model.
_INTERNAL = {
    "applications": {"LayerScale": _POINTWISE, "StochasticDepth": _POINTWISE}
    | {"CustomScaleLayer": _JOIN},
    "ops": dict.fromkeys(
        (
            *("Absolute", "Celu", "Clip", "Elu", "Exp", "Gelu", "HardSigmoid", "HardSilu"),
            *("HardTanh", "LeakyRelu", "Log", "Log1p", "LogSigmoid", "Negative", "Reciprocal"),
            *("Relu", "Relu6", "Rsqrt", "Selu", "Sigmoid", "Silu", "Softplus", "Softsign"),
            *("Sqrt", "Square", "Tanh"),
        ),
        _POINTWISE,
    )
    | dict.fromkeys(
        (
            *("Add", "Concatenate", "Divide", "Maximum", "Minimum", "Multiply", "Power"),
            *("Subtract", "TrueDivide"),
        ),
        _JOIN,
    )
    | dict.fromkeys(("LogSoftmax", "Softmax", "Logsumexp", "Max", "Mean"), _OVER_AXES)
    | dict.fromkeys(("Min", "Std", "Sum", "Var"), _OVER_AXES),
}


@dataclasses.dataclass(frozen=True)
class Value:
    """Takes the place of the tensor with this number."""

    number: int


@dataclasses.dataclass(frozen=True)
class LayerCall(planning.Operation):
    """A call of a layer; its name is that of the layer's class."""

    layer: keras.Operation  # the layer, or another Keras operation
    args: tuple  # positional arguments, with a `Value` in place of each tensor
    kwargs: Mapping  # named arguments, likewise

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


def effect_of(graph: planning.Graph, call: LayerCall) -> Effect:
    """What a layer, or another operation of a functional model, does to positions."""
    shapes: list[Shape] = [graph.tensors[i].shape for i in call.inputs]
    made: list[Shape] = [graph.tensors[i].shape for i in call.outputs]
    layer, class_ = call.layer, type(call.layer)  # a user's subclass may compute something else
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return Barrier("its channels come first: use channels_last")
    if mode := quantization_mode(layer):
        return Barrier(f"it was quantized by Keras ({mode}): take the original model")
    package, name = internal_class(layer) or ("", "")
    kind = _KINDS.get(class_) or _INTERNAL.get(package, {}).get(name)
    if kind == GLOBAL:
        return Barrier(GLOBAL)
    if kind == _OVER_AXES:
        return _over_axes(layer)
    if len(made) != 1 or len(made[0]) != 4 or any(len(x) != 4 for x in shapes[:1]):
        return Barrier(UNKNOWN)
    if class_ in _RULES:
        return _RULES[class_](layer, shapes[0], made[0])
    why = UNKNOWN
    if kind is not None:
        why = _varies(layer, shapes, is_join=kind == _JOIN)
        if not why and not _per_channel(*call.constants):
            why = "it is called with an array that has positions"
    return Barrier(why) if why else Pointwise()


def macs_of(graph: planning.Graph, call: LayerCall) -> int:
    """Multiply-accumulates of a layer on whole maps; convolutions and dense layers only."""
    if not call.inputs or not call.outputs:
        return 0
    old, new = (graph.tensors[x[0]].shape for x in (call.inputs, call.outputs))
    layer = call.layer
    if type(layer) is kl.SeparableConv2D:
        kernels = layer.depthwise_kernel, layer.pointwise_kernel
        return math.prod(new[:-1]) * sum(math.prod(x.shape) for x in kernels)
    if not isinstance(layer, (kl.Conv2D, kl.DepthwiseConv2D, kl.Conv2DTranspose, kl.Dense)):
        return 0
    positions = old[:-1] if isinstance(layer, kl.Conv2DTranspose) else new[:-1]
    return math.prod(positions) * math.prod(layer.kernel.shape)


def _varies(layer, shapes: Sequence[Shape], *, is_join: bool) -> str:
    """Why a layer of a kind that works position by position does not; empty where it does."""
    class_ = type(layer)
    if is_join:
        if "Concatenate" in class_.__name__ and layer.axis not in (-1, 3):
            return "it joins positions, but only channels (axis=-1) can be joined"
        large = max(shapes, key=math.prod)[1:3] if shapes else ()
        if any(len(x) != 4 or x[1:3] not in (large, (1, 1)) for x in shapes):
            return f"its inputs differ in size: {[x[1:] for x in shapes]}"
    if class_ is kl.Rescaling and not _per_channel(layer.scale, layer.offset):
        return "its scale or offset differs between positions"
    if class_.__name__ == "Clip" and not _per_channel(layer.x_min, layer.x_max):
        return "its bounds differ between positions"
    if class_ is kl.PReLU and not {1, 2} <= set(layer.shared_axes or ()):
        return "its slopes differ between positions"
    if class_ in (kl.Activation, kl.Dense) and not _is_of_keras(layer.activation):
        return _CUSTOM_ACTIVATION
    return ""


def _over_axes(layer) -> Effect:
    """A normalization or a reduction: over channels it works position by position."""
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis or ())
    if type(layer) is kl.Normalization and not axes:
        return Pointwise()
    if {axis % 4 for axis in axes} == {3} and getattr(layer, "keepdims", True):
        return Pointwise()
    return Barrier(f"it works on axis {layer.axis}, not on the channels alone")


def _convolution(layer, old: Shape, new: Shape) -> Effect:
    if not _is_of_keras(layer.activation):
        return Barrier(_CUSTOM_ACTIVATION)
    sizes = layer.kernel_size, layer.strides, layer.dilation_rate
    rows, cols, padded = windows(old, *sizes, same=layer.padding == "same")
    return windowed(rows, cols, 0.0, padded=padded)


def _pool(layer, old: Shape, new: Shape) -> Effect:
    same = layer.padding == "same"
    rows, cols, padded = windows(old, layer.pool_size, layer.strides, (1, 1), same=same)
    if type(layer) is kl.MaxPooling2D:
        return windowed(rows, cols, -np.inf, padded=padded)
    # The mean at the border is of fewer values or, on torch, of the edge repeated.
    return Followed(rows, cols) if padded else windowed(rows, cols, 0.0, padded=False)


def _pad(layer, old: Shape, new: Shape) -> Effect:
    rows, cols = (Window(before=before) for before, _ in layer.padding)
    return Windowed(rows, cols, 0.0, pads=True)


def _crop(layer, old: Shape, new: Shape) -> Effect:
    rows, cols = (Window(before=-before) for before, _ in layer.cropping)
    return Windowed(rows, cols, 0.0, padded=False)


def _upsample(layer, old: Shape, new: Shape) -> Effect:
    sizes = list(zip(old[1:3], new[1:3], strict=True))
    if layer.interpolation == "nearest":
        rows, cols = (joined(*both) for both in sizes)
        return Copied(rows, cols)
    if layer.interpolation == "bilinear":
        return Followed(*(resized(*both, corners=False) for both in sizes))
    return Barrier(f"its interpolation is {layer.interpolation!r}")


def _transposed(layer, old: Shape, new: Shape) -> Effect:
    if not _is_of_keras(layer.activation):
        return Barrier(_CUSTOM_ACTIVATION)
    if set(layer.dilation_rate) != {1} or layer.output_padding is not None:
        return Barrier("it has a dilation or an output padding")
    axes = []
    for extent, stride in zip(layer.kernel_size, layer.strides, strict=True):
        # With "same" there are `stride` outputs per input; the smaller half is cut off first.
        total = max(extent - stride, 0) if layer.padding == "same" else 0
        axes.append(Transposed(extent, stride, total // 2, total - total // 2))
    # With a kernel below the stride, the last outputs read nothing.
    on_crops = all(axis.extent >= axis.stride for axis in axes)
    return Grown(*axes) if on_crops else Followed(*axes)


_RULES: dict[type, Callable[[keras.Operation, Shape, Shape], Effect]] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    kl.MaxPooling2D: _pool,
    kl.AveragePooling2D: _pool,
    kl.ZeroPadding2D: _pad,
    kl.Cropping2D: _crop,
    kl.UpSampling2D: _upsample,
    kl.Conv2DTranspose: _transposed,
}


def _per_channel(*values) -> bool:
    """Whether all these numbers or arrays have the same value at every position of a map."""
    return all(math.prod(np.shape(value)[:-1]) == 1 for value in values)


def _is_of_keras(activation: Callable | None) -> bool:
    """Whether an activation is none or one of Keras's, which all work position by position."""
    module = getattr(activation, "__module__", "") or ""
    return activation is None or module.startswith("keras.")
