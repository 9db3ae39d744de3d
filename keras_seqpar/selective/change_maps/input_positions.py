"""Which input positions a layer reads for each output position, as two small tables.

Imports NumPy only. One table has, for every output row, the input rows that it reads; the other
has the same for columns. Convolution, pooling, padding, cropping and upsampling differ in these
tables only. An output must be computed again if, and only if, a position that it reads changed:
`out[y, x] = any(changed[r, c] for r in rows[y] for c in cols[x])`.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class InputPositions:
    """The input positions that each output position reads: all of its rows times its columns.

    Args:
        rows: `(output height, rows per window)` input rows; numbers outside of `[0, height)`
            are the border.
        cols: `(output width, columns per window)` input columns, likewise.
        shape: `(height, width)` of the input.
        affine: whether the tables follow from one stride, offset and dilation, so that a
            rectangle of outputs reads a rectangle of inputs. False where numbers are clipped or
            repeated.
    """

    rows: np.ndarray
    cols: np.ndarray
    shape: tuple[int, int]
    affine: bool = True

    @property
    def output_shape(self) -> tuple[int, int]:
        """`(height, width)` of the output."""
        return len(self.rows), len(self.cols)

    @functools.cached_property
    def is_identity(self) -> bool:
        """Whether every output reads only the input at its own position."""
        return self.output_shape == self.shape and all(
            table.shape[1] == 1 and np.array_equal(table[:, 0], np.arange(len(table)))
            for table in (self.rows, self.cols)
        )

    @functools.cached_property
    def key(self) -> tuple:
        """A hashable value that is equal for objects with equal input positions."""
        return (
            self.shape,
            *((t.shape, t.tobytes()) for t in (self._inside(0), self._inside(1))),
        )

    def _inside(self, axis: int) -> np.ndarray:
        """A table in which all border positions have the same number, the size of the input."""
        table, size = (self.rows, self.cols)[axis], self.shape[axis]
        return np.where((table >= 0) & (table < size), table, size).astype(np.int32)

    def __call__(self, changed: np.ndarray) -> np.ndarray:
        """The outputs that read at least one changed position.

        Args:
            changed: boolean `(height, width)` of the input.

        Returns:
            Boolean `(output height, output width)`.
        """
        if not changed.any():
            return np.zeros(self.output_shape, bool)
        hit = np.zeros((len(self.rows), self.shape[1]), bool)
        for outputs, inputs in self._row_reads:
            hit[outputs] |= changed[inputs]
        out = np.zeros(self.output_shape, bool)
        for outputs, inputs in self._col_reads:
            out[:, outputs] |= hit[:, inputs]
        return out

    @functools.cached_property
    def _row_reads(self) -> list:
        return _reads(self.rows, self.shape[0])

    @functools.cached_property
    def _col_reads(self) -> list:
        return _reads(self.cols, self.shape[1])

    def span(self, axis: int, first: int, last: int) -> tuple[int, int, bool] | None:
        """The outputs along one axis that read any input from `first` to `last`.

        Args:
            axis: 0 for rows, 1 for columns.
            first: first input.
            last: last input.

        Returns:
            The first and the last such output, and whether all outputs between them read some of
            these inputs too; `None` where no output reads them.
        """
        progression = self._progressions[axis]
        if progression is None:
            table = (self.rows, self.cols)[axis]
            hit = np.flatnonzero(((table >= first) & (table <= last)).any(1))
            if not len(hit):
                return None
            return int(hit[0]), int(hit[-1]), len(hit) == int(hit[-1] - hit[0]) + 1
        start, count, stride = progression
        low = max(0, -((start + count - 1 - first) // stride))  # rounded up
        high = min(len((self.rows, self.cols)[axis]) - 1, (last - start) // stride)
        return (low, high, True) if low <= high else None

    @functools.cached_property
    def _progressions(self) -> list[tuple[int, int, int] | None]:
        """Per axis, how the windows follow each other where each reads adjacent inputs.

        An entry has the first input of the first window, the inputs per window, and the stride.
        It is `None` where the windows have gaps or unequal distances.
        """
        found: list[tuple[int, int, int] | None] = []
        for table in (self.rows, self.cols):
            inside = np.arange(table.shape[1])
            stride = int(table[1, 0] - table[0, 0]) if len(table) > 1 else 1
            ideal = table[0, 0] + stride * np.arange(len(table))[:, None] + inside
            even = stride > 0 and np.array_equal(table, ideal)
            found.append((int(table[0, 0]), len(inside), stride) if even else None)
        return found

    @functools.cached_property
    def nearest(self) -> "InputPositions":
        """The same layer as if every output read only the inputs nearest to it.

        Behind this layer a change keeps its size relative to the frame: it does not spread. An
        output reads the input in the middle of its window, and those that are nearer to its own
        middle than to that of any other output. An input halfway between two outputs belongs to
        the second one, as for windows of 3 with a stride of 2. A window smaller than the stride
        is taken to extend to the next window.
        """
        tables = []
        for table, size in zip((self.rows, self.cols), self.shape, strict=True):
            stride = int(table[1, 0] - table[0, 0]) if self.affine and len(table) > 1 else 1
            centers = (table[:, 0] + np.maximum(table[:, -1], table[:, 0] + stride - 1)) / 2
            middle = np.clip(np.floor(centers), 0, size - 1).astype(int)
            # The first input of each output, and the one after its last.
            ends = np.ceil((centers[:-1] + centers[1:]) / 2).clip(0, size).astype(int)
            low = np.minimum(np.concatenate([[0], ends]), middle)
            high = np.maximum(np.concatenate([ends, [size]]), middle + 1)
            inside = low[:, None] + np.arange((high - low).max())
            tables.append(np.where(inside < high[:, None], inside, -1))
        rows, cols = tables
        return InputPositions(rows, cols, self.shape, affine=False)

    def without_padding(self, pads: Sequence[Sequence[int]]) -> "InputPositions":
        """The same positions, numbered in the input before it was padded.

        Args:
            pads: `((top, bottom), (left, right))`, what a padding layer added to this input.

        Returns:
            Positions of the unpadded input; what the padding added is border.
        """
        (top, bottom), (left, right) = pads
        shape = self.shape[0] - top - bottom, self.shape[1] - left - right
        return InputPositions(self.rows - top, self.cols - left, shape, self.affine)

    def is_subset_of(self, other: "InputPositions") -> bool:
        """Whether every output reads only positions that it reads in `other` too."""
        if (self.shape, self.output_shape) != (other.shape, other.output_shape):
            return False
        for axis in (0, 1):
            mine, theirs = self._inside(axis), other._inside(axis)
            known = (mine[:, :, None] == theirs[:, None, :]).any(2)
            if not (known | (mine == self.shape[axis])).all():
                return False
        return True


def _reads(table: np.ndarray, size: int) -> list:
    """Per column of a table, which outputs read an input there, and which; slices if possible."""
    pairs = []
    for inputs in table.T:
        outputs = np.flatnonzero((inputs >= 0) & (inputs < size))
        if len(outputs):
            pairs.append((_slice(outputs), _slice(inputs[outputs])))
    return pairs


def _slice(index: np.ndarray):
    """Indices as a slice where they increase in equal steps: slicing copies nothing."""
    if len(index) == 1:
        return slice(int(index[0]), int(index[0]) + 1)
    steps = np.diff(index)
    if steps[0] > 0 and (steps == steps[0]).all():
        return slice(int(index[0]), int(index[-1]) + 1, int(steps[0]))
    return index


def window(shape, kernel, strides=(1, 1), dilation=(1, 1), padding="valid") -> InputPositions:
    """The positions that a convolution or a pooling layer reads.

    Args:
        shape: `(height, width)` of the input.
        kernel: `(height, width)` of the window.
        strides: distance between windows, in positions.
        dilation: distance between the positions that one window reads.
        padding: `"valid"` or `"same"`, as Keras and TensorFlow define them. With `"same"` there
            are `ceil(size / stride)` outputs, and the larger half of the border is at the end.

    Example:

    >>> window((5, 5), (3, 3), (2, 2), padding="same").rows[:, 0]
    array([-1,  1,  3])
    """
    tables = []
    for size, count, stride, step in zip(shape, kernel, strides, dilation, strict=True):
        extent = (count - 1) * step + 1
        if padding == "same":
            outputs = -(-size // stride)
            first = -(max((outputs - 1) * stride + extent - size, 0) // 2)
        else:
            outputs, first = (size - extent) // stride + 1, 0
        tables.append(np.arange(outputs)[:, None] * stride + first + np.arange(count) * step)
    rows, cols = tables
    return InputPositions(rows, cols, tuple(shape))


def identity(shape) -> InputPositions:
    """The positions of a layer whose every output reads its own position only."""
    return window(shape, (1, 1))


def pad(shape, pads) -> InputPositions:
    """The positions that padding reads, or cropping where the numbers are negative.

    Args:
        shape: `(height, width)` of the input.
        pads: `((top, bottom), (left, right))` positions to add. Added outputs read the border.
    """
    tables = [
        np.arange(-before, size + after)[:, None]
        for size, (before, after) in zip(shape, pads, strict=True)
    ]
    rows, cols = tables
    return InputPositions(rows, cols, tuple(shape))


def repeat(shape, factors) -> InputPositions:
    """The positions that nearest-neighbor upsampling by integer factors reads."""
    tables = [
        (np.arange(n * factor) // factor)[:, None] for n, factor in zip(shape, factors, strict=True)
    ]
    rows, cols = tables
    return InputPositions(rows, cols, tuple(shape), affine=False)


def bilinear(shape, factors) -> tuple[InputPositions, list[np.ndarray]]:
    """The positions that bilinear upsampling by integer factors reads, and their weights.

    Centers are at half pixels.

    Returns:
        Two positions per axis and output, and for each axis their weights `(outputs, 2)`.
    """
    tables, weights = [], []
    for size, factor in zip(shape, factors, strict=True):
        center = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        low = np.floor(center).astype(int)
        upper = center - low
        high = np.where(upper > 0, np.minimum(low + 1, size - 1), low)
        tables.append(np.stack([low, high], 1))
        weights.append(np.stack([1 - upper, upper], 1).astype("float32"))
    rows, cols = tables
    return InputPositions(rows, cols, tuple(shape), affine=False), weights
