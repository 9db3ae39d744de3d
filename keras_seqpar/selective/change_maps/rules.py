"""How each kind of Keras layer changes a change map."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers as kl

from keras_seqpar.families.layers import GlobalResponseNorm, StochasticDepth, TopDownGain
from keras_seqpar.networks.graph import internal_class
from keras_seqpar.networks.quantized import quantization_mode
from keras_seqpar.selective.change_maps import input_positions, transposed
from keras_seqpar.selective.change_maps.input_positions import InputPositions
from keras_seqpar.selective.change_maps.propagation import ChangeMaps

Shape = tuple[int, ...]
CONVOLUTIONS = kl.Conv2D, kl.DepthwiseConv2D, kl.SeparableConv2D
_CUSTOM_ACTIVATION = "its activation is not one of Keras's"


@dataclasses.dataclass(frozen=True)
class Rule:
    """How changes of a layer's inputs change its output.

    Args:
        kind: `"window"` (an output reads some positions of the one input), `"pointwise"` (an
            output reads its own position of the one input), `"join"` (an output reads its own
            position of several inputs), `"global"` (every output depends on every input) or
            `"unsupported"` (no rule is known).
        reads: the `InputPositions` that a window reads.
        fill: the value of a window's border.
        weights: for bilinear upsampling, the weights of the positions that it reads, per axis.
        why: for global and unsupported layers, the reason, for messages.
    """

    kind: str
    reads: Any = None
    fill: float = 0.0
    weights: Sequence[np.ndarray] | None = None
    why: str = ""


# Layers that work position by position at inference, with all settings.
_POINTWISE = (
    *(kl.ReLU, kl.LeakyReLU, kl.ELU, kl.Rescaling, kl.Identity, kl.Dropout, kl.AlphaDropout),
    *(kl.GaussianNoise, kl.GaussianDropout, kl.SpatialDropout2D, kl.ActivityRegularization),
    *(StochasticDepth, TopDownGain),
)
# Layers that return their input at inference.
_IDLE = (
    *(kl.Identity, kl.Dropout, kl.AlphaDropout, kl.GaussianNoise, kl.GaussianDropout),
    *(kl.SpatialDropout2D, kl.ActivityRegularization, StochasticDepth),
)
# Layers of keras.applications, whose classes are not public.
_APPLICATIONS = {"LayerScale": "pointwise", "StochasticDepth": "idle", "CustomScaleLayer": "join"}
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
_JOINS = (kl.Add, kl.Subtract, kl.Multiply, kl.Average, kl.Maximum, kl.Minimum, kl.Concatenate)
_NORMS = (
    *(kl.BatchNormalization, kl.LayerNormalization, kl.RMSNormalization),
    *(kl.UnitNormalization, kl.Softmax, kl.Normalization),
)
_GLOBAL = (
    *(kl.GlobalAveragePooling2D, kl.GlobalMaxPooling2D, kl.Flatten, kl.Reshape),
    *(GlobalResponseNorm, kl.GroupNormalization),
)


def rule_of(layer: keras.Operation, shapes: Sequence[Shape]) -> Rule:
    """The rule of a layer.

    Args:
        layer: a layer, or another operation of a functional model.
        shapes: the shape of each input without the batch axis: `(height, width, channels)` for a
            map, another number of axes for other inputs.

    Example:

    >>> rule_of(keras.layers.MaxPooling2D(2), [(8, 8, 3)]).reads.output_shape
    (4, 4)
    """
    kind = type(layer)  # not isinstance: a user's subclass may compute something else
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return _unsupported(layer, "its channels come first: use channels_last")
    if mode := quantization_mode(layer):
        return _unsupported(
            layer, f"this {kind.__name__} was quantized by Keras ({mode}): take the original model"
        )
    if kind in _GLOBAL:
        return Rule("global", why=f"{kind.__name__} reads all positions")
    if any(len(shape) != 3 for shape in shapes) and kind is not TopDownGain:
        return _unsupported(layer)
    internal = _internal_kind(layer)
    if kind in _JOINS or internal == "join":
        return _join(layer, shapes)
    if kind in _NORMS or internal == "norm":
        return _norm(layer)
    if internal == "reduction":
        return _reduction(layer)
    if kind is kl.Rescaling and not per_channel(layer.scale, layer.offset):
        return _unsupported(layer, "its scale or offset differs between positions")
    if internal == "clip" and not per_channel(layer.x_min, layer.x_max):
        return _unsupported(layer, "its bounds differ between positions")
    if kind in _POINTWISE or is_idle(layer) or internal in ("pointwise", "clip"):
        return Rule("pointwise")
    if kind is kl.PReLU:
        if layer.shared_axes and {1, 2} <= set(layer.shared_axes):
            return Rule("pointwise")
        return _unsupported(layer, "its slopes differ between positions")
    if kind in (kl.Activation, kl.Dense):
        if _is_of_keras(layer.activation):
            return Rule("pointwise")
        return _unsupported(layer, _CUSTOM_ACTIVATION)
    return _window(layer, shapes[0][:2])


def is_idle(layer: keras.Operation) -> bool:
    """Whether a layer returns its input unchanged at inference."""
    kind = type(layer)
    if kind is kl.Activation:
        return layer.activation is keras.activations.linear
    if kind is TopDownGain:
        return layer.gain == 1.0
    return kind in _IDLE or _internal_kind(layer) == "idle"


def per_channel(*values) -> bool:
    """Whether all these numbers or arrays have the same value at every position of a map."""
    return all(math.prod(np.shape(value)[:-1]) == 1 for value in values)


def spread(layer: keras.Operation, *changed: np.ndarray) -> np.ndarray:
    """The outputs of a layer that must be computed again: these and no others.

    Args:
        layer: a layer that works on a window, position by position, or that joins maps.
        changed: for each input, boolean `(height, width)`: where it changed.

    Returns:
        Boolean `(height, width)` of the output.

    Raises:
        ValueError: no rule is known for the layer, or every output depends on every input.

    Example:

    >>> changed = np.zeros((8, 8), bool); changed[0, 0] = True
    >>> int(spread(keras.layers.Conv2D(1, 3, padding="same"), changed).sum())
    4
    """
    rule = rule_of(layer, [(*map_.shape, 1) for map_ in changed])
    if rule.kind == "window":
        return rule.reads(changed[0])
    if rule.kind in ("pointwise", "join"):
        return np.logical_or.reduce(changed)
    raise ValueError(f"Changes cannot be followed through the layer {layer.name!r}: {rule.why}.")


def map_of(
    maps: ChangeMaps, rule: Rule, sources: Sequence[int], shape: tuple[int, int] | None
) -> int:
    """The number of a layer's change map.

    Args:
        maps: the network's change maps; a new one is added where needed.
        rule: the layer's rule.
        sources: the maps of the layer's inputs.
        shape: `(height, width)` of the layer's output, or `None` where it has no positions.
    """
    if rule.kind == "window":
        return maps.window(sources[0], rule.reads)
    if rule.kind not in ("pointwise", "join"):
        return maps.global_map(sources, shape)
    broadcast = any(maps.shape(m) != shape for m in sources if m != ChangeMaps.NEVER)
    return maps.global_map(sources, shape) if broadcast else maps.union(sources)


def _window(layer, shape) -> Rule:
    kind = type(layer)
    if kind in (kl.MaxPooling2D, kl.AveragePooling2D):
        reads = input_positions.window(shape, layer.pool_size, layer.strides, padding=layer.padding)
        if kind is kl.MaxPooling2D:
            return Rule("window", reads, fill=-np.inf if layer.padding == "same" else 0.0)
        return Rule("window", _padded_as_in_torch(reads) if layer.padding == "same" else reads)
    if kind in (*CONVOLUTIONS, kl.Conv2DTranspose) and not _is_of_keras(layer.activation):
        return _unsupported(layer, _CUSTOM_ACTIVATION)
    if kind in CONVOLUTIONS:
        sizes = layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding
        return Rule("window", input_positions.window(shape, *sizes))
    if kind is kl.Conv2DTranspose:
        if set(layer.dilation_rate) != {1} or layer.output_padding is not None:
            return _unsupported(layer, "it has a dilation or an output padding")
        return Rule("window", transposed.reads(layer, shape))
    if kind is kl.ZeroPadding2D:
        return Rule("window", input_positions.pad(shape, layer.padding))
    if kind is kl.Cropping2D:
        pads = [(-before, -after) for before, after in layer.cropping]
        return Rule("window", input_positions.pad(shape, pads))
    if kind is kl.UpSampling2D and layer.interpolation == "nearest":
        return Rule("window", input_positions.repeat(shape, layer.size))
    if kind is kl.UpSampling2D and layer.interpolation == "bilinear":
        reads, weights = input_positions.bilinear(shape, layer.size)
        return Rule("window", reads, weights=weights)
    if kind is kl.UpSampling2D:
        return _unsupported(layer, f"its interpolation is {layer.interpolation!r}")
    return _unsupported(layer)


def _padded_as_in_torch(reads: InputPositions) -> InputPositions:
    """The positions that average pooling with padding "same" reads in Keras's torch backend.

    Where the border is not equally wide on both sides, on either axis, Keras repeats the edge
    there and averages over it too (`_apply_same_padding` with mode "replicate"). Otherwise, and
    always on the other backends, the border is left out of the average.
    """
    border = [
        (-table.min(), table.max() - size + 1)
        for table, size in zip((reads.rows, reads.cols), reads.shape, strict=True)
    ]
    even = all(max(before, 0) == max(after, 0) for before, after in border)
    if keras.backend.backend() != "torch" or even:
        return reads
    height, width = reads.shape
    rows, cols = np.clip(reads.rows, 0, height - 1), np.clip(reads.cols, 0, width - 1)
    return InputPositions(rows, cols, reads.shape, affine=False)


def _join(layer, shapes) -> Rule:
    if type(layer).__name__ == "Concatenate" and layer.axis not in (-1, 3):
        return _unsupported(layer, "it joins positions, but only channels (axis=-1) can be joined")
    large = max(shapes, key=lambda shape: shape[0] * shape[1])[:2]
    if any(shape[:2] not in (large, (1, 1)) for shape in shapes):
        return _unsupported(layer, f"its inputs differ in size: {shapes}")
    if any(shape[:2] != large for shape in shapes):
        return Rule("join", why="one input is the same at all positions and depends on all of them")
    return Rule("join")


def _norm(layer) -> Rule:
    axes = _axes(layer)
    if axes in ([-1], [3]) or (type(layer) is kl.Normalization and not axes):
        return Rule("pointwise")
    if type(layer) in (kl.BatchNormalization, kl.Normalization):
        return _unsupported(layer, f"it works on axis {layer.axis}, not on the channels")
    return Rule("global", why=f"{type(layer).__name__} over axes {axes} reads several positions")


def _reduction(layer) -> Rule:
    axes = {axis % 4 for axis in _axes(layer) or range(4)}  # batch, height, width, channels
    if {1, 2} <= axes:
        return Rule("global", why=f"{type(layer).__name__} reads all positions")
    if axes == {3} and layer.keepdims:
        return Rule("pointwise")
    why = f"it works on axis {layer.axis}: use (1, 2), or -1 with keepdims=True"
    return _unsupported(layer, why)


def _axes(layer) -> list[int]:
    """The axes that a layer works on; empty where it names none."""
    return [layer.axis] if isinstance(layer.axis, int) else list(layer.axis or ())


def _is_of_keras(activation: Callable | None) -> bool:
    """Whether an activation is none or one of Keras's, which all work position by position."""
    module = getattr(activation, "__module__", "") or ""
    return activation is None or module.startswith("keras.")


def _internal_kind(layer) -> str | None:
    """The entry of `_APPLICATIONS` or `_OPERATIONS` for a class that Keras does not export."""
    package, name = internal_class(layer) or ("", "")
    return {"applications": _APPLICATIONS, "ops": _OPERATIONS}.get(package, {}).get(name)


def _unsupported(layer, why: str = "") -> Rule:
    return Rule("unsupported", why=why or f"no rule is known for {type(layer).__name__}")
