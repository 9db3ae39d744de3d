"""Change maps: which outputs of a layer must be computed again when some inputs changed.

Pure NumPy. A change map is a boolean array with one cell per position. What a layer reads is
described by two tables (`Taps`): for every output row the input rows it reads, and the same for
columns. Convolutions, pooling, padding, cropping and upsampling differ in these tables only.
An output must be computed again exactly if one of the positions it reads changed:
`out[y, x] = any(changed[r, c] for r in rows[y] for c in cols[x])`.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

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

    def span(self, axis: int, first: int, last: int) -> tuple[int, int] | None:
        """The first and last output row (axis 0) or column (axis 1) that reads `first..last`."""
        table = (self.rows, self.cols)[axis]
        hit = np.flatnonzero(((table >= first) & (table <= last)).any(1))
        return (int(hit[0]), int(hit[-1])) if len(hit) else None

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
    """What nearest-neighbour upsampling by whole factors reads."""
    tables = [
        (np.arange(n * factor) // factor)[:, None] for n, factor in zip(shape, factors, strict=True)
    ]
    rows, cols = tables
    return Taps(rows, cols, tuple(shape), affine=False)


def bilinear(shape, factors) -> tuple[Taps, list[np.ndarray]]:
    """What bilinear upsampling by whole factors reads (half-pixel centres), and the weights.

    Returns:
        Taps, two per axis, and for each axis the weights `(outputs, 2)` of the two.
    """
    tables, weights = [], []
    for size, factor in zip(shape, factors, strict=True):
        centre = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        low = np.floor(centre).astype(int)
        upper = centre - low
        high = np.where(upper > 0, np.minimum(low + 1, size - 1), low)
        tables.append(np.stack([low, high], 1))
        weights.append(np.stack([1 - upper, upper], 1).astype("float32"))
    rows, cols = tables
    return Taps(rows, cols, tuple(shape), affine=False), weights


@dataclasses.dataclass(frozen=True)
class _Map:
    """How one map follows from others; see `Maps`."""

    kind: str  # "never", "source", "taps", "union" or "whole"
    shape: Any = None
    sources: tuple[int, ...] = ()
    taps: Any = None


class Maps:
    """All change maps of one network, each distinct one only once.

    A map is a number. Layers that always have equal maps share one: everything that works
    position by position has its input's, and a sum has that of the input whose map contains the
    others' whatever changes. The map 0 never has a change, 1 is the frame's.

    Args:
        shape: `(height, width)` of the frame.
    """

    NEVER, SOURCE = 0, 1

    def __init__(self, shape):
        self._maps = [_Map("never"), _Map("source", tuple(shape))]
        self._known: dict = {}

    def __len__(self) -> int:
        return len(self._maps)

    def shape(self, map_: int) -> Any:
        """`(height, width)`, or `None` for what has no positions."""
        return self._maps[map_].shape

    def is_whole(self, map_: int) -> bool:
        """Whether everything changes as soon as anything does."""
        return self._maps[map_].kind == "whole"

    def has_positions(self, map_: int) -> bool:
        """Whether single positions can change: not so for `NEVER` and whole maps."""
        return self._maps[map_].kind not in ("never", "whole")

    def taps(self, source: int, taps: Taps) -> int:
        """The map behind a layer that reads `taps` of something with the map `source`."""
        if source == self.NEVER:
            return source
        if self.is_whole(source):
            return self.whole([source], taps.output_shape)
        if taps.is_identity:
            return source
        made = _Map("taps", taps.output_shape, (source,), taps)
        return self._once(("taps", source, taps.key), made)

    def union(self, sources: Iterable[int]) -> int:
        """The map behind a layer that combines inputs of equal size position by position."""
        ids = sorted(set(sources) - {self.NEVER})
        whole = [i for i in ids if self.is_whole(i)]
        if whole:
            return self.whole(ids, self.shape(whole[0]))
        kept: list[int] = []
        for i in ids:
            if not any(self.contains(k, i) for k in kept):
                kept = [k for k in kept if not self.contains(i, k)] + [i]
        if len(kept) < 2:
            return kept[0] if kept else self.NEVER
        key = tuple(sorted(kept))
        return self._once(("union", key), _Map("union", self.shape(key[0]), key))

    def whole(self, sources: Iterable[int], shape: tuple[int, int] | None) -> int:
        """The map behind a layer whose every output depends on every input."""
        ids = tuple(sorted(set(sources) - {self.NEVER}))
        if not ids:
            return self.NEVER
        return self._once(("whole", ids, shape), _Map("whole", shape, ids))

    def contains(self, a: int, b: int) -> bool:
        """Whether map `a` has a change wherever `b` has one, whatever the frame does."""
        if a == b or b == self.NEVER:
            return True
        big, small = self._maps[a], self._maps[b]
        if big.shape != small.shape or not (self.has_positions(a) and self.has_positions(b)):
            return False
        if small.kind == "union":
            return all(self.contains(a, i) for i in small.sources)
        if big.kind == "union":
            return any(self.contains(i, b) for i in big.sources)
        if big.taps is None:
            return False
        (source,) = big.sources
        if small.taps is not None and small.taps.within(big.taps):
            if self.contains(source, small.sources[0]):
                return True
        same = big.taps.shape == big.shape
        return same and identity(big.shape).within(big.taps) and self.contains(source, b)

    def evaluate(self, changed: np.ndarray) -> "Changes":
        """All maps for one change of the frame, each worked out when it is asked for.

        Args:
            changed: boolean `(height, width)` of the frame.

        Returns:
            What gives, for the number of a map, its boolean array, `()` for those without
            positions, and a box around it.
        """
        return Changes(self._maps, self.SOURCE, changed)

    def _once(self, key, made: _Map) -> int:
        if key not in self._known:
            self._maps.append(made)
            self._known[key] = len(self._maps) - 1
        return self._known[key]


class Changes:
    """The maps of one frame; see `Maps.evaluate`."""

    def __init__(self, maps: Sequence[_Map], start: int, changed: np.ndarray):
        self._maps = tuple(maps)
        self._found = {Maps.NEVER: np.zeros((), bool), start: np.asarray(changed, bool)}
        self._boxes: dict[int, Any] = {Maps.NEVER: None, start: bounds(self._found[start])}

    def after(self, number: int, changed: np.ndarray) -> "Changes":
        """The maps that follow when one of them turns out to be another.

        Args:
            number: of that map.
            changed: what it is.

        Returns:
            What gives the maps that follow from that one, and no others.
        """
        return Changes(self._maps, number, changed)

    def __getitem__(self, number: int) -> np.ndarray:
        if number not in self._found:
            m = self._maps[number]
            sources = [self[i] for i in m.sources]
            if m.kind == "taps":
                found = m.taps(sources[0])
            elif m.kind == "union":
                found = np.logical_or.reduce(sources)
            else:
                found = np.full(m.shape or (), any(s.any() for s in sources))
            self._found[number] = found
        return self._found[number]

    def box(self, number: int) -> tuple[int, int, int, int] | None:
        """A rectangle around a map: the frame's bounding box, led through the layers.

        That takes no arrays of positions.

        Args:
            number: of the map.

        Returns:
            `(first row, last row, first column, last column)`, or `None` without change.
        """
        if number not in self._boxes:
            m = self._maps[number]
            self._boxes[number] = self._around(m, [b for b in map(self.box, m.sources) if b])
        return self._boxes[number]

    def _around(self, m: _Map, boxes: list[tuple]) -> tuple[int, int, int, int] | None:
        if not boxes:
            return None
        if m.kind == "whole":
            return (0, m.shape[0] - 1, 0, m.shape[1] - 1) if m.shape else (0, 0, 0, 0)
        if m.kind == "union":
            ends = list(zip(*boxes, strict=True))
            return min(ends[0]), max(ends[1]), min(ends[2]), max(ends[3])
        rows, cols = m.taps.span(0, *boxes[0][:2]), m.taps.span(1, *boxes[0][2:])
        return None if rows is None or cols is None else rows + cols


def bounds(changed: np.ndarray) -> tuple[int, int, int, int] | None:
    """First row, last row, first column and last column of what is true, or `None`."""
    rows, cols = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    return (int(rows[0]), int(rows[-1]), int(cols[0]), int(cols[-1])) if len(rows) else None


def patch(shape, share: float) -> np.ndarray:
    """A map in which a rectangle in the middle changed, of this share of the area."""
    changed = np.zeros(shape, bool)
    sides = [max(1, round(size * share**0.5)) for size in shape]
    top, left = ((size - side) // 2 for size, side in zip(shape, sides, strict=True))
    changed[top : top + sides[0], left : left + sides[1]] = True
    return changed
