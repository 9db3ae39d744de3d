"""What each kind of Keras layer does to change maps."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers as kl

from keras_seqpar.networks.layers import GlobalResponseNorm, StochasticDepth, TopDownGain
from keras_seqpar.selective.change_maps import input_positions as tables
from keras_seqpar.selective.change_maps import transposed
from keras_seqpar.selective.change_maps.input_positions import Taps
from keras_seqpar.selective.change_maps.propagation import Maps

Shape = tuple[int, ...]
CONVOLUTIONS = kl.Conv2D, kl.DepthwiseConv2D, kl.SeparableConv2D
_FOREIGN = "its activation is not one of Keras's"


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a layer's output changes with its inputs.

    Args:
        kind: `"window"` (reads `taps` of its one input), `"pointwise"` (each position by
            itself), `"join"` (several inputs position by position), `"whole"` (every output
            depends on every input) or `"unknown"` (nobody knows).
        taps: the `Taps` that a window reads.
        fill: what a window's border holds.
        weights: for bilinear upsampling, the weights of its taps per axis.
        why: for whole and unknown layers, what to tell the user.
    """

    kind: str
    taps: Any = None
    fill: float = 0.0
    weights: Sequence[np.ndarray] | None = None
    why: str = ""


# Work position by position at inference, whatever their settings.
_POINTWISE = (
    *(kl.ReLU, kl.LeakyReLU, kl.ELU, kl.Rescaling, kl.Identity, kl.Dropout, kl.AlphaDropout),
    *(kl.GaussianNoise, kl.GaussianDropout, kl.SpatialDropout2D, kl.ActivityRegularization),
    *(StochasticDepth, TopDownGain),
)
# Do nothing at inference.
_IDLE = (
    *(kl.Identity, kl.Dropout, kl.AlphaDropout, kl.GaussianNoise, kl.GaussianDropout),
    *(kl.SpatialDropout2D, kl.ActivityRegularization, StochasticDepth),
)
# keras.applications' own layers, which are not public.
_APPLICATIONS = {"LayerScale": "pointwise", "StochasticDepth": "idle", "CustomScaleLayer": "join"}
# The operations behind `x + y` and `keras.ops.relu(x)` in a functional model, not public either.
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
    """Finds a layer's rule.

    Args:
        layer: a layer, or another operation of a functional model.
        shapes: `(height, width, channels)` of each of its inputs; fewer or more numbers for
            those that are no maps.

    Returns:
        The rule.

    Example:

    >>> rule_of(keras.layers.MaxPooling2D(2), [(8, 8, 3)]).taps.output_shape
    (4, 4)
    """
    kind = type(layer)  # exactly: a class of the user's may do other things than its parent
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return _unknown(layer, "its channels come first; take channels_last")
    if kind in _GLOBAL:
        return Rule("whole", why=f"{kind.__name__} looks at all positions")
    if any(len(shape) != 3 for shape in shapes) and kind is not TopDownGain:
        return _unknown(layer)
    private = _private(layer)
    if kind in _JOINS or private == "join":
        return _join(layer, shapes)
    if kind in _NORMS or private == "norm":
        return _norm(layer)
    if private == "reduction":
        return _reduction(layer)
    if kind is kl.Rescaling and not per_channel(layer.scale, layer.offset):
        return _unknown(layer, "its scale or offset differs from position to position")
    if private == "clip" and not per_channel(layer.x_min, layer.x_max):
        return _unknown(layer, "its bounds differ from position to position")
    if kind in _POINTWISE or is_idle(layer) or private in ("pointwise", "clip"):
        return Rule("pointwise")
    if kind is kl.PReLU:
        shared = layer.shared_axes and {1, 2} <= set(layer.shared_axes)
        return Rule("pointwise") if shared else _unknown(layer, "it differs by position")
    if kind in (kl.Activation, kl.Dense):
        return Rule("pointwise") if _known(layer.activation) else _unknown(layer, _FOREIGN)
    return _window(layer, shapes[0][:2])


def is_idle(layer: keras.Operation) -> bool:
    """Whether a layer hands on its input as it is, at inference."""
    kind = type(layer)
    if kind is kl.Activation:
        return layer.activation is keras.activations.linear
    if kind is TopDownGain:
        return layer.gain == 1.0
    return kind in _IDLE or _private(layer) == "idle"


def per_channel(*values) -> bool:
    """Whether numbers or arrays that a layer works with are the same at all positions."""
    return all(math.prod(np.shape(value)[:-1]) == 1 for value in values)


def spread(layer: keras.Operation, *changed: np.ndarray) -> np.ndarray:
    """The exact map of a layer's outputs that must be computed again.

    Args:
        layer: a layer with a rule.
        changed: boolean `(height, width)` for each input.

    Returns:
        Boolean `(height, width)` of the output.

    Raises:
        ValueError: nobody knows how changes go through this layer, or its output is no map.

    Example:

    >>> changed = np.zeros((8, 8), bool); changed[0, 0] = True
    >>> spread(keras.layers.Conv2D(1, 3, padding="same"), changed).sum()
    4
    """
    rule = rule_of(layer, [(*map_.shape, 1) for map_ in changed])
    if rule.kind == "window":
        return rule.taps(changed[0])
    if rule.kind in ("pointwise", "join"):
        return np.logical_or.reduce(changed)
    raise ValueError(f"No map goes through the layer {layer.name!r}: {rule.why}.")


def map_of(maps: Maps, rule: Rule, sources: Sequence[int], shape: tuple[int, int] | None) -> int:
    """The number of a layer's output map in `maps`.

    Args:
        maps: the network's maps.
        rule: the layer's.
        sources: its inputs' maps.
        shape: `(height, width)` of its output, or `None`.
    """
    if rule.kind == "window":
        return maps.taps(sources[0], rule.taps)
    if rule.kind not in ("pointwise", "join"):
        return maps.whole(sources, shape)
    one_for_all = any(maps.shape(m) != shape for m in sources if m != Maps.NEVER)
    return maps.whole(sources, shape) if one_for_all else maps.union(sources)


def _window(layer, shape) -> Rule:
    kind = type(layer)
    if kind in (kl.MaxPooling2D, kl.AveragePooling2D):
        taps = tables.window(shape, layer.pool_size, layer.strides, padding=layer.padding)
        if kind is kl.MaxPooling2D:
            return Rule("window", taps, fill=-np.inf if layer.padding == "same" else 0.0)
        return Rule("window", _as_torch_pads(taps) if layer.padding == "same" else taps)
    if kind in (*CONVOLUTIONS, kl.Conv2DTranspose) and not _known(layer.activation):
        return _unknown(layer, _FOREIGN)
    if kind in CONVOLUTIONS:
        sizes = layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding
        return Rule("window", tables.window(shape, *sizes))
    if kind is kl.Conv2DTranspose:
        if set(layer.dilation_rate) != {1} or layer.output_padding is not None:
            return _unknown(layer, "it has a dilation or an output padding")
        return Rule("window", transposed.reads(layer, shape))
    if kind is kl.ZeroPadding2D:
        return Rule("window", tables.pad(shape, layer.padding))
    if kind is kl.Cropping2D:
        pads = [(-before, -after) for before, after in layer.cropping]
        return Rule("window", tables.pad(shape, pads))
    if kind is kl.UpSampling2D and layer.interpolation == "nearest":
        return Rule("window", tables.repeat(shape, layer.size))
    if kind is kl.UpSampling2D and layer.interpolation == "bilinear":
        taps, weights = tables.bilinear(shape, layer.size)
        return Rule("window", taps, weights=weights)
    if kind is kl.UpSampling2D:
        return _unknown(layer, f"its interpolation is {layer.interpolation!r}")
    return _unknown(layer)


def _as_torch_pads(taps: Taps) -> Taps:
    """Average pooling of padding "same" in Keras's torch backend.

    Where the border is not equal on both sides of both axes, it repeats the edge and counts it
    (`_apply_same_padding`, mode "replicate"); otherwise, and on the other backends, border does
    not count.
    """
    border = [
        (-table.min(), table.max() - size + 1)
        for table, size in zip((taps.rows, taps.cols), taps.shape, strict=True)
    ]
    even = all(max(before, 0) == max(after, 0) for before, after in border)
    if keras.backend.backend() != "torch" or even:
        return taps
    height, width = taps.shape
    rows, cols = np.clip(taps.rows, 0, height - 1), np.clip(taps.cols, 0, width - 1)
    return Taps(rows, cols, taps.shape, affine=False)


def _join(layer, shapes) -> Rule:
    if type(layer).__name__ == "Concatenate" and layer.axis not in (-1, 3):
        return _unknown(layer, "it joins positions; only channels (axis=-1) can be joined")
    large = max(shapes, key=lambda shape: shape[0] * shape[1])[:2]
    if any(shape[:2] not in (large, (1, 1)) for shape in shapes):
        return _unknown(layer, f"its inputs differ in size: {shapes}")
    if any(shape[:2] != large for shape in shapes):
        return Rule("join", why="one input is the same for all positions and depends on all")
    return Rule("join")


def _norm(layer) -> Rule:
    axes = _axes(layer)
    if axes in ([-1], [3]) or (type(layer) is kl.Normalization and not axes):
        return Rule("pointwise")
    if type(layer) in (kl.BatchNormalization, kl.Normalization):
        return _unknown(layer, f"it works on axis {layer.axis}, not on channels")
    return Rule("whole", why=f"{type(layer).__name__} over axes {axes} looks at several positions")


def _reduction(layer) -> Rule:
    axes = {axis % 4 for axis in _axes(layer) or range(4)}  # batch, height, width, channels
    if {1, 2} <= axes:
        return Rule("whole", why=f"{type(layer).__name__} looks at all positions")
    if axes == {3} and layer.keepdims:
        return Rule("pointwise")
    return _unknown(layer, f"it works on axis {layer.axis}: take (1, 2), or -1 and keepdims=True")


def _axes(layer) -> list[int]:
    """The axes that a layer works on; none where it names none."""
    return [layer.axis] if isinstance(layer.axis, int) else list(layer.axis or ())


def _known(activation: Callable | None) -> bool:
    """Whether an activation is one of Keras's: they work within a position."""
    module = getattr(activation, "__module__", "") or ""
    return activation is None or module.startswith("keras.")


def _private(layer) -> str | None:
    """What a layer or operation of Keras does whose class is not public."""
    for package, known in (("applications", _APPLICATIONS), ("ops", _OPERATIONS)):
        if type(layer).__module__.startswith(f"keras.src.{package}."):
            return known.get(type(layer).__name__)
    return None


def _unknown(layer, why: str = "") -> Rule:
    return Rule("unknown", why=why or f"no rule is known for {type(layer).__name__}")
