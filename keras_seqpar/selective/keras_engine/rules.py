"""What the layers of Keras do to positions; see `planning.effects`."""

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import layers as kl

from keras_seqpar.families.layers import GlobalResponseNorm, StochasticDepth, TopDownGain
from keras_seqpar.networks.graph import internal_class
from keras_seqpar.networks.quantized import quantization_mode
from keras_seqpar.selective.keras_engine.calls import LayerCall
from keras_seqpar.selective.planning.axes import (
    Transposed,
    Window,
    joined,
    padded_window,
    resized,
)
from keras_seqpar.selective.planning.effects import (
    GLOBAL,
    UNKNOWN,
    Barrier,
    Copied,
    Effect,
    Followed,
    Grown,
    Pointwise,
    Windowed,
    windowed,
)

Shape = tuple[int, ...]
CONVOLUTIONS = kl.Conv2D, kl.DepthwiseConv2D, kl.SeparableConv2D
_CUSTOM_ACTIVATION = "its activation is not one of Keras's"
# Layers that work position by position at inference, with all settings.
_POINTWISE = {
    *(kl.ReLU, kl.LeakyReLU, kl.ELU, kl.Rescaling, kl.Identity, kl.Dropout, kl.AlphaDropout),
    *(kl.GaussianNoise, kl.GaussianDropout, kl.SpatialDropout2D, kl.ActivityRegularization),
    *(StochasticDepth, TopDownGain),
}
_JOINS = {
    *(kl.Add, kl.Subtract, kl.Multiply, kl.Average, kl.Maximum, kl.Minimum, kl.Concatenate),
}
_NORMS = {
    *(kl.BatchNormalization, kl.LayerNormalization, kl.RMSNormalization),
    *(kl.UnitNormalization, kl.Softmax, kl.Normalization),
}
_GLOBAL = {
    *(kl.GlobalAveragePooling2D, kl.GlobalMaxPooling2D, kl.Flatten, kl.Reshape),
    *(GlobalResponseNorm, kl.GroupNormalization),
}
# Layers of keras.applications, whose classes are not public.
_APPLICATIONS = {
    "LayerScale": "pointwise",
    "StochasticDepth": "pointwise",
    "CustomScaleLayer": "join",
}
# Operations such as `x + y` and `keras.ops.relu(x)` in a functional model: also not public.
_OPERATIONS = {
    **dict.fromkeys(
        (
            *("Absolute", "Exp", "Log", "Log1p", "Negative", "Reciprocal", "Rsqrt"),
            *("Sqrt", "Square", "Tanh", "Celu", "Elu", "Gelu", "HardSigmoid", "HardSilu"),
            *("HardTanh", "LeakyRelu", "LogSigmoid", "Relu", "Relu6", "Selu", "Sigmoid", "Silu"),
            *("Softplus", "Softsign"),
        ),
        "pointwise",
    ),
    **dict.fromkeys(
        (
            *("Add", "Concatenate", "Divide", "Maximum", "Minimum", "Multiply", "Power"),
            *("Subtract", "TrueDivide"),
        ),
        "join",
    ),
    "Clip": "clip",
    **dict.fromkeys(("LogSoftmax", "Softmax"), "norm"),
    **dict.fromkeys(("Logsumexp", "Max", "Mean", "Min", "Std", "Sum", "Var"), "reduction"),
}


def effect_of(call: LayerCall, shapes: Sequence[Shape], made: Sequence[Shape]) -> Effect:
    """What a layer does to positions.

    Args:
        call: a call of a layer, or of another operation of a functional model.
        shapes: the shape of each input, with the batch of 1.
        made: the shape of each output.
    """
    layer, kind = call.layer, type(call.layer)  # a user's subclass may compute something else
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return Barrier("its channels come first: use channels_last")
    if mode := quantization_mode(layer):
        return Barrier(f"it was quantized by Keras ({mode}): take the original model")
    if kind in _GLOBAL:
        return Barrier(GLOBAL)
    internal = _internal_kind(layer)
    if internal == "reduction" or kind in _NORMS or internal == "norm":
        return _over_axes(layer)
    if len(made) != 1 or len(made[0]) != 4 or any(len(x) != 4 for x in shapes[:1]):
        return Barrier(UNKNOWN)
    effect = _RULES[kind](layer, shapes[0], made[0]) if kind in _RULES else None
    if effect is None:
        effect = _pointwise(layer, kind, internal, shapes)
    if isinstance(effect, Pointwise) and not _per_channel(*call.constants):
        return Barrier("it is called with an array that has positions")
    return effect


def macs_of(layer: keras.Operation, old: Shape, new: Shape) -> int:
    """Multiply-accumulates of a layer; convolutions and dense layers only.

    Args:
        layer: the layer.
        old: shape of its first input.
        new: shape of its output.
    """
    if type(layer) is kl.SeparableConv2D:
        kernels = layer.depthwise_kernel, layer.pointwise_kernel
        return math.prod(new[:-1]) * sum(math.prod(x.shape) for x in kernels)
    if not isinstance(layer, (kl.Conv2D, kl.DepthwiseConv2D, kl.Conv2DTranspose, kl.Dense)):
        return 0
    positions = old[:-1] if isinstance(layer, kl.Conv2DTranspose) else new[:-1]
    return math.prod(positions) * math.prod(layer.kernel.shape)


def _pointwise(layer, kind: type, internal: str | None, shapes: Sequence[Shape]) -> Effect:
    if kind in _JOINS or internal == "join":
        if "Concatenate" in kind.__name__ and layer.axis not in (-1, 3):
            return Barrier("it joins positions, but only channels (axis=-1) can be joined")
        large = max(shapes, key=math.prod)[1:3] if shapes else ()
        if any(len(x) != 4 or x[1:3] not in (large, (1, 1)) for x in shapes):
            return Barrier(f"its inputs differ in size: {[x[1:] for x in shapes]}")
        return Pointwise()
    if kind is kl.Rescaling and not _per_channel(layer.scale, layer.offset):
        return Barrier("its scale or offset differs between positions")
    if internal == "clip" and not _per_channel(layer.x_min, layer.x_max):
        return Barrier("its bounds differ between positions")
    if kind is kl.PReLU and not {1, 2} <= set(layer.shared_axes or ()):
        return Barrier("its slopes differ between positions")
    if kind in (kl.Activation, kl.Dense) and not _is_of_keras(layer.activation):
        return Barrier(_CUSTOM_ACTIVATION)
    known = {*_POINTWISE, kl.PReLU, kl.Activation, kl.Dense}
    if kind in known or internal in ("pointwise", "clip"):
        return Pointwise()
    return Barrier(UNKNOWN)


def _over_axes(layer) -> Effect:
    """A normalization or a reduction: over channels it works position by position."""
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis or ())
    kind = type(layer)
    if kind is kl.Normalization and not axes:
        return Pointwise()
    if {axis % 4 for axis in axes} == {3} and getattr(layer, "keepdims", True):
        return Pointwise()
    return Barrier(f"it works on axis {layer.axis}, not on the channels alone")


def _windows(
    size: Shape, kernel: Sequence[int], strides, dilation, padding: str
) -> tuple[Window, Window, bool]:
    """Windows along rows and columns, and whether some reach outside of the map."""
    axes = zip(size[1:3], kernel, strides, dilation, strict=True)
    (rows, above), (cols, left) = (padded_window(*x, same=padding == "same") for x in axes)
    return rows, cols, above + left > 0


def _convolution(layer, old: Shape, new: Shape) -> Effect:
    if not _is_of_keras(layer.activation):
        return Barrier(_CUSTOM_ACTIVATION)
    sizes = layer.kernel_size, layer.strides, layer.dilation_rate
    rows, cols, padded = _windows(old, *sizes, layer.padding)
    return windowed(rows, cols, 0.0, padded=padded)


def _pool(layer, old: Shape, new: Shape) -> Effect:
    rows, cols, padded = _windows(old, layer.pool_size, layer.strides, (1, 1), layer.padding)
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


def _internal_kind(layer) -> str | None:
    """The entry of `_APPLICATIONS` or `_OPERATIONS` for a class that Keras does not export."""
    package, name = internal_class(layer) or ("", "")
    return {"applications": _APPLICATIONS, "ops": _OPERATIONS}.get(package, {}).get(name)
