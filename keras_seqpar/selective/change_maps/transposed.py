"""A transposed convolution as a convolution to blocks of outputs, followed by depth to space.

With a stride `s` and a kernel of `k` positions, an output reads at most `ceil(k / s)` inputs, and
the `s` neighboring outputs of a block read the same ones. So a convolution without stride can
compute all outputs of a block at one position, as channels; they are then moved to their places.
Where `s` divides `k`, it takes the same number of multiply-accumulates as the layer (this is the
sub-pixel convolution of Shi et al., arXiv 1609.07009).
"""

import dataclasses

import numpy as np
from keras import ops

from keras_seqpar.selective.change_maps.input_positions import InputPositions, window


@dataclasses.dataclass(frozen=True)
class Blocks:
    """A transposed convolution along one axis, as blocks of outputs.

    Args:
        window: inputs that the convolution to blocks reads for each block.
        pads: border that it needs before and after the input.
        crop: outputs that the first and the last block have too many.
        stride: outputs per block.
        kernel: size of the layer's kernel.
    """

    window: int
    pads: tuple[int, int]
    crop: tuple[int, int]
    stride: int
    kernel: int

    def count(self, size: int) -> int:
        """The number of blocks for an input of this size."""
        return size + sum(self.pads) - self.window + 1

    def outputs(self, size: int) -> np.ndarray:
        """The outputs for an input of this size, counted from the start of the first block."""
        return np.arange(self.crop[0], self.count(size) * self.stride - self.crop[1])

    def reads(self, size: int) -> np.ndarray:
        """The inputs that each output reads: `(outputs, window)`, -1 for none."""
        block, phase = np.divmod(self.outputs(size), self.stride)
        before = self.window - 1 - np.arange(self.window)  # distance to the block's last input
        known = phase[:, None] + self.stride * before < self.kernel
        found = block[:, None] - self.pads[0] + np.arange(self.window)
        return np.where(known & (found >= 0) & (found < size), found, -1)

    def split(self, kernel: np.ndarray, axis: int) -> np.ndarray:
        """A kernel with one axis split into two: inputs of the window, and outputs in a block."""
        room = [(0, 0)] * kernel.ndim
        room[axis] = (0, self.window * self.stride - self.kernel)
        shape = *kernel.shape[:axis], self.window, self.stride, *kernel.shape[axis + 1 :]
        return np.flip(np.pad(kernel, room).reshape(shape), axis)


def both_axes(layer) -> tuple[Blocks, Blocks]:
    """The blocks of a `Conv2DTranspose` along rows and along columns.

    Keras pads as the gradient of TensorFlow's convolution does. With "same" there are `stride`
    outputs per input; of the other outputs, the smaller half is cut off at the start.

    Args:
        layer: a layer without dilation and output padding.
    """
    made = []
    for kernel, stride in zip(layer.kernel_size, layer.strides, strict=True):
        more = max(kernel - stride, 0)
        first, extra = (more // 2, 0) if layer.padding == "same" else (0, more)
        count = -(-kernel // stride)
        pads = count - 1 - first // stride, (extra - 1 + first) // stride + 1
        before = first % stride
        after = stride * (sum(pads) - count + 1) - before - extra
        made.append(Blocks(count, pads, (before, after), stride, kernel))
    return made[0], made[1]


def reads(layer, shape) -> InputPositions:
    """The input positions that each output of the layer reads.

    Args:
        layer: the transposed convolution.
        shape: `(height, width)` of its input.
    """
    rows, cols = (axis.reads(size) for axis, size in zip(both_axes(layer), shape, strict=True))
    return InputPositions(rows, cols, tuple(shape), affine=False)


def block_reads(layer, shape) -> InputPositions:
    """The input positions that the convolution to blocks reads; arguments as for `reads`."""
    both = both_axes(layer)
    padded = [n + sum(axis.pads) for axis, n in zip(both, shape, strict=True)]
    found = window(padded, [axis.window for axis in both])
    return found.without_padding([axis.pads for axis in both])


def block_kernel(layer, kernel: np.ndarray) -> np.ndarray:
    """The kernel of the convolution to blocks.

    Args:
        layer: the transposed convolution.
        kernel: its kernel, `(height, width, out, in)`.

    Returns:
        `(window rows, window columns, in, outputs per block * out)`; the outputs of a block are
        in the order of its rows.
    """
    rows, cols = both_axes(layer)
    split = cols.split(rows.split(kernel, 0), 2)  # window, row, window, column, out, in
    made = split.transpose(0, 2, 5, 1, 3, 4)
    return made.reshape(*made.shape[:3], -1)


def block_of_output(layer, shape) -> tuple[InputPositions, list[np.ndarray]]:
    """The block that each output is in, and its row and column in that block.

    Args:
        layer: the transposed convolution.
        shape: `(height, width)` of its input.

    Returns:
        The position of the block, and the rows and the columns in a block, one table each.
    """
    both = list(zip(both_axes(layer), shape, strict=True))
    tables = [np.divmod(axis.outputs(n)[:, None], axis.stride) for axis, n in both]
    (rows, down), (cols, right) = tables
    high, wide = (axis.count(n) for axis, n in both)
    return InputPositions(rows, cols, (high, wide), affine=False), [down, right]


def depth_to_space(layer, x):
    """Moves the outputs of all blocks of a map to their places, and crops.

    Args:
        layer: the transposed convolution.
        x: `(1, height, width, outputs per block * channels)`.
    """
    both = both_axes(layer)
    high, wide = (axis.stride for axis in both)
    (height, width), channels = ops.shape(x)[1:3], x.shape[3] // (high * wide)
    x = ops.reshape(x, (1, height, width, high, wide, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    x = ops.reshape(x, (1, height * high, width * wide, channels))
    rows, cols = (slice(axis.crop[0], -axis.crop[1] or None) for axis in both)
    return x[:, rows, cols]
