"""Changed regions as crops of a frame: found, grown by a margin, aligned, merged."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from keras_seqpar.selective.axis import Axis

Box = tuple[int, int, int, int]  # top, left, bottom, right; the last row and column left out
CELL = 8  # pixels; changes in neighboring cells of this size belong together
_MANY = 48  # boxes; more are first joined in coarser cells, since merging looks at all pairs


@dataclasses.dataclass(frozen=True)
class Crop:
    """What is computed together.

    Args:
        changed: what it is for, in pixels.
        box: of the frame that goes through the model, in pixels.
        known: of the output that is taken from it, in positions of the output.
        inside: the same in positions of the crop's own output.
    """

    changed: Box
    box: Box
    known: Box
    inside: Box

    @property
    def area(self) -> int:
        """Pixels that go through the model."""
        return area(self.box)


@dataclasses.dataclass(frozen=True)
class Planner:
    """Turns changed regions into crops.

    Args:
        rows: geometry of the rows, with the context that crops are to have.
        cols: of the columns.
        reach_rows: geometry of the rows, with how far a change matters.
        reach_cols: of the columns.
        fit: size class of a number of strides, see the backends.
    """

    rows: Axis
    cols: Axis
    reach_rows: Axis
    reach_cols: Axis
    fit: Callable[[int, int, str], int]

    def crop(self, box: Box) -> Crop | None:
        """The crop that a changed box needs; `None` where no output reads it."""
        axes = self.rows, self.cols
        spans = needed(box, axes, (self.reach_rows, self.reach_cols))
        if spans is None:
            return None
        (top, bottom), (left, right) = (
            self._grown(axis, *span) for axis, span in zip(axes, spans, strict=True)
        )
        return cut(box, (top, left, bottom, right), self.rows, self.cols)

    def _grown(self, axis: Axis, first: int, end: int) -> tuple[int, int]:
        """Aligned to the stride and grown to a size class."""
        stride = axis.stride
        most = -(-axis.size // stride)
        low, high = first // stride, -(-end // stride)
        count = self.fit(high - low, most, "crops")
        low = max(0, min(low - (count - (high - low)) // 2, most - count))
        return low * stride, min((low + count) * stride, axis.size)


def area(box: Box) -> int:
    """Pixels of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def needed(box: Box, axes: Sequence[Axis], reaches: Sequence[Axis]) -> list[tuple[int, int]] | None:
    """The rows and columns of the frame that a changed box needs.

    Args:
        box: what changed, in pixels.
        axes: geometry of rows and columns, with the context that crops are to have.
        reaches: the same, with how far a change matters.

    Returns:
        First and one past the last, of rows and of columns; `None` where no output reads the box.
    """
    spans = []
    for i, (axis, reach) in enumerate(zip(axes, reaches, strict=True)):
        low, high = reach.affected(box[i], box[i + 2] - 1)
        if low > high:
            return None
        spans.append(axis.needed(low, high))
    return spans


def cut(changed: Box, box: Box, rows: Axis, cols: Axis) -> Crop:
    """A box of the frame as the crop for a change.

    Args:
        changed: what it is for, in pixels.
        box: what goes through the model, in pixels.
        rows: geometry of the rows.
        cols: of the columns.
    """
    spans = []
    for axis, start, end in ((rows, box[0], box[2]), (cols, box[1], box[3])):
        low, high = axis.known(start, end)
        offset = int(start / axis.scale)
        spans.append((low, high + 1, low - offset, high + 1 - offset))
    down, across = spans
    known, inside = ((down[i], across[i], down[i + 1], across[i + 1]) for i in (0, 2))
    return Crop(changed, box, known, inside)


def plan(changed: np.ndarray, planner: Planner, fixed: float, least: int = 1) -> list[Crop]:
    """The crops for a change.

    Args:
        changed: boolean `(height, width)`.
        planner: what turns boxes into crops.
        fixed: pixels that a crop costs whatever its size.
        least: changed positions that a region must have.

    Returns:
        The crops; together they contain all that changed in regions large enough.
    """

    def price(box: Box) -> float:
        crop = planner.crop(box)
        return fixed + crop.area if crop else 0.0

    crops = [planner.crop(box) for box in joined(changed, price, least)]
    return [crop for crop in crops if crop is not None]


def joined(changed: np.ndarray, price: Callable[[Box], float], least: int = 1) -> list[Box]:
    """Boxes around a change, joined where that costs less.

    Args:
        changed: boolean `(height, width)`.
        price: as for `merge`.
        least: changed positions that a region must have.
    """
    boxes = find(changed, least=least)
    cell = CELL
    while len(boxes) > _MANY:
        cell *= 2
        boxes = find(changed, cell, least)
    return merge(boxes, functools.cache(price))


def find(changed: np.ndarray, cell: int = CELL, least: int = 1) -> list[Box]:
    """Boxes around the connected parts of a map, in cells that touch, also at corners.

    Args:
        changed: boolean `(height, width)`.
        cell: side of the cells in positions; changes in one cell, or in two that touch, belong
            together.
        least: true positions that a part must have.

    Returns:
        Boxes, tight around what is true in their cells.
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


def merge(boxes: list[Box], price: Callable[[Box], float]) -> list[Box]:
    """Joins boxes as long as one box around two costs no more than the two.

    Args:
        boxes: what to join.
        price: what a box costs: its own area at least.
    """
    boxes = list(boxes)
    while len(boxes) > 1:
        prices = [price(box) for box in boxes]
        best, most = None, 0.0
        for i, j in itertools.combinations(range(len(boxes)), 2):
            joined, both = _around(boxes[i], boxes[j]), prices[i] + prices[j]
            if area(joined) <= both - most and both - price(joined) >= most:
                best, most = (i, j, joined), both - price(joined)
        if best is None:
            break
        boxes = [box for k, box in enumerate(boxes) if k not in best[:2]] + [best[2]]
    return boxes


def _around(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _components(cells: np.ndarray) -> list[list[tuple[int, int, int]]]:
    """The connected parts of a small map, each as its runs `(row, first, one past the last)`."""
    runs = []
    edges = np.diff(np.pad(cells.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    for y in np.flatnonzero(cells.any(1)):
        starts, ends = np.flatnonzero(edges[y] > 0), np.flatnonzero(edges[y] < 0)
        runs += [(int(y), int(a), int(b)) for a, b in zip(starts, ends, strict=True)]
    parent = list(range(len(runs)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    above: list[int] = []
    row: list[int] = []
    for i, (y, a, b) in enumerate(runs):
        if row and runs[row[0]][0] != y:
            above, row = (row if runs[row[0]][0] == y - 1 else []), []
        for j in above:
            if runs[j][1] <= b and a <= runs[j][2]:  # corners touch too
                parent[root(i)] = root(j)
        row.append(i)
    parts: dict[int, list] = {}
    for i, run in enumerate(runs):
        parts.setdefault(root(i), []).append(run)
    return list(parts.values())
