"""What a layer reads: for every output position the input positions, as two small tables.

Pure NumPy. For every output row the input rows that it reads, and the same for columns.
Convolutions, pooling, padding, cropping and upsampling differ in these tables only. An output
must be computed again exactly if one of the positions it reads changed:
`out[y, x] = any(changed[r, c] for r in rows[y] for c in cols[x])`.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Taps:
    """The positions that each output position reads: rows times columns.

    Args:
        rows: `(output height, taps)` input rows; numbers outside `[0, height)` are border.
        cols: `(output width, taps)` input columns.
        shape: `(height, width)` of the input.
        affine: whether the tables come from one stride, offset and dilation, so that a
            rectangle of outputs reads one rectangle of inputs. Clipped and repeated ones do not.
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
        """Whether every output reads the input of its own position and nothing else."""
        return self.output_shape == self.shape and all(
            table.shape[1] == 1 and np.array_equal(table[:, 0], np.arange(len(table)))
            for table in (self.rows, self.cols)
        )

    @functools.cached_property
    def key(self) -> tuple:
        """Equal for taps that read the same positions."""
        return (
            self.shape,
            *((t.shape, t.tobytes()) for t in (self._inside(0), self._inside(1))),
        )

    def _inside(self, axis: int) -> np.ndarray:
        """A table with the border as one number: the size of the input."""
        table, size = (self.rows, self.cols)[axis], self.shape[axis]
        return np.where((table >= 0) & (table < size), table, size).astype(np.int32)

    def __call__(self, changed: np.ndarray) -> np.ndarray:
        """The outputs that read a changed position.

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
        """The outputs that read something of `first..last`, on one axis.

        Returns:
            The first and the last row (axis 0) or column (axis 1), and whether all between them
            do; `None` where none does.
        """
        run = self._runs[axis]
        if run is None:
            table = (self.rows, self.cols)[axis]
            hit = np.flatnonzero(((table >= first) & (table <= last)).any(1))
            if not len(hit):
                return None
            return int(hit[0]), int(hit[-1]), len(hit) == int(hit[-1] - hit[0]) + 1
        start, taps, stride = run
        low = max(0, -((start + taps - 1 - first) // stride))  # rounded up
        high = min(len((self.rows, self.cols)[axis]) - 1, (last - start) // stride)
        return (low, high, True) if low <= high else None

    @functools.cached_property
    def _runs(self) -> list[tuple[int, int, int] | None]:
        """Per axis, where outputs read runs of neighbors at equal distances.

        The first tap of the first output, the number of taps, and the stride.
        """
        found: list[tuple[int, int, int] | None] = []
        for table in (self.rows, self.cols):
            run = np.arange(table.shape[1])
            stride = int(table[1, 0] - table[0, 0]) if len(table) > 1 else 1
            ideal = table[0, 0] + stride * np.arange(len(table))[:, None] + run
            even = stride > 0 and np.array_equal(table, ideal)
            found.append((int(table[0, 0]), len(run), stride) if even else None)
        return found

    @functools.cached_property
    def home(self) -> "Taps":
        """The same layer as if every output read what lies where it lies, and nothing around.

        An output has the input in the middle of its window, and the inputs to which no other
        output is nearer. Behind these taps a change is as large as it was. Halfway between two
        outputs is the second one's, as for windows of 3 and strides of 2; windows smaller than
        their stride have the positions up to the next one.
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
        return Taps(rows, cols, self.shape, affine=False)

    def after(self, pads: Sequence[Sequence[int]]) -> "Taps":
        """The same reads of an input that is padded first.

        Args:
            pads: `((top, bottom), (left, right))`, as the padding that goes before it.

        Returns:
            Taps on the input without the padding.
        """
        (top, bottom), (left, right) = pads
        shape = self.shape[0] - top - bottom, self.shape[1] - left - right
        return Taps(self.rows - top, self.cols - left, shape, self.affine)

    def within(self, other: "Taps") -> bool:
        """Whether every output reads no other position than with `other`."""
        if (self.shape, self.output_shape) != (other.shape, other.output_shape):
            return False
        for axis in (0, 1):
            mine, theirs = self._inside(axis), other._inside(axis)
            known = (mine[:, :, None] == theirs[:, None, :]).any(2)
            if not (known | (mine == self.shape[axis])).all():
                return False
        return True


def _reads(table: np.ndarray, size: int) -> list:
    """Per tap the outputs that read inside, and what they read, as slices where possible."""
    pairs = []
    for tap in table.T:
        outputs = np.flatnonzero((tap >= 0) & (tap < size))
        if len(outputs):
            pairs.append((_slice(outputs), _slice(tap[outputs])))
    return pairs


def _slice(index: np.ndarray):
    """Evenly spaced, increasing indices as a slice, which is a view and quick."""
    if len(index) == 1:
        return slice(int(index[0]), int(index[0]) + 1)
    steps = np.diff(index)
    if steps[0] > 0 and (steps == steps[0]).all():
        return slice(int(index[0]), int(index[-1]) + 1, int(steps[0]))
    return index


def window(shape, kernel, strides=(1, 1), dilation=(1, 1), padding="valid") -> Taps:
    """What a convolution or pooling of a window reads.

    Args:
        shape: `(height, width)` of the input.
        kernel: `(height, width)` of the window, in taps.
        strides: steps between windows, in positions.
        dilation: steps between taps, in positions.
        padding: `"valid"` or `"same"`, as Keras and TensorFlow define them: `ceil(size / stride)`
            outputs, the odd position of border at the end.

    Returns:
        The taps.

    Example:

    >>> window((5, 5), (3, 3), (2, 2), padding="same").rows[:, 0]
    array([-1,  1,  3])
    """
    tables = []
    for size, taps, stride, step in zip(shape, kernel, strides, dilation, strict=True):
        reach = (taps - 1) * step + 1
        if padding == "same":
            count = -(-size // stride)
            first = -(max((count - 1) * stride + reach - size, 0) // 2)
        else:
            count, first = (size - reach) // stride + 1, 0
        tables.append(np.arange(count)[:, None] * stride + first + np.arange(taps) * step)
    rows, cols = tables
    return Taps(rows, cols, tuple(shape))


def identity(shape) -> Taps:
    """Every output reads its own position."""
    return window(shape, (1, 1))


def pad(shape, pads) -> Taps:
    """What padding reads, and with negative numbers cropping.

    Args:
        shape: `(height, width)` of the input.
        pads: `((top, bottom), (left, right))` positions to add.

    Returns:
        The taps; what was added reads border.
    """
    tables = [
        np.arange(-before, size + after)[:, None]
        for size, (before, after) in zip(shape, pads, strict=True)
    ]
    rows, cols = tables
    return Taps(rows, cols, tuple(shape))


def repeat(shape, factors) -> Taps:
    """What nearest-neighbor upsampling by whole factors reads."""
    tables = [
        (np.arange(n * factor) // factor)[:, None] for n, factor in zip(shape, factors, strict=True)
    ]
    rows, cols = tables
    return Taps(rows, cols, tuple(shape), affine=False)


def bilinear(shape, factors) -> tuple[Taps, list[np.ndarray]]:
    """What bilinear upsampling by whole factors reads (half-pixel centers), and the weights.

    Returns:
        Taps, two per axis, and for each axis the weights `(outputs, 2)` of the two.
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
    return Taps(rows, cols, tuple(shape), affine=False), weights
