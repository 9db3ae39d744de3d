"""The rows of a stored map that belong to a region, or that a layer reads to compute a region.

A region is given as in `runs.Region`, by tensors of rows `ys` and columns `xs`. What they mean
depends on the mode. `"rectangle"`: every row is combined with every column. `"positions"`: row and
column `i` are one position. `"tiles"`: row and column `i` are the first position of a tile.
"""

from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_seqpar.selective.change_maps.input_positions import InputPositions
from keras_seqpar.selective.change_maps.program import StoredMap
from keras_seqpar.selective.keras_engine.runs import tile_sides


def region_rows(stored: StoredMap, mode: str, ys, xs):
    """The rows of a stored map that belong to a region, as a vector."""
    (top, _), (left, _) = stored.pads
    if mode == "tiles":
        ys, xs = _tile_positions(ys, xs, stored.shape)
    a, b = (ys + top) * stored.padded[1], xs + left
    return ops.reshape(a[:, None] + b[None, :], (-1,)) if mode == "rectangle" else a + b


def as_map(rows, mode: str, ys, xs, shape: Sequence[int]):
    """Arranges the values of a region as a map.

    Args:
        rows: `(positions, channels)`.
        mode: see above.
        ys: rows of the region.
        xs: columns of the region.
        shape: `(height, width, ...)` of the full map.

    Returns:
        `(1, height, width, channels)` for a rectangle, `(tiles, height, width, channels)` for
        tiles, `(1, positions, 1, channels)` for positions.
    """
    if mode == "rectangle":
        return ops.reshape(rows, (1, ops.shape(ys)[0], ops.shape(xs)[0], rows.shape[-1]))
    if mode == "tiles":
        return ops.reshape(rows, (-1, *tile_sides(shape), rows.shape[-1]))
    return rows[None, :, None]


def window_rows(
    stored: StoredMap, mode: str, ys, xs, shape: Sequence[int], reads: InputPositions, strides
):
    """The rows of a stored map that affine windows read for a region.

    Args:
        stored: the stored map.
        mode: see above.
        ys: rows of the region.
        xs: columns of the region.
        shape: `(height, width)` of the output.
        reads: the input positions that each output reads; affine.
        strides: strides of the layer.

    Returns:
        For positions `(positions, window height, window width)`. For a rectangle and tiles, whose
        windows overlap, everything that they read once: `(1 or tiles, height, width)`.
    """
    (top, _), (left, _) = stored.pads
    width = stored.padded[1]
    first = (int(reads.rows[0, 0]) + top) * width + int(reads.cols[0, 0]) + left
    if mode == "rectangle":
        ys, xs, sides = ys[:1], xs[:1], (ops.shape(ys)[0], ops.shape(xs)[0])
    else:
        sides = tile_sides(shape)
    if mode == "positions":
        inside = [table[0] - table[0, 0] for table in (reads.rows, reads.cols)]
    else:
        inside = [
            ops.arange((side - 1) * stride + int(table[0, -1] - table[0, 0]) + 1, dtype="int32")
            for side, stride, table in zip(sides, strides, (reads.rows, reads.cols), strict=True)
        ]
    offsets = inside[0][:, None] * width + inside[1][None, :]
    corners = ys * (strides[0] * width) + (xs * strides[1] + first)
    return corners[:, None, None] + ops.cast(offsets, "int32")[None]


def table_rows(
    tables: Sequence[np.ndarray], mode: str, ys, xs, shape: Sequence[int], take
) -> tuple:
    """The rows, for a region, of two constant tables: one per output row, one per output column.

    Args:
        tables: arrays of shape `(height, n)` and `(width, m)`.
        mode: see above.
        ys: rows of the region.
        xs: columns of the region.
        shape: `(height, width)` of the output.
        take: a function that gathers rows of a tensor.

    Returns:
        Two tensors. For a rectangle they have one row per row and per column of the region,
        otherwise one row per position.
    """
    if mode == "tiles":
        ys, xs = _tile_positions(ys, xs, shape)
    found = []
    for table, index in zip(tables, (ys, xs), strict=True):
        dtype = "float32" if table.dtype.kind == "f" else "int32"
        found.append(take(ops.convert_to_tensor(table.astype(dtype)), index))
    return tuple(found)


def combine(rows, cols, mode: str, width: int | None = None):
    """Combines the two results of `table_rows` into one value per position and window element.

    Args:
        rows: values per row, `(outputs, n)`.
        cols: values per column, `(outputs, m)`.
        mode: with `"rectangle"` every row is combined with every column, otherwise row and
            column `i` are one position.
        width: width of the stored map, where the values are rows and columns of it; `None` where
            they are factors to multiply.

    Returns:
        `(positions, n * m)` rows of the stored map, or products.
    """
    if mode == "rectangle":
        a, b = rows[:, None, :, None], cols[None, :, None, :]
    else:
        a, b = rows[:, :, None], cols[:, None, :]
    both = a * b if width is None else a * width + b
    return ops.reshape(both, (-1, rows.shape[-1] * cols.shape[-1]))


def _tile_positions(ys, xs, shape: Sequence[int]):
    """The rows and the columns of all positions of tiles, from those of their first positions."""
    high, wide = tile_sides(shape)
    down, right = np.divmod(np.arange(high * wide, dtype="int32"), np.int32(wide))
    return (
        ops.reshape(first[:, None] + ops.convert_to_tensor(inside)[None, :], (-1,))
        for first, inside in ((ys, down), (xs, right))
    )
