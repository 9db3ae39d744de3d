"""Which positions of an input the outputs of an operation read, along one axis."""

import dataclasses

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
    """

    low: np.ndarray
    high: np.ndarray

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


def resized(inputs: int, outputs: int) -> Spans:
    """The spans of a resized axis, however positions are aligned: one more on each side."""
    at = np.arange(outputs)
    low = np.floor(np.minimum(at * inputs / outputs, at * (inputs - 1) / max(outputs - 1, 1)) - 1.5)
    high = np.ceil((at + 1) * inputs / outputs) + 1
    return Spans(np.clip(low, 0, inputs - 1).astype(int), np.clip(high, 0, inputs - 1).astype(int))


def mirrored(inputs: int, before: int, after: int, symmetric: bool) -> Spans:
    """The spans of an axis that is padded with its own mirror image."""
    read = np.pad(np.arange(inputs), (before, after), "symmetric" if symmetric else "reflect")
    return Spans(read, read)


def joined(inputs: int, outputs: int) -> Spans:
    """The spans of an axis whose neighbors become channels (`inputs > outputs`), or were some."""
    at = np.arange(outputs)
    return Spans(at * inputs // outputs, ((at + 1) * inputs - 1) // outputs)


def transposed(outputs: int, extent: int, stride: int, before: int) -> Spans:
    """The spans of a transposed convolution: input `i` reaches `i * stride - before` and after.

    Args:
        outputs: number of outputs.
        extent: length of the kernel.
        stride: between the outputs of two inputs.
        before: outputs that are cut off at the beginning.
    """
    at = np.arange(outputs) + before
    return Spans(-((extent - 1 - at) // stride), at // stride)
