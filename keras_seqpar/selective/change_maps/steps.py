"""The operations that a stream computes, and the folding of some of them into others."""

import collections
import dataclasses
import math
from collections.abc import Collection, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers as kl

from keras_seqpar.families.layers import TopDownGain


@dataclasses.dataclass
class Step:
    """One operation.

    Args:
        name: name of the layer.
        kind: `"conv"`, `"depthwise"`, `"max"`, `"average"`, `"copy"`, `"bilinear"`,
            `"depth_to_space"` (the second half of a transposed convolution, see `transposed`),
            `"pointwise"` (a layer applied to each position) or `"call"` (a layer applied to the
            whole map).
        inputs: numbers of the values that it takes.
        outputs: numbers of the values that it gives.
        map: number of its output's change map.
        reads: the `InputPositions` that it reads; `None` where an output reads its own position
            only, or everything.
        fill: the value of the border that it reads.
        layer: the layer to call, where the step is not a convolution.
        arguments: the layer's arguments, with a `Value` in place of each tensor.
        kernel: of a convolution, after folding.
        bias: of a convolution, after folding.
        activation: of a convolution, or of the second half of a transposed one.
        strides: of a convolution or pooling layer; of `"depth_to_space"`, outputs per block.
        dilation: of a convolution.
        padding: `"same"` or `"valid"`, of a convolution or pooling layer.
        pads: `((top, bottom), (left, right))` that a padding layer before it adds, if there is
            one.
        groups: of a convolution.
        weights: of bilinear upsampling, the weights per axis; of `"depth_to_space"`, the row and
            the column of each output in its block.
        macs: multiply-accumulates per output position.
        order: index of its layer in `Program.layers`; where layers were folded into the step, of
            the last one of them.
    """

    name: str
    kind: str
    inputs: list[int]
    outputs: list[int]
    map: int
    reads: Any = None
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
        steps: the steps in order; they are changed in place.
        outputs: values that other steps or the user still need, so that they are not folded away.

    Returns:
        The steps that remain, with weights in float32.
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
            and (affine := _scale_and_shift(step)) is not None
        ):
            _fold_into(before, *affine)
            before.outputs, before.order = step.outputs, step.order
            maker[step.outputs[0]] = before
        else:
            kept.append(step)
    for step in kept:  # folding was done in float64
        if step.kernel is not None:
            step.kernel = step.kernel.astype("float32")
            step.bias = None if step.bias is None else step.bias.astype("float32")
    return kept


def weight_array(weight) -> np.ndarray:
    """A weight as a float64 array."""
    return keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(weight)).astype("float64")


def _scale_and_shift(step: Step) -> tuple | None:
    """The factor and the summand per channel of a layer that only scales and shifts.

    `None` for layers that do anything else at inference.
    """
    layer = step.layer
    if step.kind != "pointwise":
        return None
    if type(layer) is TopDownGain:
        return np.float64(layer.gain), np.float64(0)
    if type(layer) is kl.BatchNormalization:
        scale = 1 / np.sqrt(weight_array(layer.moving_variance) + layer.epsilon)
        scale = scale * weight_array(layer.gamma) if layer.scale else scale
        shift = -weight_array(layer.moving_mean) * scale
        return scale, shift + weight_array(layer.beta) if layer.center else shift
    return None


def _fold_into(step: Step, scale, shift) -> None:
    """Changes a convolution's weights so that it also scales and shifts its output."""
    kernel = step.kernel
    channels = kernel.shape[2:] if step.kind == "depthwise" else kernel.shape[3:]
    step.kernel = kernel * np.broadcast_to(scale, math.prod(channels)).reshape(channels)
    bias = 0 if step.bias is None else step.bias
    step.bias = np.broadcast_to(bias * scale + shift, math.prod(channels))
