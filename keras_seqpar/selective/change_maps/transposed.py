"""Transposed convolutions, as a convolution that makes blocks of outputs and a step that lays them.

With strides `s` and a kernel of `k` taps, an output reads `ceil(k / s)` inputs at most, and those
of a block of `s` neighbors read the same ones. So a convolution without strides makes all of a
block at one position, as channels, and takes as many multiply-accumulates where `s` divides `k`
(the sub-pixel convolution of Shi et al., arXiv 1609.07009).
"""

import dataclasses

import numpy as np
from keras import ops

from keras_seqpar.selective.change_maps.input_positions import Taps, window


@dataclasses.dataclass(frozen=True)
class Blocks:
    """A transposed convolution on one axis, as blocks of outputs.

    Args:
        taps: inputs that the convolution of blocks reads.
        pads: border before and behind that it needs.
        crop: outputs of its first and of its last block that are not there.
        stride: outputs per block.
        kernel: taps of the layer.
    """

    taps: int
    pads: tuple[int, int]
    crop: tuple[int, int]
    stride: int
    kernel: int

    def count(self, size: int) -> int:
        """How many blocks there are of so many inputs."""
        return size + sum(self.pads) - self.taps + 1

    def outputs(self, size: int) -> np.ndarray:
        """All outputs that so many inputs have, counted from the first block's start."""
        return np.arange(self.crop[0], self.count(size) * self.stride - self.crop[1])

    def reads(self, size: int) -> np.ndarray:
        """`(outputs, taps)` inputs; -1 is none."""
        block, phase = np.divmod(self.outputs(size), self.stride)
        before = self.taps - 1 - np.arange(self.taps)  # how many inputs before the block's last
        known = phase[:, None] + self.stride * before < self.kernel
        found = block[:, None] - self.pads[0] + np.arange(self.taps)
        return np.where(known & (found >= 0) & (found < size), found, -1)

    def spread(self, kernel: np.ndarray, axis: int) -> np.ndarray:
        """A kernel with this axis as two: taps of the blocks, and outputs in a block."""
        room = [(0, 0)] * kernel.ndim
        room[axis] = (0, self.taps * self.stride - self.kernel)
        shape = *kernel.shape[:axis], self.taps, self.stride, *kernel.shape[axis + 1 :]
        return np.flip(np.pad(kernel, room).reshape(shape), axis)


def both_axes(layer) -> tuple[Blocks, Blocks]:
    """The blocks, on both axes, of a `Conv2DTranspose` without dilation and output padding.

    Keras pads as TensorFlow's gradient of a convolution does: with "same" there are `s` outputs
    per input, and of the others the smaller half is cut off before.
    """
    made = []
    for kernel, stride in zip(layer.kernel_size, layer.strides, strict=True):
        more = max(kernel - stride, 0)
        first, extra = (more // 2, 0) if layer.padding == "same" else (0, more)
        taps = -(-kernel // stride)
        pads = taps - 1 - first // stride, (extra - 1 + first) // stride + 1
        before = first % stride
        behind = stride * (sum(pads) - taps + 1) - before - extra
        made.append(Blocks(taps, pads, (before, behind), stride, kernel))
    return made[0], made[1]


def reads(layer, shape) -> Taps:
    """What the layer reads of a map `(height, width)`."""
    rows, cols = (axis.reads(size) for axis, size in zip(both_axes(layer), shape, strict=True))
    return Taps(rows, cols, tuple(shape), affine=False)


def block_taps(layer, shape) -> Taps:
    """What the convolution of blocks reads."""
    both = both_axes(layer)
    padded = [n + sum(axis.pads) for axis, n in zip(both, shape, strict=True)]
    return window(padded, [axis.taps for axis in both]).after([axis.pads for axis in both])


def block_kernel(layer, kernel: np.ndarray) -> np.ndarray:
    """The kernel of the convolution of blocks, from `(height, width, out, in)`.

    Returns:
        `(taps, taps, in, outputs per block * out)`; of a block row by row.
    """
    rows, cols = both_axes(layer)
    spread = cols.spread(rows.spread(kernel, 0), 2)  # taps, row, taps, column, out, in
    made = spread.transpose(0, 2, 5, 1, 3, 4)
    return made.reshape(*made.shape[:3], -1)


def lay_taps(layer, shape) -> tuple[Taps, list[np.ndarray]]:
    """Which block each output is in, and which of its rows and of its columns it is.

    Args:
        layer: the transposed convolution.
        shape: `(height, width)` of its input.
    """
    both = list(zip(both_axes(layer), shape, strict=True))
    tables = [np.divmod(axis.outputs(n)[:, None], axis.stride) for axis, n in both]
    (rows, down), (cols, right) = tables
    high, wide = (axis.count(n) for axis, n in both)
    return Taps(rows, cols, (high, wide), affine=False), [down, right]


def lay(layer, x):
    """Lays whole maps of blocks `(1, height, width, outputs per block * channels)`."""
    both = both_axes(layer)
    high, wide = (axis.stride for axis in both)
    (height, width), channels = ops.shape(x)[1:3], x.shape[3] // (high * wide)
    x = ops.reshape(x, (1, height, width, high, wide, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    x = ops.reshape(x, (1, height * high, width * wide, channels))
    rows, cols = (slice(axis.crop[0], -axis.crop[1] or None) for axis in both)
    return x[:, rows, cols]
