"""Regions as rows of stored maps: which a region is, and which a layer reads for it.

A region is given as in `segments.Region`, by tensors of rows and columns, and `mode` says what
they mean: a rectangle is all rows times all columns, positions go in pairs, and of tiles those
are the first ones.
"""

from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_seqpar.selective.change_maps.input_positions import Taps
from keras_seqpar.selective.change_maps.program import Layout
from keras_seqpar.selective.keras_engine.runs import tile_sides


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


def windows(layout: Layout, mode: str, ys, xs, shape: Sequence[int], taps: Taps, strides):
    """The rows of a stored map that affine taps read for a region, as flat numbers.

    Args:
        layout: of the stored map.
        mode: see above.
        ys: rows of the region.
        xs: columns.
        shape: `(height, width)` of the output.
        taps: what each output reads.
        strides: of the layer.

    Returns:
        `(positions, taps of rows, taps of columns)`; of a rectangle and of tiles, whose windows
        overlap, `(1 or tiles, rows, columns)`.
    """
    (top, _), (left, _) = layout.pads
    width = layout.padded[1]
    first = (int(taps.rows[0, 0]) + top) * width + int(taps.cols[0, 0]) + left
    if mode == "rectangle":
        ys, xs, sides = ys[:1], xs[:1], (ops.shape(ys)[0], ops.shape(xs)[0])
    else:
        sides = tile_sides(shape)
    if mode == "positions":
        inside = [table[0] - table[0, 0] for table in (taps.rows, taps.cols)]
    else:
        inside = [
            ops.arange((side - 1) * stride + int(table[0, -1] - table[0, 0]) + 1, dtype="int32")
            for side, stride, table in zip(sides, strides, (taps.rows, taps.cols), strict=True)
        ]
    offsets = inside[0][:, None] * width + inside[1][None, :]
    corners = ys * (strides[0] * width) + (xs * strides[1] + first)
    return corners[:, None, None] + ops.cast(offsets, "int32")[None]


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
