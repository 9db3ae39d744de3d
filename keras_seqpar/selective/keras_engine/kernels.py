"""The arithmetic of steps, on whole maps, on rectangles and on gathered positions (keras.ops)."""

import math

import keras
import numpy as np
from keras import ops

from keras_seqpar.selective.change_maps import transposed
from keras_seqpar.selective.change_maps.flattening import Value
from keras_seqpar.selective.change_maps.steps import Step


def weights_of(step: Step, freeze: bool) -> tuple:
    """What a step computes with, in float32.

    Args:
        step: what to do.
        freeze: give arrays, which become constants where they are traced; else tensors.
    """
    arrays = tuple(x for x in (step.kernel, step.bias) if x is not None)
    return arrays if freeze else tuple(map(ops.convert_to_tensor, arrays))


def on_whole(step: Step, weights: tuple, inputs: list):
    """A step on everything.

    Args:
        step: what to do.
        weights: from `weights_of`.
        inputs: tensors with a batch of 1.

    Returns:
        The outputs, as a list.
    """
    if step.pads is not None:
        inputs = [ops.pad(inputs[0], ((0, 0), *step.pads, (0, 0)))]
    if step.kind in ("conv", "depthwise"):
        return [_convolve(step, weights, inputs[0], step.padding)]
    if step.kind == "lay":
        return [_activate(step, transposed.lay(step.layer, inputs[0]))]
    if step.pads is not None:  # its layer's arguments have the padded value, which is here
        return [step.layer(inputs[0])]
    return keras.tree.flatten(_call(step, inputs))


def on_block(step: Step, weights: tuple, block):
    """A step with a window, on just the rectangle that it reads, border included.

    Args:
        step: a convolution or pooling with affine taps.
        weights: from `weights_of`.
        block: `(1, height, width, channels)`.

    Returns:
        `(1, output height, output width, output channels)`.
    """
    if step.kind == "max":
        return ops.max_pool(block, step.layer.pool_size, step.strides)
    if step.kind == "average":  # the divisor follows, see `divisors`
        size = step.layer.pool_size
        return ops.average_pool(block, size, step.strides) * float(size[0] * size[1])
    return _convolve(step, weights, block, "valid")


def on_taps(step: Step, weights: tuple, taps, factors=None):
    """A step with a window, on gathered positions.

    Args:
        step: what to do.
        weights: from `weights_of`.
        taps: `(positions, taps, channels)` that each position reads.
        factors: for bilinear upsampling `(positions, taps, 1)` weights; where blocks are laid
            `(positions, 1, 1)` numbers of outputs in their blocks.

    Returns:
        `(positions, output channels)`.
    """
    if step.kind == "copy":
        return taps[:, 0]
    if step.kind == "max":
        return ops.max(taps, axis=1)
    if step.kind == "average":
        return ops.sum(taps, axis=1)
    if step.kind == "bilinear":
        return ops.sum(taps * factors, axis=1)
    if step.kind == "lay":
        each = math.prod(step.strides)
        first = each * ops.arange(ops.shape(taps)[0], dtype="int32")
        rows = ops.reshape(taps, (-1, step.layer.filters))
        return _activate(step, ops.take(rows, first + factors[:, 0, 0], axis=0))
    kernel = weights[0]
    count, channels = taps.shape[1:]
    if step.kind == "depthwise":
        multiplier = kernel.shape[3]
        kernel = ops.reshape(kernel, (count, channels, multiplier))
        if multiplier == 1:
            rows = ops.sum(taps * kernel[:, :, 0], axis=1)
        else:
            rows = ops.reshape(
                ops.einsum("ntc,tcm->ncm", taps, kernel), (-1, channels * multiplier)
            )
    elif step.groups == 1:
        kernel = ops.reshape(kernel, (count * channels, -1))
        rows = ops.matmul(ops.reshape(taps, (-1, count * channels)), kernel)
    else:
        groups, each, out = step.groups, channels // step.groups, kernel.shape[3]
        kernel = ops.reshape(kernel, (count, each, groups, out // groups))
        taps = ops.reshape(taps, (-1, count, groups, each))
        rows = ops.reshape(ops.einsum("ntgc,tcgd->ngd", taps, kernel), (-1, out))
    return _finish(step, weights, rows)


def on_positions(step: Step, weights: tuple, inputs: list):
    """A step that works position by position.

    Args:
        step: a 1x1 convolution without stride, a pointwise layer or a join.
        weights: from `weights_of`.
        inputs: tensors `(1, height, width, channels)` of equal size; gathered positions lie
            along the height.

    Returns:
        `(1, height, width, output channels)`.
    """
    if step.kind == "pointwise":
        return _call(step, inputs)
    x = inputs[0]
    if step.kind in ("conv", "depthwise"):
        rows = on_taps(step, weights, ops.reshape(x, (-1, 1, x.shape[-1])))
        return ops.reshape(rows, (*ops.shape(x)[:3], rows.shape[-1]))
    return x  # pooling, padding or upsampling by one


def divisors(step: Step) -> list[np.ndarray]:
    """For average pooling, how many positions count per output row, and per column."""
    taps = step.taps
    if step.padding == "valid" or not taps.affine:
        return [np.full(len(t), t.shape[1], "float32") for t in (taps.rows, taps.cols)]
    tables = zip((taps.rows, taps.cols), taps.shape, strict=True)
    return [((t >= 0) & (t < size)).sum(1).astype("float32") for t, size in tables]


def _convolve(step: Step, weights: tuple, x, padding: str):
    convolve = ops.depthwise_conv if step.kind == "depthwise" else ops.conv
    y = convolve(x, weights[0], step.strides, padding, "channels_last", dilation_rate=step.dilation)
    return _finish(step, weights, y)


def _finish(step: Step, weights: tuple, y):
    if len(weights) > 1:
        y = y + weights[1]
    return _activate(step, y)


def _activate(step: Step, y):
    return y if step.activation is None else step.activation(y)


def _call(step: Step, inputs: list):
    """Calls the step's layer with tensors in the places where its arguments name them."""
    in_order = iter(inputs)
    args, kwargs = keras.tree.map_structure(
        lambda x: next(in_order) if isinstance(x, Value) else x, step.arguments
    )
    return step.layer(*args, **kwargs)
