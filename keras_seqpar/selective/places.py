"""Regions as rows of stored maps: which a region is, and which a layer reads for it.

A region is given as in `segments.Region`, by tensors of rows and columns, and `mode` says what
they mean: a rectangle is all rows times all columns, positions go in pairs, and of tiles those
are the first ones.
"""

from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_seqpar.selective.program import Layout
from keras_seqpar.selective.segments import tile_sides


def own(layout: Layout, mode: str, ys, xs):
    """The rows of a stored map that belong to a region, as flat numbers."""
    (top, _), (left, _) = layout.pads
    if mode == "tiles":
        ys, xs = _spread(ys, xs, layout.shape)
    a, b = (ys + top) * layout.padded[1], xs + left
    return ops.reshape(a[:, None] + b[None, :], (-1,)) if mode == "rectangle" else a + b


def as_map(rows, mode: str, ys, xs, shape: Sequence[int]):
    """Rows of a region as `(1, height, width, channels)`, of tiles with their number in front.

    Args:
        rows: `(positions, channels)`.
        mode: see above.
        ys: rows of the region.
        xs: columns.
        shape: `(height, width, ...)` of the map.
    """
    if mode == "rectangle":
        return ops.reshape(rows, (1, ops.shape(ys)[0], ops.shape(xs)[0], rows.shape[-1]))
    if mode == "tiles":
        return ops.reshape(rows, (-1, *tile_sides(shape), rows.shape[-1]))
    return rows[None, :, None]


def reach(index, mode: str, size: int, stride: int, first: int, last: int, border: int):
    """The rows, or columns, of a stored map that a rectangle or tiles of outputs read.

    Args:
        index: rows, or columns, of the outputs.
        mode: `"rectangle"` or `"tiles"`.
        size: rows, or columns, of the whole output.
        stride: of the layer.
        first: what the output 0 reads first.
        last: what it reads last.
        border: of the stored map.

    Returns:
        `(1, rows)` or `(tiles, rows)`.
    """
    if mode == "rectangle":
        count, index = ops.shape(index)[0], index[:1]
    else:
        count = tile_sides((size, size))[0]
    run = ops.arange((count - 1) * stride + last - first + 1, dtype="int32")
    return index[:, None] * stride + (run + (first + border))[None, :]


def tables(both: Sequence[np.ndarray], mode: str, ys, xs, shape: Sequence[int], take) -> tuple:
    """The rows of two constant tables, one per output row and one per column, for a region.

    Args:
        both: `(height, taps)` and `(width, taps)` numbers.
        mode: see above.
        ys: rows of the region.
        xs: columns.
        shape: `(height, width)` of the output.
        take: gathers rows of a tensor.

    Returns:
        Two tensors, of as many rows as the region has, or for tiles and positions as many as it
        has positions.
    """
    if mode == "tiles":
        ys, xs = _spread(ys, xs, shape)
    found = []
    for table, index in zip(both, (ys, xs), strict=True):
        kind = "float32" if table.dtype.kind == "f" else "int32"
        found.append(take(ops.convert_to_tensor(table.astype(kind)), index))
    return tuple(found)


def pairs(rows, cols, mode: str, width: int | None = None):
    """Rows and columns of `tables` combined: per position and tap, flat numbers or products.

    Args:
        rows: `(outputs, taps)` per row of the region.
        cols: `(outputs, taps)` per column.
        mode: `"rectangle"`: every row with every column; else they go in pairs.
        width: of the stored map, for flat numbers; `None` for products.

    Returns:
        `(positions, taps of rows times taps of columns)`.
    """
    if mode == "rectangle":
        a, b = rows[:, None, :, None], cols[None, :, None, :]
    else:
        a, b = rows[:, :, None], cols[:, None, :]
    both = a * b if width is None else a * width + b
    return ops.reshape(both, (-1, rows.shape[-1] * cols.shape[-1]))


def _spread(ys, xs, shape: Sequence[int]):
    """The rows and columns of all positions of tiles, in pairs."""
    high, wide = tile_sides(shape)
    down, right = np.divmod(np.arange(high * wide, dtype="int32"), np.int32(wide))
    return (
        ops.reshape(first[:, None] + ops.convert_to_tensor(inside)[None, :], (-1,))
        for first, inside in ((ys, down), (xs, right))
    )
