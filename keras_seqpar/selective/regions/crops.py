"""Which crops of a frame must be computed for a change. Imports no Keras.

Changed positions are grouped into boxes, boxes are merged where that costs less, and each box is
grown to a crop: by a margin, and to the alignment that the network needs.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from keras_seqpar.selective.regions.axis import Axis

Box = tuple[int, int, int, int]  # top, left, bottom, right; bottom and right are excluded
CELL = 8  # pixels; changes in the same or in adjacent cells of this size belong together
_MAX_BOXES = 48  # with more boxes, larger cells are used first: merging compares all pairs


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
    def area(self) -> int:
        """Pixels that go through the network."""
        return area(self.box)


@dataclasses.dataclass(frozen=True)
class CropPlanner:
    """Turns changed boxes into crops.

    Args:
        rows: axis of the rows; its receptive field is the context around what a crop renews.
        cols: axis of the columns, likewise.
        reach_rows: axis of the rows; its receptive field is how far a change has an effect.
        reach_cols: axis of the columns, likewise.
        size_class: rounds a number of strides up to a size class, see `tensorflow_maps`.
    """

    rows: Axis
    cols: Axis
    reach_rows: Axis
    reach_cols: Axis
    size_class: Callable[[int, int, str], int]

    def crop(self, box: Box) -> Crop | None:
        """The crop for a changed box; `None` where no output reads the box."""
        axes = self.rows, self.cols
        spans = needed_spans(box, axes, (self.reach_rows, self.reach_cols))
        if spans is None:
            return None
        (top, bottom), (left, right) = (
            self._grown(axis, *span) for axis, span in zip(axes, spans, strict=True)
        )
        return make_crop(box, (top, left, bottom, right), self.rows, self.cols)

    def _grown(self, axis: Axis, first: int, end: int) -> tuple[int, int]:
        """The span `[first, end)`, aligned to the stride and grown to a size class."""
        stride = axis.stride
        most = -(-axis.size // stride)
        low, high = first // stride, -(-end // stride)
        count = self.size_class(high - low, most, "crops")
        low = max(0, min(low - (count - (high - low)) // 2, most - count))
        return low * stride, min((low + count) * stride, axis.size)


def area(box: Box) -> int:
    """The number of pixels of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def needed_spans(
    box: Box, axes: Sequence[Axis], reaches: Sequence[Axis]
) -> list[tuple[int, int]] | None:
    """The rows and the columns of the frame that a crop for a changed box must contain.

    Args:
        box: the changed box, in pixels.
        axes: axes of rows and columns; the receptive field is the context of a crop.
        reaches: axes of rows and columns; the receptive field is how far a change has an effect.

    Returns:
        `[first, end)` of the rows and of the columns; `None` where no output reads the box.
    """
    spans = []
    for i, (axis, reach) in enumerate(zip(axes, reaches, strict=True)):
        low, high = reach.affected(box[i], box[i + 2] - 1)
        if low > high:
            return None
        spans.append(axis.needed(low, high))
    return spans


def make_crop(changed: Box, box: Box, rows: Axis, cols: Axis) -> Crop:
    """A crop, with the part of the output that it gives.

    Args:
        changed: the changed box that the crop is for, in pixels.
        box: the part of the frame that goes through the network, in pixels.
        rows: axis of the rows.
        cols: axis of the columns.
    """
    spans = []
    for axis, start, end in ((rows, box[0], box[2]), (cols, box[1], box[3])):
        low, high = axis.known(start, end)
        offset = int(start / axis.scale)
        spans.append((low, high + 1, low - offset, high + 1 - offset))
    down, across = spans
    known, inside = ((down[i], across[i], down[i + 1], across[i + 1]) for i in (0, 2))
    return Crop(changed, box, known, inside)


def plan_crops(
    changed: np.ndarray, planner: CropPlanner, fixed_cost: float, least: int = 1
) -> list[Crop]:
    """The crops for a change.

    Args:
        changed: boolean `(height, width)` of the frame.
        planner: turns boxes into crops.
        fixed_cost: what a crop costs in addition to its area, in pixels.
        least: changed positions that a region must have; smaller regions are left out.

    Returns:
        Crops that together contain all regions with at least `least` changed positions.
    """

    def price(box: Box) -> float:
        crop = planner.crop(box)
        return fixed_cost + crop.area if crop else 0.0

    crops = [planner.crop(box) for box in merged_boxes(changed, price, least)]
    return [crop for crop in crops if crop is not None]


def merged_boxes(changed: np.ndarray, price: Callable[[Box], float], least: int = 1) -> list[Box]:
    """Boxes around a change, merged where that costs less.

    Args:
        changed: boolean `(height, width)` of the frame.
        price: as for `merge_boxes`.
        least: changed positions that a region must have.
    """
    boxes = find_boxes(changed, least=least)
    cell = CELL
    while len(boxes) > _MAX_BOXES:
        cell *= 2
        boxes = find_boxes(changed, cell, least)
    return merge_boxes(boxes, functools.cache(price))


def find_boxes(changed: np.ndarray, cell: int = CELL, least: int = 1) -> list[Box]:
    """Boxes around the connected regions of a map.

    The map is divided into cells. Changes are connected where they are in one cell or in two
    cells that touch, also at a corner.

    Args:
        changed: boolean `(height, width)`.
        cell: side of a cell, in positions.
        least: true positions that a region must have.

    Returns:
        The bounding box of the true positions of each region.
    """
    height, width = changed.shape
    rows, cols = np.arange(0, height, cell), np.arange(0, width, cell)
    if not changed.any():
        return []
    counts = np.add.reduceat(np.add.reduceat(changed, rows, 0, dtype=np.int32), cols, 1)
    boxes = []
    for cells in _components(counts > 0):
        if sum(int(counts[y, a:b].sum()) for y, a, b in cells) < least:
            continue
        top, bottom = cells[0][0] * cell, (cells[-1][0] + 1) * cell
        left, right = min(a for _, a, _ in cells) * cell, max(b for _, _, b in cells) * cell
        part = changed[top:bottom, left:right]
        ys, xs = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
        boxes.append(
            (top + int(ys[0]), left + int(xs[0]), top + int(ys[-1]) + 1, left + int(xs[-1]) + 1)
        )
    return boxes


def merge_boxes(boxes: list[Box], price: Callable[[Box], float]) -> list[Box]:
    """Merges pairs of boxes while one box around both costs no more than the two.

    Args:
        boxes: boxes to merge.
        price: what the crop of a box costs; at least the area of the box.
    """
    boxes = list(boxes)
    while len(boxes) > 1:
        prices = [price(box) for box in boxes]
        best, most_saved = None, 0.0
        for i, j in itertools.combinations(range(len(boxes)), 2):
            around, both = _around(boxes[i], boxes[j]), prices[i] + prices[j]
            # The area is compared first, since it is faster to compute than the price.
            if area(around) <= both - most_saved and both - price(around) >= most_saved:
                best, most_saved = (i, j, around), both - price(around)
        if best is None:
            break
        boxes = [box for k, box in enumerate(boxes) if k not in best[:2]] + [best[2]]
    return boxes


def _around(a: Box, b: Box) -> Box:
    """The bounding box of two boxes."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


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
