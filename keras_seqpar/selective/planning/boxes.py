"""A change as a few boxes. Needs NumPy only."""

from collections.abc import Callable, Sequence

import numpy as np

Box = tuple[int, int, int, int]  # top, left, bottom, right; the last two are excluded
MOST_BOXES = 8  # for one frame; with more, runs spend their time on single boxes


def cover(changed: np.ndarray, most: int = MOST_BOXES) -> list[Box]:
    """Covers all that is true in a boolean `(height, width)` map with at most so many boxes."""
    boxes = _split(changed, 0, 0)
    if len(boxes) > most:
        boxes = merged(boxes, lambda height, width: height * width + 1, most)
    return boxes


def changed_map(old: np.ndarray, new: np.ndarray) -> np.ndarray | None:
    """The positions at which two arrays of one shape and type differ in any bit.

    Returns:
        Boolean `(height, width)`; `None` where they are equal.
    """
    height, width, channels = new.shape
    a, b = (_words(x.reshape(height, -1)) for x in (old, new))
    words = a != b
    rows = np.flatnonzero(words.any(1))
    if not len(rows):
        return None
    top, bottom = rows[0], rows[-1] + 1
    cols = np.flatnonzero(words[top:bottom].any(0))
    pixel, word = channels * new.itemsize, a.itemsize
    left, right = cols[0] * word // pixel, -(-(cols[-1] + 1) * word // pixel)
    part = slice(top, bottom), slice(left, right)
    changed = np.zeros((height, width), bool)
    a, b = (_bits(x[part]) for x in (old, new))
    for i in range(a.shape[2]):
        changed[part] |= a[..., i] != b[..., i]
    return changed


def merged(
    boxes: Sequence[Box], cost: Callable[[int, int], float], most: int | None = None
) -> list[Box]:
    """Joins boxes where one is cheaper than two, and to `most` at most.

    Args:
        boxes: any.
        cost: of a box, from its height and width.
        most: number of boxes that may remain; `None` for any.
    """
    if len(boxes) < 2:
        return list(boxes)
    some = tuple(dict.fromkeys(boxes))
    boxes = [a for a in some if not any(_within(a, b) for b in some if a is not b)]

    def of(box: Box) -> float:
        return cost(box[2] - box[0], box[3] - box[1])

    while len(boxes) > 1:
        costs = [of(box) for box in boxes]
        more, i, j = min(
            (of(union(a, b)) - costs[i] - costs[j], i, j)
            for i, a in enumerate(boxes)
            for j, b in enumerate(boxes[:i])
        )
        if more > 0 and (most is None or len(boxes) <= most):
            break
        rest = [x for k, x in enumerate(boxes) if k not in (i, j)]
        boxes = [*rest, union(boxes[i], boxes[j])]
    return boxes


def grown(box: Box, by: int, shape: tuple[int, int]) -> Box:
    """A box with as many positions more on each side, as far as a map has them."""
    top, left, bottom, right = box
    bottom, right = min(bottom + by, shape[0]), min(right + by, shape[1])
    return max(top - by, 0), max(left - by, 0), bottom, right


def union(a: Box, b: Box) -> Box:
    """The smallest box around two."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _within(a: Box, b: Box) -> bool:
    """Whether a box lies within another."""
    return a[0] >= b[0] and a[1] >= b[1] and a[2] <= b[2] and a[3] <= b[3]


def limited(
    boxes: Sequence[Box], limits: Sequence[Box], frame: tuple[int, int], grid: tuple[int, int]
) -> list[Box]:
    """The parts of boxes of a map, of size `grid`, that lie within boxes of the frame."""
    (rows, cols), (height, width) = grid, frame
    scaled = [
        (a * rows // height, b * cols // width, -(-c * rows // height), -(-d * cols // width))
        for a, b, c, d in limits
    ]
    common = (
        (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
        for a in boxes
        for b in scaled
    )
    return [x for x in common if x[0] < x[2] and x[1] < x[3]]


def to_map(boxes: Sequence[Box], shape: tuple[int, int]) -> np.ndarray:
    """The boolean map of boxes."""
    found = np.zeros(shape, bool)
    for top, left, bottom, right in boxes:
        found[top:bottom, left:right] = True
    return found


def _split(changed: np.ndarray, top: int, left: int, depth: int = 6) -> list[Box]:
    """Cuts a map at its widest empty bands of rows or columns, again and again."""
    rows = np.flatnonzero(changed.any(1))
    if not len(rows):
        return []
    first, last = int(rows[0]), int(rows[-1]) + 1
    cols = np.flatnonzero(changed[first:last].any(0))
    near, far = int(cols[0]), int(cols[-1]) + 1
    part = changed[first:last, near:far]
    at_row, empty_rows = _widest_gap(rows)
    at_col, empty_cols = _widest_gap(cols)
    # What a cut leaves out at least: the empty band.
    if depth and max(empty_rows * (far - near), empty_cols * (last - first)) > _LEAST_EMPTY:
        top, left = top + first, left + near
        if empty_rows * (far - near) >= empty_cols * (last - first):
            cut = at_row - first
            parts = (part[:cut], top, left), (part[cut:], top + cut, left)
        else:
            cut = at_col - near
            parts = (part[:, :cut], top, left), (part[:, cut:], top, left + cut)
        return [box for each in parts for box in _split(*each, depth - 1)]
    return [(top + first, left + near, top + last, left + far)]


_LEAST_EMPTY = 64  # positions; a smaller empty band is not worth a box of its own


def _widest_gap(indices: np.ndarray) -> tuple[int, int]:
    """The place after the widest gap between neighbors, and how wide it is."""
    if len(indices) < 2:
        return 0, 0
    steps = np.diff(indices)
    at = int(steps.argmax())
    return int(indices[at + 1]), int(steps[at]) - 1


def _bits(array: np.ndarray) -> np.ndarray:
    return array.view(f"u{array.itemsize}") if array.itemsize in (1, 2, 4, 8) else array


def _words(rows: np.ndarray) -> np.ndarray:
    """Rows of values as the widest integers that fit: several times faster to compare."""
    nbytes = rows.shape[1] * rows.itemsize
    width = next(width for width in (8, 4, 2, 1) if nbytes % width == 0)
    return np.ascontiguousarray(rows).view(f"u{width}")
