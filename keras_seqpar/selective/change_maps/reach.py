"""How far a change is followed: limits to change maps, for streams that need not be exact.

What changes in a frame changes, by the receptive field, much more in the maps behind it, most of
it little. With a reach, every map has the change where it lies in that map (`Taps.home`) and in
what is at most so many pixels away, whatever else the layers before it have read.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.boxes import Filled, through, union
from keras_seqpar.selective.detector import grow


class Near:
    """Where the change of one frame may be followed to.

    Args:
        maps: all change maps, with `kind`, `shape`, `sources` and `taps`.
        source: number of the frame's.
        changed: boolean `(height, width)` of the frame.
        box: around it, `None` without change, and whether the change fills it.
        reach: pixels of the frame.
    """

    def __init__(
        self, maps: Sequence[Any], source: int, changed: np.ndarray, box: Filled, reach: int
    ):
        self._maps, self._frame, self._reach = maps, changed.shape, reach
        self._places: dict[int, np.ndarray] = {source: changed}
        self._boxes: dict[int, Filled] = {source: box}
        self._grown: dict[int, np.ndarray] = {}  # by identity of the place: layers share them

    def map(self, number: int) -> np.ndarray:
        """The limit of a map with positions: boolean, of its shape."""
        place = self._place(number)
        if id(place) not in self._grown:
            self._grown[id(place)] = grow(place, self._steps(place.shape))
        return self._grown[id(place)]

    def box(self, number: int) -> Filled:
        """A rectangle around it, `None` where it is empty, and whether all in it is true."""
        box, filled = self._box(number)
        if box is None:
            return None, False
        (top, bottom, left, right), (height, width) = box, self._maps[number].shape
        rows, cols = self._steps((height, width))
        grown = (
            *(max(top - rows, 0), min(bottom + rows, height - 1)),
            *(max(left - cols, 0), min(right + cols, width - 1)),
        )
        return grown, filled

    def _steps(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """How many rows and columns of a map the reach is."""
        rows, cols = (self._reach * n // of for n, of in zip(shape, self._frame, strict=True))
        return rows, cols

    def _place(self, number: int) -> np.ndarray:
        if number not in self._places:
            m = self._maps[number]
            places = list({id(x): x for x in map(self._place, m.sources)}.values())
            if m.kind == "taps" and not m.taps.home.is_identity:
                places = [m.taps.home(places[0])]
            self._places[number] = places[0] if len(places) == 1 else np.logical_or.reduce(places)
        return self._places[number]

    def _box(self, number: int) -> Filled:
        if number not in self._boxes:
            m = self._maps[number]
            boxes = [self._box(i) for i in m.sources]
            is_layer = m.kind == "taps"
            self._boxes[number] = through(m.taps.home, boxes[0]) if is_layer else union(boxes)
        return self._boxes[number]
