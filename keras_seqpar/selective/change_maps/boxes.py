"""Bounding boxes of change maps.

Following a box through the layers of a network takes less time than following the map itself.
"""

from collections.abc import Sequence

import numpy as np

from keras_seqpar.selective.change_maps.input_positions import InputPositions

Box = tuple[int, int, int, int]  # first row, last row, first column, last column
FilledBox = tuple[Box | None, bool]  # `None` where nothing is true; whether all of it is true


def bounding_box(changed: np.ndarray) -> Box | None:
    """The smallest box around all that is true in a map; `None` where nothing is true."""
    rows, cols = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    return (int(rows[0]), int(rows[-1]), int(cols[0]), int(cols[-1])) if len(rows) else None


def filled_box(changed: np.ndarray) -> FilledBox:
    """The bounding box of a map, and whether the map is true everywhere in it."""
    box = bounding_box(changed)
    return box, box is not None and bool(changed[slices(box)].all())


def slices(box: Box) -> tuple[slice, slice]:
    """A box as slices of rows and columns."""
    return slice(box[0], box[1] + 1), slice(box[2], box[3] + 1)


def box_after(reads: InputPositions, source: FilledBox) -> FilledBox:
    """The box of the outputs of a layer that read any position of a box.

    Args:
        reads: the input positions that the layer reads.
        source: a box of its input.

    Returns:
        The box. Where `source` is filled, the result is filled too, unless the layer skips input
        positions.
    """
    box, filled = source
    if box is None:
        return None, False
    rows, cols = reads.span(0, *box[:2]), reads.span(1, *box[2:])
    if rows is None or cols is None:
        return None, False
    return (*rows[:2], *cols[:2]), filled and rows[2] and cols[2]


def union(boxes: Sequence[FilledBox]) -> FilledBox:
    """The smallest box that contains all boxes; filled where one of them equals it and is."""
    known = [box for box, _ in boxes if box is not None]
    if not known:
        return None, False
    tops, bottoms, lefts, rights = zip(*known, strict=True)
    box = min(tops), max(bottoms), min(lefts), max(rights)
    return box, (box, True) in boxes


def intersection(a: FilledBox, b: FilledBox) -> FilledBox:
    """The box that two boxes have in common; filled where both are filled."""
    (box_a, filled_a), (box_b, filled_b) = a, b
    if box_a is None or box_b is None:
        return None, False
    box = (
        *(max(box_a[0], box_b[0]), min(box_a[1], box_b[1])),
        *(max(box_a[2], box_b[2]), min(box_a[3], box_b[3])),
    )
    return (box, filled_a and filled_b) if box[0] <= box[1] and box[2] <= box[3] else (None, False)
