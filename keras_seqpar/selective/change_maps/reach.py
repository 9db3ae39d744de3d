"""Limits to how far a change is followed, for streams that need not be exact.

The receptive field of a deep network is large: a small change in a frame makes large parts of the
maps after it change, most of them only a little. With a limited reach, a map is computed again
only where the change itself is (`InputPositions.nearest`) and up to `reach` pixels around.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.change_maps.boxes import FilledBox, box_after, union
from keras_seqpar.selective.detector import grow


class ReachLimit:
    """For one frame, the positions of every map up to which its change is followed.

    Args:
        maps: all change maps, each with `kind`, `shape`, `sources` and `reads`.
        frame_map: number of the frame's change map.
        changed: boolean `(height, width)` of the frame.
        box: the bounding box of `changed`.
        reach: pixels of the frame.
    """

    def __init__(
        self,
        maps: Sequence[Any],
        frame_map: int,
        changed: np.ndarray,
        box: FilledBox,
        reach: int,
    ):
        self._maps, self._frame_size, self._reach = maps, changed.shape, reach
        self._centers: dict[int, np.ndarray] = {frame_map: changed}
        self._boxes: dict[int, FilledBox] = {frame_map: box}
        self._grown: dict[int, np.ndarray] = {}  # keys are ids of `_centers`: layers share them

    def map(self, number: int) -> np.ndarray:
        """The positions of a map that may be computed: boolean, of the map's shape."""
        center = self._center(number)
        if id(center) not in self._grown:
            self._grown[id(center)] = grow(center, self._steps(center.shape))
        return self._grown[id(center)]

    def box(self, number: int) -> FilledBox:
        """The bounding box of the positions of a map that may be computed."""
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
        """The reach in rows and in columns of a map of this shape."""
        rows, cols = (self._reach * n // of for n, of in zip(shape, self._frame_size, strict=True))
        return rows, cols

    def _center(self, number: int) -> np.ndarray:
        """Where the change of the frame is in a map, without anything around it."""
        if number not in self._centers:
            m = self._maps[number]
            centers = list({id(x): x for x in map(self._center, m.sources)}.values())
            if m.kind == "window" and not m.reads.nearest.is_identity:
                centers = [m.reads.nearest(centers[0])]
            self._centers[number] = (
                centers[0] if len(centers) == 1 else np.logical_or.reduce(centers)
            )
        return self._centers[number]

    def _box(self, number: int) -> FilledBox:
        """The bounding box of `_center`."""
        if number not in self._boxes:
            m = self._maps[number]
            boxes = [self._box(i) for i in m.sources]
            is_layer = m.kind == "window"
            self._boxes[number] = box_after(m.reads.nearest, boxes[0]) if is_layer else union(boxes)
        return self._boxes[number]
