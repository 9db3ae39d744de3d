"""Change maps: which outputs of each layer must be computed again when some inputs changed.

Imports NumPy only. A change map is a boolean array with one cell per position. The map of a layer
follows from the maps of its inputs and from the positions that the layer reads
(`InputPositions`).
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.arguments import RECEPTIVE_FIELD
from keras_seqpar.selective.change_maps.boxes import (
    Box,
    FilledBox,
    box_after,
    filled_box,
    intersection,
    slices,
    union,
)
from keras_seqpar.selective.change_maps.input_positions import InputPositions, identity
from keras_seqpar.selective.change_maps.reach import ReachLimit


@dataclasses.dataclass(frozen=True)
class _ChangeMap:
    """How one change map follows from others; see `ChangeMaps`."""

    kind: str  # "never", "frame", "window", "union" or "global"
    shape: Any = None
    sources: tuple[int, ...] = ()
    reads: Any = None


class ChangeMaps:
    """The change maps of one network, without the values that they have for a frame.

    A map is identified by a number. Layers whose maps are always equal share one number: a layer
    that works position by position has the map of its input, and a sum has the map of one input
    if that map always contains those of the other inputs. Map 0 never changes; map 1 is the
    frame's.

    Args:
        shape: `(height, width)` of the frame.
    """

    NEVER, FRAME = 0, 1

    def __init__(self, shape):
        self._maps = [_ChangeMap("never"), _ChangeMap("frame", tuple(shape))]
        self._numbers: dict = {}
        self._contains: dict[tuple[int, int], bool] = {}

    def __len__(self) -> int:
        return len(self._maps)

    def shape(self, map_: int) -> Any:
        """`(height, width)`, or `None` for values without positions."""
        return self._maps[map_].shape

    def is_global(self, map_: int) -> bool:
        """Whether all of the map is true as soon as any position of the frame changed."""
        return self._maps[map_].kind == "global"

    def has_positions(self, map_: int) -> bool:
        """Whether single positions can change: false for `NEVER` and for global maps."""
        return self._maps[map_].kind not in ("never", "global")

    def window(self, source: int, reads: InputPositions) -> int:
        """The map after a layer with a window.

        Args:
            source: the map of the layer's input.
            reads: the input positions that the layer reads.
        """
        if source == self.NEVER:
            return source
        if self.is_global(source):
            return self.global_map([source], reads.output_shape)
        if reads.is_identity:
            return source
        made = _ChangeMap("window", reads.output_shape, (source,), reads)
        return self._add(("window", source, reads.key), made)

    def union(self, sources: Iterable[int]) -> int:
        """The map after a layer that combines inputs of equal size position by position."""
        numbers = sorted(set(sources) - {self.NEVER})
        global_maps = [i for i in numbers if self.is_global(i)]
        if global_maps:
            return self.global_map(numbers, self.shape(global_maps[0]))
        kept: list[int] = []
        for i in numbers:
            if not any(self.contains(k, i) for k in kept):
                kept = [k for k in kept if not self.contains(i, k)] + [i]
        if len(kept) < 2:
            return kept[0] if kept else self.NEVER
        key = tuple(sorted(kept))
        return self._add(("union", key), _ChangeMap("union", self.shape(key[0]), key))

    def global_map(self, sources: Iterable[int], shape: tuple[int, int] | None) -> int:
        """The map after a layer whose every output depends on every input."""
        numbers = tuple(sorted(set(sources) - {self.NEVER}))
        if not numbers:
            return self.NEVER
        return self._add(("global", numbers, shape), _ChangeMap("global", shape, numbers))

    def contains(self, a: int, b: int) -> bool:
        """Whether map `a` is true wherever map `b` is, for every possible change of the frame."""
        # Remembered: a network of many concatenations would ask exponentially often otherwise.
        if (a, b) not in self._contains:
            self._contains[a, b] = self._find_contains(a, b)
        return self._contains[a, b]

    def _find_contains(self, a: int, b: int) -> bool:
        if a == b or b == self.NEVER:
            return True
        large, small = self._maps[a], self._maps[b]
        if large.shape != small.shape or not (self.has_positions(a) and self.has_positions(b)):
            return False
        if small.kind == "union":
            return all(self.contains(a, i) for i in small.sources)
        if large.kind == "union":
            return any(self.contains(i, b) for i in large.sources)
        if large.reads is None:
            return False
        (source,) = large.sources
        if small.reads is not None and small.reads.is_subset_of(large.reads):
            if self.contains(source, small.sources[0]):
                return True
        same_size = large.reads.shape == large.shape
        return (
            same_size
            and identity(large.shape).is_subset_of(large.reads)
            and self.contains(source, b)
        )

    def evaluate(self, changed: np.ndarray, reach: int | str = RECEPTIVE_FIELD) -> "Changes":
        """The values of all maps for one change of the frame, each computed on first use.

        Args:
            changed: boolean `(height, width)` of the frame.
            reach: pixels of the frame up to which the change is followed, or
                `"receptive_field"` for as far as the layers read.

        Returns:
            An object that gives, for the number of a map, the boolean array, which has the shape
            `()` for values without positions, and its bounding box.
        """
        changed = np.asarray(changed, bool)
        box = filled_box(changed)
        limit = None
        if not isinstance(reach, str):
            limit = ReachLimit(self._maps, self.FRAME, changed, box, reach)
        return Changes(self._maps, self.FRAME, changed, box, limit)

    def _add(self, key, made: _ChangeMap) -> int:
        """The number of a map; equal maps have equal keys and are stored once."""
        if key not in self._numbers:
            self._maps.append(made)
            self._numbers[key] = len(self._maps) - 1
        return self._numbers[key]


class Changes:
    """The values of the change maps for one frame; see `ChangeMaps.evaluate`."""

    def __init__(
        self,
        maps: Sequence[_ChangeMap],
        start: int,
        changed: np.ndarray,
        box: FilledBox,
        limit: ReachLimit | None,
    ):
        self._maps = tuple(maps)
        self._values = {ChangeMaps.NEVER: np.zeros((), bool), start: changed}
        self._boxes: dict[int, FilledBox] = {ChangeMaps.NEVER: (None, False), start: box}
        self._limit = limit

    def restarted_at(self, number: int, changed: np.ndarray) -> "Changes":
        """The maps that follow when one map has another value than the frame implies.

        Args:
            number: the map.
            changed: its value.

        Returns:
            The values of that map and of those that follow from it alone; no others.
        """
        return Changes(self._maps, number, changed, filled_box(changed), self._limit)

    def __getitem__(self, number: int) -> np.ndarray:
        if number not in self._values:
            self._values[number] = self._evaluate(number, self._maps[number])
        return self._values[number]

    def _evaluate(self, number: int, m: _ChangeMap) -> np.ndarray:
        box, filled = self._box(number)
        if filled and box is not None:
            value = np.zeros(m.shape, bool)
            value[slices(box)] = True
            return value
        sources = [self[i] for i in m.sources]
        if m.kind == "window":
            value = m.reads(sources[0])
            return value if self._limit is None else value & self._limit.map(number)
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
        """A box that contains all that is true in a map.

        It is the frame's bounding box, followed through the layers: no array is computed. It can
        be larger than the map's own bounding box.

        Args:
            number: the map.

        Returns:
            `(first row, last row, first column, last column)`, or `None` where nothing changed.
        """
        return self._box(number)[0]

    def _box(self, number: int) -> FilledBox:
        """The result of `box`, and whether the map is known to be true everywhere in it.

        It is so after a change that fills its own box, unless a layer skips positions.
        """
        if number not in self._boxes:
            m = self._maps[number]
            found = self._box_from(m, [self._box(i) for i in m.sources])
            if self._limit is not None and m.kind == "window":
                found = intersection(found, self._limit.box(number))
            self._boxes[number] = found
        return self._boxes[number]

    def _box_from(self, m: _ChangeMap, sources: list[FilledBox]) -> FilledBox:
        if m.kind == "window":
            return box_after(m.reads, sources[0])
        if m.kind == "union":
            return union(sources)
        if all(box is None for box, _ in sources):
            return None, False
        return ((0, m.shape[0] - 1, 0, m.shape[1] - 1) if m.shape else (0, 0, 0, 0)), False


def centered_rectangle(shape, share: float) -> np.ndarray:
    """A map that is true in a rectangle in its middle, of a given share of the area.

    Args:
        shape: `(height, width)`.
        share: share of the area, above 0 and up to 1.
    """
    changed = np.zeros(shape, bool)
    sides = [max(1, round(size * share**0.5)) for size in shape]
    top, left = ((size - side) // 2 for size, side in zip(shape, sides, strict=True))
    changed[top : top + sides[0], left : left + sides[1]] = True
    return changed
