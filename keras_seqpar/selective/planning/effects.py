"""What an operation does to positions: its effect, and which inputs outputs read along an axis."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from keras_seqpar.selective.planning.boxes import Box


@dataclasses.dataclass(frozen=True)
class Window:
    """Output `o` reads the inputs from `o * stride - before` on, `extent` of them."""

    extent: int = 1
    stride: int = 1
    before: int = 0

    @property
    def ratio(self) -> Fraction:
        """Inputs per output, as of `Spans`."""
        return Fraction(self.stride)

    def outputs(self, first: int, end: int, count: int) -> tuple[int, int]:
        """The outputs, of `count`, that read any of the inputs from `first` to `end`.

        They are none if the two numbers do not ascend.
        """
        low = -((self.extent - 1 - self.before - first) // self.stride)
        return max(low, 0), min((end - 1 + self.before) // self.stride + 1, count)

    def crop(self, first: int, end: int) -> tuple[int, int]:
        """The inputs that the outputs from `first` to `end` read; they may lie outside."""
        start = first * self.stride - self.before
        return start, start + self.length(end - first)

    def length(self, count: int) -> int:
        """How many inputs that many outputs read."""
        return (count - 1) * self.stride + self.extent


@dataclasses.dataclass(frozen=True, eq=False)
class Spans:
    """Output `o` reads inputs from `low[o]` to `high[o]`, both included."""

    low: np.ndarray  # `(outputs,)` whole numbers
    high: np.ndarray  # `(outputs,)` whole numbers
    # inputs per output; `None` where it depends on the number of inputs, so that a part of a
    # map is computed otherwise than the map
    ratio: Fraction | None

    def outputs(self, first: int, end: int, count: int) -> tuple[int, int]:
        """As `Window.outputs`."""
        found = np.flatnonzero((self.high[:count] >= first) & (self.low[:count] < end))
        return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)


@dataclasses.dataclass(frozen=True)
class Transposed:
    """Input `i` reaches the outputs from `i * stride - before` on, `extent` of them.

    `before` and `after` outputs are cut off at the ends. Alone, a piece of the inputs gives a piece
    of the outputs, of which only those are right that read nothing else; see `made`.
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

    def made(self, first: int, end: int, count: int) -> tuple[int, int]:
        """The outputs that are made of all inputs, of `count`, that some outputs read."""
        first = max(-((self.extent - 1 - first - self.before) // self.stride), 0)
        end = min((end - 1 + self.before) // self.stride + 1, count)
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


def windows(
    size: Sequence[int], kernel: Sequence[int], strides, dilation, *, same: bool
) -> tuple[Window, Window, bool]:
    """The windows of a convolution or of pooling along both axes, and whether they are padded.

    With `same`, there are as many outputs as inputs, but for the stride; the smaller half of the
    padding is before the first input.
    """
    found, padded = [], False
    for count, side, stride, apart in zip(size[1:3], kernel, strides, dilation, strict=True):
        extent = (side - 1) * apart + 1
        padding = max((-(-count // stride) - 1) * stride + extent - count, 0) if same else 0
        found.append(Window(extent, stride, padding // 2))
        padded = padded or padding > 0
    return found[0], found[1], padded


def resized(inputs: int, outputs: int, *, corners: bool) -> Spans:
    """The spans of a resized axis, of centers or corners of positions, nearest or linear.

    With `corners`, the first and the last output lie on the first and the last input.
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

    A number below 0 stands for what is no copy but has the border's value.
    """
    return Spans(read, read, ratio)


def shifted(pad: Window, inputs: int, outputs: int) -> Spans:
    """The spans of an axis that is padded with a border."""
    read = np.arange(outputs) - pad.before
    return copied(np.where(read < inputs, read, -1))


def nearest(inputs: int, outputs: int, *, corners: bool, half: bool) -> Spans:
    """The spans of an axis that is resized by copies, computed in float32 as TFLite does.

    With `corners`, the first and the last output are copies of the first and the last input; with
    `half`, positions are those of the centers.
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


GLOBAL = "every output reads all positions"
UNKNOWN = "no rule says which positions it reads"


@dataclasses.dataclass(frozen=True)
class Windowed:
    """Outputs read windows of the first input.

    It runs on crops, with no padding of its own: what lies outside of the map is filled.
    """

    rows: Window  # the window along the rows
    cols: Window  # the window along the columns
    border: float  # the value outside of the map
    padded: bool = True  # some windows reach outside of the map
    pads: bool = False  # the operation does nothing but pad


@dataclasses.dataclass(frozen=True)
class Pointwise:
    """Outputs read the same position of all inputs with positions. It runs on crops."""


@dataclasses.dataclass(frozen=True)
class Grown:
    """Inputs reach windows of outputs, of which those in the middle are right on crops."""

    rows: Transposed
    cols: Transposed


@dataclasses.dataclass(frozen=True)
class Copied:
    """Outputs are copies of inputs, or a border. Nothing runs."""

    rows: Spans  # the row that each row is a copy of
    cols: Spans  # likewise
    first_channel: int = 0  # the channel that the first one is a copy of
    border: float | None = None  # the value of what is no copy


@dataclasses.dataclass(frozen=True)
class Followed:
    """It runs on whole maps; a change reaches known outputs."""

    rows: Axis
    cols: Axis


@dataclasses.dataclass(frozen=True)
class Relabeled:
    """The same values in the same order under another shape. Nothing runs."""

    rows: Axis
    cols: Axis


@dataclasses.dataclass(frozen=True)
class Barrier:
    """Outputs may read every position: it, and all that reads its result, runs on whole maps."""

    reason: str


Effect = Windowed | Grown | Copied | Pointwise | Followed | Relabeled | Barrier


def windowed(rows: Window, cols: Window, border: float, *, padded: bool) -> Windowed | Pointwise:
    """The effect of windows; where these are of one position each, it is `Pointwise`."""
    if rows == cols == SAME_POSITION and not padded:
        return Pointwise()
    return Windowed(rows, cols, border, padded=padded)
