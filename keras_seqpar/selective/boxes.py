"""Rectangles around change maps: quicker to lead through layers than the maps themselves."""

from collections.abc import Sequence

import numpy as np

from keras_seqpar.selective.change_maps.input_positions import Taps

Box = tuple[int, int, int, int]  # first row, last row, first column, last column
Filled = tuple[Box | None, bool]  # `None` around nothing; whether all in it is true


def bounds(changed: np.ndarray) -> Box | None:
    """The box around what is true in a map."""
    rows, cols = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    return (int(rows[0]), int(rows[-1]), int(cols[0]), int(cols[-1])) if len(rows) else None


def around(changed: np.ndarray) -> Filled:
    """The same, and whether all in it is true."""
    box = bounds(changed)
    return box, box is not None and bool(changed[slices(box)].all())


def slices(box: Box) -> tuple[slice, slice]:
    """The rows and columns of a box."""
    return slice(box[0], box[1] + 1), slice(box[2], box[3] + 1)


def through(taps: Taps, source: Filled) -> Filled:
    """The box of the outputs that read something of a box.

    Full boxes stay full, but behind layers that skip positions.
    """
    box, filled = source
    if box is None:
        return None, False
    rows, cols = taps.span(0, *box[:2]), taps.span(1, *box[2:])
    if rows is None or cols is None:
        return None, False
    return (*rows[:2], *cols[:2]), filled and rows[2] and cols[2]


def union(boxes: Sequence[Filled]) -> Filled:
    """The smallest box that has all of these in it, full where one of them fills it."""
    known = [box for box, _ in boxes if box is not None]
    if not known:
        return None, False
    tops, bottoms, lefts, rights = zip(*known, strict=True)
    box = min(tops), max(bottoms), min(lefts), max(rights)
    return box, (box, True) in boxes


def common(a: Filled, b: Filled) -> Filled:
    """What two boxes have in common, full where both are."""
    (one, filled), (other, too) = a, b
    if one is None or other is None:
        return None, False
    box = (
        *(max(one[0], other[0]), min(one[1], other[1])),
        *(max(one[2], other[2]), min(one[3], other[3])),
    )
    return (box, filled and too) if box[0] <= box[1] and box[2] <= box[3] else (None, False)
