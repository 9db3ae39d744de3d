"""Which positions of an input the outputs of an operation read, along one axis."""

import dataclasses
from fractions import Fraction

import numpy as np


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
        return start, start + (end - first - 1) * self.stride + self.extent


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


Axis = Window | Spans
SAME_POSITION = Window()
ONE_ROW = Window(stride=0)  # of a constant, which all outputs read
_ROUNDING = 1e-3  # of a position that an operation computes in float32


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


def mirrored(inputs: int, before: int, after: int, symmetric: bool) -> Spans:
    """The spans of an axis that is padded with its own mirror image."""
    read = np.pad(np.arange(inputs), (before, after), "symmetric" if symmetric else "reflect")
    return Spans(read, read, Fraction(1))


def joined(inputs: int, outputs: int) -> Spans:
    """The spans of an axis whose neighbors become channels (`inputs > outputs`), or were some."""
    at = np.arange(outputs)
    low, high = at * inputs // outputs, ((at + 1) * inputs - 1) // outputs
    return Spans(low, high, Fraction(inputs, outputs))


def transposed(outputs: int, extent: int, stride: int, before: int) -> Spans:
    """The spans of a transposed convolution: input `i` reaches `i * stride - before` and after.

    Args:
        outputs: number of outputs.
        extent: length of the kernel.
        stride: between the outputs of two inputs.
        before: outputs that are cut off at the beginning.
    """
    at = np.arange(outputs) + before
    return Spans(-((extent - 1 - at) // stride), at // stride, Fraction(1, stride))
