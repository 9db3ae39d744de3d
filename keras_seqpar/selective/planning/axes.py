"""Which positions of an input the outputs of an operation read, along one axis."""

import dataclasses
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from keras_seqpar.selective.planning.boxes import Box


@dataclasses.dataclass(frozen=True)
class Window:
    """Output `o` reads the inputs from `o * stride - before` on, `extent` of them.

    Args:
        extent: number of positions from the first to the last that an output reads.
        stride: positions between the windows of two neighbors.
        before: positions before the first input that the first output reads.
    """

    extent: int = 1
    stride: int = 1
    before: int = 0

    @property
    def ratio(self) -> Fraction:
        """Inputs per output, as of `Spans`."""
        return Fraction(self.stride)

    def outputs(self, first: int, end: int, count: int) -> tuple[int, int]:
        """The outputs, of `count`, that read any of the inputs from `first` to `end`.

        Returns:
            The first one and the one after the last one; nothing is read if they do not ascend.
        """
        low = -((self.extent - 1 - self.before - first) // self.stride)
        return max(low, 0), min((end - 1 + self.before) // self.stride + 1, count)

    def inputs(self, first: int, end: int) -> tuple[int, int]:
        """The inputs that the outputs from `first` to `end` read; they may lie outside."""
        start = first * self.stride - self.before
        return start, start + self.length(end - first)

    crop = inputs

    def length(self, count: int) -> int:
        """How many inputs that many outputs read."""
        return (count - 1) * self.stride + self.extent


@dataclasses.dataclass(frozen=True, eq=False)
class Spans:
    """Output `o` reads inputs from `low[o]` to `high[o]`, both included.

    Args:
        low: `(outputs,)` whole numbers.
        high: `(outputs,)` whole numbers.
        ratio: inputs per output; `None` where it depends on the number of inputs, so that a part
            of a map is computed otherwise than the map.
    """

    low: np.ndarray
    high: np.ndarray
    ratio: Fraction | None

    def outputs(self, first: int, end: int, count: int) -> tuple[int, int]:
        """As `Window.outputs`."""
        found = np.flatnonzero((self.high[:count] >= first) & (self.low[:count] < end))
        return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)

    def inputs(self, first: int, end: int) -> tuple[int, int]:
        """As `Window.inputs`."""
        return int(self.low[first:end].min()), int(self.high[first:end].max()) + 1


@dataclasses.dataclass(frozen=True)
class Transposed:
    """Input `i` reaches the outputs from `i * stride - before` on, `extent` of them.

    Alone, a piece of the inputs gives a piece of the outputs, of which only those are right that
    read nothing else; see `made`.

    Args:
        extent: number of outputs that an input reaches.
        stride: outputs between those of two neighboring inputs.
        before: outputs that are cut off at the beginning.
        after: outputs that are cut off at the end.
    """

    extent: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0

    @property
    def ratio(self) -> Fraction:
        """Inputs per output, as of `Spans`."""
        return Fraction(1, self.stride)

    def outputs(self, first: int, end: int, count: int) -> tuple[int, int]:
        """As `Window.outputs`."""
        low, high = first * self.stride - self.before, (end - 1) * self.stride - self.before
        return max(low, 0), min(high + self.extent, count)

    def inputs(self, first: int, end: int) -> tuple[int, int]:
        """As `Window.inputs`."""
        low = -((self.extent - 1 - first - self.before) // self.stride)
        return low, (end - 1 + self.before) // self.stride + 1

    def made(self, first: int, end: int, count: int) -> tuple[int, int]:
        """The outputs that are made of all inputs, of `count`, that some outputs read."""
        first, end = self.inputs(first, end)
        first, end = max(first, 0), min(end, count)
        start = first * self.stride
        length = (end - first - 1) * self.stride + self.extent - self.before - self.after
        return start, start + length

    def crop(self, first: int, end: int) -> tuple[int, int]:
        """The inputs of which the operation makes the outputs from `first` to `end`; see `made`."""
        return first // self.stride, first // self.stride + self.length(end - first)

    def length(self, count: int) -> int:
        """The number of inputs of which the operation makes that many outputs."""
        return (count - self.extent + self.before + self.after) // self.stride + 1


Axis = Window | Spans | Transposed
SAME_POSITION = Window()
ONE_ROW = Window(stride=0)  # of a constant, which all outputs read
_ROUNDING = 1e-3  # of a position that an operation computes in float32


def reached(boxes: Iterable[Box], rows: Axis, cols: Axis, grid: tuple[int, int]) -> Iterator[Box]:
    """The outputs, of a grid of them, that read any of the inputs in boxes; box by box."""
    for top, left, bottom, right in boxes:
        top, bottom = rows.outputs(top, bottom, grid[0])
        left, right = cols.outputs(left, right, grid[1])
        if top < bottom and left < right:
            yield top, left, bottom, right


def padded_window(
    size: int, kernel: int, stride: int, dilation: int, *, same: bool
) -> tuple[Window, int]:
    """The window of a convolution or of pooling, and how many positions are padded for it.

    Args:
        size: number of inputs.
        kernel: length of the kernel.
        stride: positions between two outputs.
        dilation: positions between two values of the kernel.
        same: as many outputs as inputs, but for the stride; with the smaller half of the padding
            before the first input.
    """
    extent = (kernel - 1) * dilation + 1
    padding = max((-(-size // stride) - 1) * stride + extent - size, 0) if same else 0
    return Window(extent, stride, padding // 2), padding


def resized(inputs: int, outputs: int, *, corners: bool) -> Spans:
    """The spans of a resized axis, of centers or corners of positions, nearest or linear.

    Args:
        inputs: number of inputs.
        outputs: number of outputs.
        corners: the first and the last output lie on the first and the last input.
    """
    at, ratio = np.arange(outputs), Fraction(inputs, outputs)
    if corners:
        ends = [at * (inputs - 1) / max(outputs - 1, 1)]
    else:
        ends = [at * float(ratio), (at + 0.5) * float(ratio) - 0.5]
    low = np.floor(np.min(ends, axis=0) - _ROUNDING)
    high = np.floor(np.max(ends, axis=0) + _ROUNDING) + 1
    low, high = (np.clip(x, 0, inputs - 1).astype(int) for x in (low, high))
    return Spans(low, high, None if corners and inputs != outputs else ratio)


def copied(read: np.ndarray, ratio: Fraction | None = Fraction(1)) -> Spans:
    """The spans of an axis whose outputs are copies: output `o` is the input `read[o]`.

    Args:
        read: `(outputs,)` whole numbers; below 0 for what is no copy but has the border's value.
        ratio: as of `Spans`.
    """
    return Spans(read, read, ratio)


def shifted(pad: Window, inputs: int, outputs: int) -> Spans:
    """The spans of an axis that is padded with a border."""
    read = np.arange(outputs) - pad.before
    return copied(np.where(read < inputs, read, -1))


def nearest(inputs: int, outputs: int, *, corners: bool, half: bool) -> Spans:
    """The spans of an axis that is resized by copies, computed in float32 as TFLite does.

    Args:
        inputs: number of inputs.
        outputs: number of outputs.
        corners: the first and the last output are copies of the first and the last input.
        half: positions are those of the centers.
    """
    scale = np.float32(inputs) / np.float32(outputs)
    if corners and outputs > 1:
        scale = np.float32(inputs - 1) / np.float32(outputs - 1)
    at = (np.arange(outputs, dtype="float32") + np.float32(0.5 if half else 0)) * scale
    at = np.floor(at.astype("float64") + 0.5) if corners else np.floor(at)
    ratio = None if corners and inputs != outputs else Fraction(inputs, outputs)
    return copied(np.clip(at, 0, inputs - 1).astype(int), ratio)


def joined(inputs: int, outputs: int) -> Spans:
    """The spans of an axis whose neighbors become channels (`inputs > outputs`), or were some."""
    at = np.arange(outputs)
    low, high = at * inputs // outputs, ((at + 1) * inputs - 1) // outputs
    return Spans(low, high, Fraction(inputs, outputs))
