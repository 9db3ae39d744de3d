"""The arithmetic of steps in `keras.ops`: on full maps, on rectangles and on gathered positions."""

import math

import keras
import numpy as np
from keras import ops

from keras_seqpar.selective.change_maps import transposed
from keras_seqpar.selective.change_maps.flattening import Value
from keras_seqpar.selective.change_maps.steps import Step


def weights_of(step: Step, freeze: bool) -> tuple:
    """The kernel and the bias of a step in float32, as far as it has them.

    Args:
        step: the step.
        freeze: return arrays, which become constants of a compiled graph; otherwise tensors.
    """
    arrays = tuple(x for x in (step.kernel, step.bias) if x is not None)
    return arrays if freeze else tuple(map(ops.convert_to_tensor, arrays))


def on_full_maps(step: Step, weights: tuple, inputs: list):
    """Computes a step on full maps.

    Args:
        step: the step.
        weights: from `weights_of`.
        inputs: tensors with a batch of 1.

    Returns:
        A list of the outputs.
    """
    if step.pads is not None:
        inputs = [ops.pad(inputs[0], ((0, 0), *step.pads, (0, 0)))]
    if step.kind in ("conv", "depthwise"):
        return [_convolve(step, weights, inputs[0], step.padding)]
    if step.kind == "depth_to_space":
        return [_activate(step, transposed.depth_to_space(step.layer, inputs[0]))]
    if step.pads is not None:  # the layer's argument is the padded value, which was made here
        return [step.layer(inputs[0])]
    return keras.tree.flatten(_call(step, inputs))


def on_block(step: Step, weights: tuple, block):
    """Computes a step with a window on the rectangle that it reads, border included.

    Args:
        step: a convolution or pooling step whose windows are affine.
        weights: from `weights_of`.
        block: `(1, height, width, channels)`; the batch can also be tiles.

    Returns:
        `(1, output height, output width, output channels)`.
    """
    if step.kind == "max":
        return ops.max_pool(block, step.layer.pool_size, step.strides)
    if step.kind == "average":  # a sum; the engine divides, see `divisors`
        size = step.layer.pool_size
        return ops.average_pool(block, size, step.strides) * float(size[0] * size[1])
    return _convolve(step, weights, block, "valid")


def on_windows(step: Step, weights: tuple, windows, factors=None):
    """Computes a step with a window on gathered positions.

    Args:
        step: the step.
        weights: from `weights_of`.
        windows: `(positions, window size, channels)`, what each position reads.
        factors: for bilinear upsampling the weights `(positions, window size, 1)`; for depth to
            space `(positions, 1, 1)`, the number of each output in its block.

    Returns:
        `(positions, output channels)`.
    """
    if step.kind == "copy":
        return windows[:, 0]
    if step.kind == "max":
        return ops.max(windows, axis=1)
    if step.kind == "average":
        return ops.sum(windows, axis=1)
    if step.kind == "bilinear":
        return ops.sum(windows * factors, axis=1)
    if step.kind == "depth_to_space":
        each = math.prod(step.strides)
        first = each * ops.arange(ops.shape(windows)[0], dtype="int32")
        rows = ops.reshape(windows, (-1, step.layer.filters))
        return _activate(step, ops.take(rows, first + factors[:, 0, 0], axis=0))
    kernel = weights[0]
    count, channels = windows.shape[1:]
    if step.kind == "depthwise":
        multiplier = kernel.shape[3]
        kernel = ops.reshape(kernel, (count, channels, multiplier))
        if multiplier == 1:
            rows = ops.sum(windows * kernel[:, :, 0], axis=1)
        else:
            rows = ops.reshape(
                ops.einsum("ntc,tcm->ncm", windows, kernel), (-1, channels * multiplier)
            )
    elif step.groups == 1:
        kernel = ops.reshape(kernel, (count * channels, -1))
        rows = ops.matmul(ops.reshape(windows, (-1, count * channels)), kernel)
    else:
        groups, each, out = step.groups, channels // step.groups, kernel.shape[3]
        kernel = ops.reshape(kernel, (count, each, groups, out // groups))
        windows = ops.reshape(windows, (-1, count, groups, each))
        rows = ops.reshape(ops.einsum("ntgc,tcgd->ngd", windows, kernel), (-1, out))
    return _finish(step, weights, rows)


def on_positions(step: Step, weights: tuple, inputs: list):
    """Computes a step that works position by position.

    Args:
        step: a 1x1 convolution without stride, a pointwise layer or a join.
        weights: from `weights_of`.
        inputs: tensors `(1, height, width, channels)` of equal size; gathered positions are
            arranged along the height.

    Returns:
        `(1, height, width, output channels)`.
    """
    if step.kind == "pointwise":
        return _call(step, inputs)
    x = inputs[0]
    if step.kind in ("conv", "depthwise"):
        rows = on_windows(step, weights, ops.reshape(x, (-1, 1, x.shape[-1])))
        return ops.reshape(rows, (*ops.shape(x)[:3], rows.shape[-1]))
    return x  # pooling, padding or upsampling by a factor of 1


def divisors(step: Step) -> list[np.ndarray]:
    """For average pooling, how many rows each output row averages over; likewise for columns."""
    reads = step.reads
    if step.padding == "valid" or not reads.affine:
        return [np.full(len(t), t.shape[1], "float32") for t in (reads.rows, reads.cols)]
    tables = zip((reads.rows, reads.cols), reads.shape, strict=True)
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
    """Calls the step's layer with its arguments, in which the inputs replace the `Value`s."""
    in_order = iter(inputs)
    args, kwargs = keras.tree.map_structure(
        lambda x: next(in_order) if isinstance(x, Value) else x, step.arguments
    )
    return step.layer(*args, **kwargs)
