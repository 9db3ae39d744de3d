"""Change maps: which outputs of each layer must be computed again when some inputs changed.

Pure NumPy. A change map is a boolean array with one cell per position. Each follows from those
before it by what its layer reads (`Taps`).
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.axis import RECEPTIVE_FIELD
from keras_seqpar.selective.boxes import Box, Filled, around, common, slices, through, union
from keras_seqpar.selective.change_maps.input_positions import Taps, identity
from keras_seqpar.selective.change_maps.reach import Near


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
        self._contains: dict[tuple[int, int], bool] = {}

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
        if (a, b) not in self._contains:  # else a dense network would ask exponentially often
            self._contains[a, b] = self._has(a, b)
        return self._contains[a, b]

    def _has(self, a: int, b: int) -> bool:
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

    def evaluate(self, changed: np.ndarray, reach: int | str = RECEPTIVE_FIELD) -> "Changes":
        """All maps for one change of the frame, each worked out when it is asked for.

        Args:
            changed: boolean `(height, width)` of the frame.
            reach: pixels of the frame up to which the change is followed, or
                `"receptive_field"`: as far as the layers read.

        Returns:
            What gives, for the number of a map, its boolean array, `()` for those without
            positions, and a box around it.
        """
        changed = np.asarray(changed, bool)
        box = around(changed)
        near = None
        if not isinstance(reach, str):
            near = Near(self._maps, self.SOURCE, changed, box, reach)
        return Changes(self._maps, self.SOURCE, changed, box, near)

    def _once(self, key, made: _Map) -> int:
        if key not in self._known:
            self._maps.append(made)
            self._known[key] = len(self._maps) - 1
        return self._known[key]


class Changes:
    """The maps of one frame; see `Maps.evaluate`."""

    def __init__(
        self, maps: Sequence[_Map], start: int, changed: np.ndarray, box: Filled, near: Near | None
    ):
        self._maps = tuple(maps)
        self._found = {Maps.NEVER: np.zeros((), bool), start: changed}
        self._boxes: dict[int, Filled] = {Maps.NEVER: (None, False), start: box}
        self._near = near

    def after(self, number: int, changed: np.ndarray) -> "Changes":
        """The maps that follow when one of them turns out to be another.

        Args:
            number: of that map.
            changed: what it is.

        Returns:
            What gives the maps that follow from that one, and no others.
        """
        return Changes(self._maps, number, changed, around(changed), self._near)

    def __getitem__(self, number: int) -> np.ndarray:
        if number not in self._found:
            self._found[number] = self._evaluate(number, self._maps[number])
        return self._found[number]

    def _evaluate(self, number: int, m: _Map) -> np.ndarray:
        box, filled = self._box(number)
        if filled and box is not None:
            found = np.zeros(m.shape, bool)
            found[slices(box)] = True
            return found
        sources = [self[i] for i in m.sources]
        if m.kind == "taps":
            found = m.taps(sources[0])
            return found if self._near is None else found & self._near.map(number)
        if m.kind == "union":
            return np.logical_or.reduce(sources)
        return np.full(m.shape or (), any(s.any() for s in sources))

    def count(self, number: int) -> int:
        """How many positions of a map are true."""
        box, filled = self._box(number)
        if filled and box is not None:
            return (box[1] - box[0] + 1) * (box[3] - box[2] + 1)
        return int(np.count_nonzero(self[number]))

    def box(self, number: int) -> Box | None:
        """A rectangle around a map: the frame's bounding box, led through the layers.

        That takes no arrays of positions.

        Args:
            number: of the map.

        Returns:
            `(first row, last row, first column, last column)`, or `None` without change.
        """
        return self._box(number)[0]

    def _box(self, number: int) -> Filled:
        """The rectangle of `box`, and whether the map is known to be true in all of it.

        So it is behind a change that fills its own, but for layers that skip positions.
        """
        if number not in self._boxes:
            m = self._maps[number]
            found = self._around(m, [self._box(i) for i in m.sources])
            if self._near is not None and m.kind == "taps":
                found = common(found, self._near.box(number))
            self._boxes[number] = found
        return self._boxes[number]

    def _around(self, m: _Map, sources: list[Filled]) -> Filled:
        if m.kind == "taps":
            return through(m.taps, sources[0])
        if m.kind == "union":
            return union(sources)
        if all(box is None for box, _ in sources):
            return None, False
        return ((0, m.shape[0] - 1, 0, m.shape[1] - 1) if m.shape else (0, 0, 0, 0)), False


def patch(shape, share: float) -> np.ndarray:
    """A map in which a rectangle in the middle changed, of this share of the area."""
    changed = np.zeros(shape, bool)
    sides = [max(1, round(size * share**0.5)) for size in shape]
    top, left = ((size - side) // 2 for size, side in zip(shape, sides, strict=True))
    changed[top : top + sides[0], left : left + sides[1]] = True
    return changed
