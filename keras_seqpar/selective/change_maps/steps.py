"""The operations of a network as it is run, and those of them that melt into others."""

import collections
import dataclasses
import math
from collections.abc import Collection, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers as kl

from keras_seqpar.networks.layers import TopDownGain


@dataclasses.dataclass
class Step:
    """One operation.

    Args:
        name: of the layer.
        kind: `"conv"`, `"depthwise"`, `"max"`, `"average"`, `"copy"`, `"bilinear"`, `"lay"`
            (blocks of a transposed convolution, see `transposed`),
            `"pointwise"` (a layer applied to each position) or `"call"` (a layer applied to
            everything).
        inputs: the values it takes.
        outputs: the values it gives.
        map: number of its output's change map.
        taps: the `Taps` that it reads; `None` where it reads only its own position, or everything.
        fill: what the border holds that it reads.
        layer: what to call for whole maps, where that is not a convolution.
        arguments: the layer's arguments, with `Value` in place of tensors.
        kernel: of a convolution, folded.
        bias: of a convolution, folded.
        activation: of a convolution, or of what lays the blocks of one.
        strides: of a convolution or pooling; outputs per block where blocks are laid.
        dilation: of a convolution.
        padding: `"same"` or `"valid"`, of a convolution or pooling.
        pads: `((top, bottom), (left, right))` that a padding layer before it adds, if any.
        groups: of a convolution.
        weights: of bilinear upsampling, per axis; where blocks are laid, which row and which
            column of its block each output is.
        macs: multiply-accumulates per output position.
        order: which layer of `Program.layers` it is, the last one of those folded into it.
    """

    name: str
    kind: str
    inputs: list[int]
    outputs: list[int]
    map: int
    taps: Any = None
    fill: float = 0.0
    layer: Any = None
    arguments: tuple = ((), {})
    kernel: Any = None
    bias: Any = None
    activation: Any = None
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: str = "valid"
    pads: Any = None
    groups: int = 1
    weights: Any = None
    macs: int = 0
    order: int = 0


def fold(steps: Sequence[Step], outputs: Collection[int]) -> list[Step]:
    """Folds constant gains and batch normalization into the convolution before them.

    Args:
        steps: in order; they are changed in place.
        outputs: values that must stay.

    Returns:
        Those that are left, their weights in float32.
    """
    maker = {value: step for step in steps for value in step.outputs}
    readers = collections.Counter(value for step in steps for value in step.inputs)
    kept = []
    for step in steps:
        before = maker.get(step.inputs[0]) if len(step.inputs) == 1 else None
        if (
            before is not None
            and before.kind in ("conv", "depthwise")
            and before.activation is None
            and readers[step.inputs[0]] == 1
            and step.inputs[0] not in outputs
            and (linear := _linear(step)) is not None
        ):
            _scale(before, *linear)
            before.outputs, before.order = step.outputs, step.order
            maker[step.outputs[0]] = before
        else:
            kept.append(step)
    for step in kept:  # float32 from here on: what was folded was folded in float64
        if step.kernel is not None:
            step.kernel = step.kernel.astype("float32")
            step.bias = None if step.bias is None else step.bias.astype("float32")
    return kept


def array(weight) -> np.ndarray:
    """A weight in float64."""
    return keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(weight)).astype("float64")


def _linear(step: Step) -> tuple | None:
    """Scale and shift per channel of a layer that does nothing else, at inference."""
    layer = step.layer
    if step.kind != "pointwise":
        return None
    if type(layer) is TopDownGain:
        return np.float64(layer.gain), np.float64(0)
    if type(layer) is kl.BatchNormalization:
        scale = 1 / np.sqrt(array(layer.moving_variance) + layer.epsilon)
        scale = scale * array(layer.gamma) if layer.scale else scale
        shift = -array(layer.moving_mean) * scale
        return scale, shift + array(layer.beta) if layer.center else shift
    return None


def _scale(step: Step, scale, shift) -> None:
    """Lets a convolution do a multiplication and an addition that follow it."""
    kernel = step.kernel
    channels = kernel.shape[2:] if step.kind == "depthwise" else kernel.shape[3:]
    step.kernel = kernel * np.broadcast_to(scale, math.prod(channels)).reshape(channels)
    bias = 0 if step.bias is None else step.bias
    step.bias = np.broadcast_to(bias * scale + shift, math.prod(channels))
