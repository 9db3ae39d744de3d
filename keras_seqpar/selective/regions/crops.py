"""Which crops of a frame must be computed for a change. Needs NumPy only.

Changed positions are grouped into regions, regions are merged where that costs less, and each one
is grown to a crop: by what its change affects, by the context of that, and to the alignment that
the network needs.
"""

import collections
import dataclasses
import statistics
from collections.abc import Callable

import numpy as np

from keras_seqpar.selective.planning.boxes import Box, merged
from keras_seqpar.selective.regions.geometry import CropAxis

CELL = 8  # pixels; changes in the same or in adjacent cells of this size belong together
_MOST_BOXES = 48  # with more boxes, larger cells are used first: merging compares all pairs
_START = 0.01  # of a frame's pixels: what a crop costs in addition to its area, until measured
_MOST_START = 0.125  # of a frame's pixels
_KEPT = 9  # times of each kind, of which the median counts
_TRIES = 3  # times of crops that are measured before they count
MOST_SIZES = 8  # of crops that stay loaded
_NEW_SIZE = 0.25  # of a frame's pixels: what loading another size costs, about
Size = tuple[int, int]  # height and width in pixels


@dataclasses.dataclass(frozen=True)
class Crop:
    """A part of a frame that goes through the network at once.

    Args:
        changed: the changed box that the crop is for, in pixels.
        box: the part of the frame, in pixels.
        known: the part of the frame's output that the crop gives, in positions of that output.
        inside: the same part in positions of the crop's own output.
    """

    changed: Box
    box: Box
    known: Box
    inside: Box

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]

    @property
    def area(self) -> int:
        """Pixels that go through the network."""
        return self.size[0] * self.size[1]


class CropCosts:
    """What a crop costs in addition to its area, learnt from the times of frames and crops.

    Args:
        pixels: of a frame.

    Attributes:
        start: that cost, in pixels.
    """

    def __init__(self, pixels: int):
        self._pixels, self.start = pixels, _START * pixels
        self._dense: collections.deque[float] = collections.deque(maxlen=_KEPT)
        self._starts: collections.deque[float] = collections.deque(maxlen=_KEPT)

    def took(self, seconds: float, area: int, crops: int) -> None:
        """Notes the time of a frame.

        Args:
            seconds: that computing took.
            area: pixels that went through the network.
            crops: how many crops there were; 0 for the full frame.
        """
        if not crops:
            self._dense.append(seconds)
            return
        of_pixel = statistics.median(self._dense) / self._pixels
        self._starts.append((seconds / of_pixel - area) / crops)
        if len(self._starts) >= _TRIES:
            most = _MOST_START * self._pixels
            self.start = min(max(statistics.median(self._starts), 0.0), most)


class CropSizes:
    """The few sizes that crops have: another one is loaded where it has paid.

    A crop takes the smallest loaded size that holds it. Another size is loaded when the pixels
    that were computed for want of it have cost as much as loading costs.

    Args:
        frame: the size of a frame.
        most: how many sizes stay loaded; the one that was not used for longest goes.
    """

    def __init__(self, frame: Size, most: int = MOST_SIZES):
        self._frame, self._most = frame, most
        self._loaded: collections.OrderedDict[Size, None] = collections.OrderedDict()
        self._wasted: collections.Counter[Size] = collections.Counter()

    def choose(self, size: Size) -> Size:
        """The size to compute for a crop of `size`."""
        fitting = [x for x in self._loaded if x[0] >= size[0] and x[1] >= size[1]]
        best = min([*fitting, self._frame], key=_area)
        self._wasted[size] += _area(best) - _area(size)
        if self._wasted[size] >= _NEW_SIZE * _area(self._frame):
            best, self._wasted[size] = size, 0
        if best != self._frame:
            self._loaded[best] = None
            self._loaded.move_to_end(best)
        if len(self._loaded) > self._most:
            self._loaded.popitem(last=False)
        return best


def _area(size: Size) -> int:
    return size[0] * size[1]


@dataclasses.dataclass(frozen=True)
class CropPlanner:
    """Turns changes into crops.

    Args:
        rows: axis of the rows; its receptive field is how far a change has an effect, and the
            context around that.
        cols: axis of the columns, likewise.
        least: changed positions that a region must have; smaller ones are left out.
        size: the size to take for a crop, given the smallest that would do.
    """

    rows: CropAxis
    cols: CropAxis
    least: int
    size: Callable[[Size], Size] = lambda size: size

    def plan(self, changed: np.ndarray, start: float) -> list[Crop]:
        """The crops for a change; together they contain all regions that count.

        Args:
            changed: boolean `(height, width)` of the frame.
            start: what a crop costs in addition to its area, in pixels.
        """
        boxes, cell = find_boxes(changed, least=self.least), CELL
        while len(boxes) > _MOST_BOXES:
            cell *= 2
            boxes = find_boxes(changed, cell, self.least)
        around = [2 * (x.before + x.after) + x.stride for x in (self.rows, self.cols)]

        def cost(height: int, width: int) -> float:
            sides = min(height + around[0], self.rows.size), min(width + around[1], self.cols.size)
            return start + sides[0] * sides[1]

        crops = (self.crop(box) for box in merged(boxes, cost))
        return [crop for crop in crops if crop is not None]

    def crop(self, box: Box) -> Crop | None:
        """The crop for a changed box; `None` where no output reads the box."""
        axes = self.rows, self.cols
        needed = [x.needed(box[i], box[i + 2] - 1) for i, x in enumerate(axes)]
        parts = [x.aligned(*span) for x, span in zip(axes, needed, strict=True) if span is not None]
        if len(parts) < 2:
            return None
        height, width = (end - start for start, end in parts)
        sizes = self.size((height, width))
        spans = []
        for axis, (start, _), size in zip(axes, parts, sizes, strict=True):
            start = min(start, axis.size - size)
            end = start + size
            low, high = axis.known(start, end)
            offset = int(start / axis.scale)
            spans.append(((start, end), (low, high), (low - offset, high - offset)))
        return Crop(box, *((a[0], b[0], a[1], b[1]) for a, b in zip(*spans, strict=True)))


def find_boxes(changed: np.ndarray, cell: int = CELL, least: int = 1) -> list[Box]:
    """Boxes around the connected regions of a map.

    The map is divided into cells. Changes are connected where they are in one cell or in two
    cells that touch, also at a corner.

    Args:
        changed: boolean `(height, width)`.
        cell: side of a cell, in positions.
        least: changed positions that a region must have.

    Returns:
        The bounding box of the changed positions of each region.
    """
    rows = np.flatnonzero(changed.any(1))
    if not len(rows):
        return []
    y, bottom = int(rows[0]) // cell * cell, int(rows[-1]) + 1
    cols = np.flatnonzero(changed[y:bottom].any(0))
    x, right = int(cols[0]) // cell * cell, int(cols[-1]) + 1
    changed = changed[y:bottom, x:right]  # what follows depends on its size
    high, wide = (-(-size // cell) for size in changed.shape)
    padded = np.zeros((high * cell, wide * cell), np.int32)
    padded[: changed.shape[0], : changed.shape[1]] = changed
    counts = padded.reshape(high, cell, -1).sum(1).reshape(high, wide, cell).sum(2)
    boxes = []
    for cells in _components(counts > 0):
        if sum(int(counts[row, a:b].sum()) for row, a, b in cells) < least:
            continue
        top, bottom = cells[0][0] * cell, (cells[-1][0] + 1) * cell
        left, right = min(a for _, a, _ in cells) * cell, max(b for _, _, b in cells) * cell
        part = changed[top:bottom, left:right]
        ys, xs = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
        top, left = top + y, left + x
        boxes.append(
            (top + int(ys[0]), left + int(xs[0]), top + int(ys[-1]) + 1, left + int(xs[-1]) + 1)
        )
    return boxes


def _components(cells: np.ndarray) -> list[list[tuple[int, int, int]]]:
    """The connected parts of a map of cells, each as a list of row segments `(row, first, end)`.

    A row segment is a series of adjacent true cells of one row. Those that touch, also at a
    corner, are connected by union-find.
    """
    segments = []
    edges = np.diff(np.pad(cells.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    for y in np.flatnonzero(cells.any(1)):
        starts, ends = np.flatnonzero(edges[y] > 0), np.flatnonzero(edges[y] < 0)
        segments += [(int(y), int(a), int(b)) for a, b in zip(starts, ends, strict=True)]
    parent = list(range(len(segments)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    above: list[int] = []
    row: list[int] = []
    for i, (y, a, b) in enumerate(segments):
        if row and segments[row[0]][0] != y:
            above, row = (row if segments[row[0]][0] == y - 1 else []), []
        for j in above:
            if segments[j][1] <= b and a <= segments[j][2]:  # equality: touching at a corner
                parent[root(i)] = root(j)
        row.append(i)
    parts: dict[int, list] = {}
    for i, segment in enumerate(segments):
        parts.setdefault(root(i), []).append(segment)
    return list(parts.values())
