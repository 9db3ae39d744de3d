"""Runs a network's steps: whole, on one rectangle per map, or on lists of positions.

Every stored map is one flat buffer of rows, one row of channels per position, its border
included and in place. Reading is a gather of rows, writing a scatter of rows; the arithmetic
between them is `kernels`, on every backend the same. What differs between backends, four
functions and how a pass is compiled, is in `_tensorflow.py`, `_jax.py` and `_torch.py`.
"""

import dataclasses
import functools
import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_seqpar.selective import kernels
from keras_seqpar.selective.program import Layout, Program, Step
from keras_seqpar.selective.propagation import Changes

MODES = ("dense", "rectangle", "positions")


@dataclasses.dataclass(frozen=True)
class Region:
    """Where a map is computed: pairs of row and column, or all rows times all columns.

    Args:
        ys: rows, int32.
        xs: columns, int32.
    """

    ys: np.ndarray
    xs: np.ndarray


class Engine:
    """A program with its weights on a backend. It holds no frame: see `new_buffers`.

    Args:
        program: the network.
        freeze: make the weights constants of what is compiled.
    """

    def __init__(self, program: Program, *, freeze: bool = False):
        self.program = program
        self.backend = importlib.import_module(f"keras_seqpar.selective._{keras.backend.backend()}")
        self.weights = [kernels.weights_of(step) for step in program.steps]
        if not freeze:  # arrays become constants where they are traced, tensors do not
            self.weights = [tuple(map(ops.convert_to_tensor, w)) for w in self.weights]
        self.layouts_of: dict[int, list[int]] = {}
        for i, layout in enumerate(program.layouts):
            self.layouts_of.setdefault(layout.value, []).append(i)
        maps = {step.map for step in program.steps} | {program.maps.SOURCE}
        self.regional = sorted(m for m in maps if program.maps.has_positions(m))
        self.all_positions = program.all_positions()
        self.model: Any = None  # whose weights these are
        self.cost_model: Any = None  # see `choice`
        self._runner = self.backend.Runner(self)

    def new_buffers(self) -> list:
        """Empty stored maps, with their borders filled."""
        return [
            self.backend.new(np.full((x.rows, x.shape[2]), x.fill, "float32"))
            for x in self.program.layouts
        ]

    @property
    def traces(self) -> int:
        """How often a pass, or in JAX a step, was compiled."""
        return self._runner.traces

    def regions(self, mode: str, changes: Changes, changed: np.ndarray) -> dict[int, Region]:
        """Where each map is computed.

        Args:
            mode: one of `MODES`.
            changes: what must be computed.
            changed: the frame's map that it follows from.
        """
        if mode == "dense":
            return {}
        if mode == "positions":
            return {m: self._positions(changes[m]) for m in self.regional}
        return {m: self._rectangle(m, box) for m, box in self._boxes(changed).items()}

    def counts(self, mode: str, changes: Changes, changed: np.ndarray) -> list[int]:
        """How many positions of every map are computed.

        Args:
            mode: one of `MODES`.
            changes: what must be computed.
            changed: the frame's map that it follows from.
        """
        counts = list(self.all_positions)
        if mode == "positions":
            for m in self.regional:
                found = max(np.count_nonzero(changes[m]), 1)
                counts[m] = self.backend.fit(found, changes[m].size)
        elif mode == "rectangle":
            for m, box in self._boxes(changed).items():
                counts[m] = math.prod(self._sides(m, box))
        return counts

    def _positions(self, changed: np.ndarray) -> Region:
        ys, xs = (x.astype(np.int32) for x in np.nonzero(changed))
        if not len(ys):
            ys = xs = np.zeros(1, np.int32)  # computing a position again does no harm
        missing = self.backend.fit(len(ys), changed.size) - len(ys)
        if missing:
            ys, xs = (np.pad(x, (0, missing), mode="edge") for x in (ys, xs))
        return Region(ys, xs)

    def _boxes(self, changed: np.ndarray) -> dict[int, Sequence[int]]:
        boxes = self.program.maps.rectangles(changed)
        return {m: boxes[m] or (0, 0, 0, 0) for m in self.regional}

    def _sides(self, map_: int, box: Sequence[int]) -> list[int]:
        """Height and width in which a box is computed."""
        spans = box[1] - box[0] + 1, box[3] - box[2] + 1
        shape = self.program.maps.shape(map_)
        return [self.backend.fit(n, size) for n, size in zip(spans, shape, strict=True)]

    def _rectangle(self, map_: int, box: Sequence[int]) -> Region:
        sides, shape = self._sides(map_, box), self.program.maps.shape(map_)
        ys, xs = (_run_of(box[2 * i], sides[i], shape[i]) for i in (0, 1))
        return Region(ys, xs)

    def run(self, mode: str, regions: Mapping[int, Region], frame: np.ndarray, extras, buffers):
        """One pass; buffers are changed in place.

        Args:
            mode: one of `MODES`.
            regions: where each map is computed, see `regions`.
            frame: `(height, width, channels)`, all of it.
            extras: the other inputs, each with a batch of 1.
            buffers: from `new_buffers`; after a first dense pass they are complete.

        Returns:
            The outputs as arrays with a batch of 1, in the order of the program's.
        """
        if mode == "dense":
            block = frame[None]
        else:
            region = regions[self.program.maps.SOURCE]
            if mode == "rectangle":
                block = frame[None, region.ys[0] : region.ys[-1] + 1]
                block = block[:, :, region.xs[0] : region.xs[-1] + 1]
            else:
                block = frame[region.ys, region.xs][None, :, None]
        places = [(regions[m].ys, regions[m].xs) for m in self.regional] if regions else []
        outputs, buffers[:] = self._runner(
            mode, places, np.ascontiguousarray(block, "float32"), extras, buffers
        )
        return outputs

    # What follows is traced or run by the backend's runner.

    def walk(self, mode: str, places: Sequence, block, extras: Sequence, buffers: Sequence, do):
        """Does all steps.

        Args:
            mode: one of `MODES`.
            places: `(ys, xs)` for every map of `regional`.
            block: the part of the frame that is computed, `(1, height, width, channels)`.
            extras: the other inputs.
            buffers: the stored maps.
            do: `do_step`, or a compiled form of it.

        Returns:
            The outputs, and the buffers.
        """
        where = dict(zip(self.regional, places, strict=True)) if places else {}
        buffers = list(buffers)
        env = dict(zip(self.program.inputs, [block, *extras], strict=True))
        self._save(do, -1, mode, where, [block], self.program.inputs[:1], buffers, ())
        for i, step in enumerate(self.program.steps):
            sources = [
                env[value] if layout is None else buffers[layout]
                for value, layout in zip(step.inputs, self._reads(mode)[i], strict=True)
            ]
            made = self._save(do, i, mode, where, sources, step.outputs, buffers, self.weights[i])
            env.update(zip(step.outputs, made, strict=True))
        outputs = []
        for value in keras.tree.flatten(self.program.outputs):
            if self._is_whole(mode, self.program.map_of_value[value]):
                outputs.append(env[value])
            else:
                layout = self.layouts_of[value][0]
                outputs.append(self._read_whole(self.program.layouts[layout], buffers[layout]))
        return outputs, buffers

    def _save(self, do, index, mode, where, sources, values, buffers, weights):
        """Does a step and takes over what it stored."""
        stored = [i for value in values for i in self.layouts_of.get(value, ())]
        map_ = self.program.map_of_value[values[0]]
        made, new = do(index, mode, weights, where.get(map_), sources, [buffers[i] for i in stored])
        for i, buffer in zip(stored, new, strict=True):
            buffers[i] = buffer
        return made

    def do_step(self, index: int, mode: str, weights, where, sources, stores):
        """Does one step; the step -1 only stores the frame.

        Args:
            index: of the step.
            mode: one of `MODES`.
            weights: the step's.
            where: `(ys, xs)` of its region, `None` for everything.
            sources: tensors or buffers, as `_reads` has it.
            stores: the buffers that hold its outputs.

        Returns:
            Its outputs, and the buffers.
        """
        if index < 0:
            made, values = sources, self.program.inputs[:1]
        else:
            step = self.program.steps[index]
            made = self._compute(step, index, mode, weights, where, sources)
            values = step.outputs
        of = [(tensor, i) for tensor, v in zip(made, values, strict=True)
              for i in self.layouts_of.get(v, ())]  # fmt: skip
        new = []
        for (tensor, i), buffer in zip(of, stores, strict=True):
            layout = self.program.layouts[i]
            if where is None:
                padded = ops.pad(
                    tensor, ((0, 0), *layout.pads, (0, 0)), constant_values=layout.fill
                )
                rows = ops.reshape(padded, (layout.rows, layout.shape[2]))
                new.append(self.backend.replace(buffer, rows))
            else:
                rows = ops.reshape(tensor, (-1, layout.shape[2]))
                new.append(self.backend.write(buffer, _own(layout, mode, *where), rows))
        return made, new

    def _compute(self, step: Step, index: int, mode: str, weights, where, sources):
        reads = self._reads(mode)[index]
        if where is not None and step.taps is not None and not step.taps.is_identity:
            layout = self.program.layouts[reads[0]]
            return [self._window(step, mode, weights, layout, sources[0], *where)]
        inputs = []
        for source, i in zip(sources, reads, strict=True):
            if i is None:
                inputs.append(source)
            elif where is None:
                inputs.append(self._read_whole(self.program.layouts[i], source))
            else:
                layout = self.program.layouts[i]
                rows = self.backend.read(source, _own(layout, mode, *where), layout.shape[2])
                inputs.append(_as_map(rows, mode, *where))
        if where is None:
            return kernels.on_whole(step, weights, inputs)
        return [kernels.on_positions(step, weights, inputs)]

    def _window(self, step: Step, mode: str, weights, layout: Layout, buffer, ys, xs):
        """A step that reads more than its own positions."""
        (top, _), (left, _) = layout.pads
        width, channels = layout.padded[1], layout.shape[2]
        taps, (down, right) = step.taps, step.strides
        apart = step.kind in ("copy", "bilinear") or step.groups > 1 or not taps.affine
        if mode == "rectangle" and not apart:
            rows = _reach(ys, down, taps.rows, top)
            cols = _reach(xs, right, taps.cols, left)
            index = rows[:, None] * width + cols[None, :]
            gathered = self.backend.read(buffer, ops.reshape(index, (-1,)), channels)
            shape = (1, ops.shape(rows)[0], ops.shape(cols)[0], channels)
            made = kernels.on_block(step, weights, ops.reshape(gathered, shape))
        else:
            rows, cols = (self._table(t, i) for t, i in ((taps.rows, ys), (taps.cols, xs)))
            index = _pairs(rows + top, cols + left, mode, width)
            gathered = self.backend.read(buffer, ops.reshape(index, (-1,)), channels)
            gathered = ops.reshape(gathered, (-1, index.shape[-1], channels))
            factors = None
            if step.kind == "bilinear":
                wy, wx = (self._table(t, i) for t, i in zip(step.weights, (ys, xs), strict=True))
                factors = ops.reshape(_pairs(wy, wx, mode), (-1, index.shape[-1], 1))
            made = _as_map(kernels.on_taps(step, weights, gathered, factors), mode, ys, xs)
        if step.kind == "average":
            of_rows, of_cols = (t[:, None] for t in kernels.divisors(step))
            counts = _pairs(self._table(of_rows, ys), self._table(of_cols, xs), mode)
            made = made / _as_map(counts, mode, ys, xs)
        return made

    def _table(self, table: np.ndarray, index):
        """Rows of a small constant table."""
        kind = "float32" if table.dtype.kind == "f" else "int32"
        return self.backend.take(ops.convert_to_tensor(table.astype(kind)), index)

    def _read_whole(self, layout: Layout, buffer):
        height, width, channels = layout.shape
        ys, xs = np.arange(height, dtype="int32"), np.arange(width, dtype="int32")
        (top, _), (left, _) = layout.pads
        index = ((ys + top)[:, None] * layout.padded[1] + xs + left).reshape(-1)
        rows = self.backend.read(buffer, ops.convert_to_tensor(index), channels)
        return ops.reshape(rows, (1, height, width, channels))

    def _is_whole(self, mode: str, map_: int) -> bool:
        return mode == "dense" or not self.program.maps.has_positions(map_)

    def _reads(self, mode: str) -> list[tuple]:
        """Per step and input: `None` for what was just made, or the buffer to read."""
        return self._all_reads[mode == "dense"]

    @functools.cached_property
    def _all_reads(self) -> dict[bool, list[tuple]]:
        return {
            dense: [
                tuple(self._read(step, v, dense) for v in step.inputs)
                for step in self.program.steps
            ]
            for dense in (False, True)
        }

    def _read(self, step: Step, value: int, dense: bool) -> int | None:
        map_ = self.program.map_of_value[value]
        if dense or not self.program.maps.has_positions(map_):
            return None
        window = step.taps is not None and not step.taps.is_identity
        if step.map == map_ and not window:
            return None
        kept = self.layouts_of[value]
        same = [i for i in kept if self.program.layouts[i].fill == step.fill]
        return (same if window else kept)[0]


def _run_of(first: int, count: int, size: int) -> np.ndarray:
    """`count` whole numbers from `first`, or from earlier where they would pass `size`."""
    first = min(first, size - count)
    return np.arange(first, first + count, dtype=np.int32)


def _reach(index, stride: int, table: np.ndarray, border: int):
    """The rows, or columns, of the buffer that an unbroken run of outputs reads."""
    count = (ops.shape(index)[0] - 1) * stride + int(table[0, -1] - table[0, 0]) + 1
    return ops.arange(count, dtype="int32") + (index[0] * stride + int(table[0, 0]) + border)


def _pairs(rows, cols, mode: str, width: int | None = None):
    """Rows and columns of a buffer combined: per position and tap, flat numbers or products.

    Args:
        rows: `(outputs, taps)` per row of the region.
        cols: `(outputs, taps)` per column.
        mode: `"rectangle"`: every row with every column; else they go in pairs.
        width: of the buffer, for flat numbers; `None` for products.

    Returns:
        `(positions, taps of rows times taps of columns)`.
    """
    if mode == "rectangle":
        a, b = rows[:, None, :, None], cols[None, :, None, :]
    else:
        a, b = rows[:, :, None], cols[:, None, :]
    both = a * b if width is None else a * width + b
    return ops.reshape(both, (-1, rows.shape[-1] * cols.shape[-1]))


def _own(layout: Layout, mode: str, ys, xs):
    """The rows of a buffer that belong to a region."""
    (top, _), (left, _) = layout.pads
    a, b = (ys + top) * layout.padded[1], xs + left
    return ops.reshape(a[:, None] + b[None, :], (-1,)) if mode == "rectangle" else a + b


def _as_map(rows, mode: str, ys, xs):
    """Rows of a region as `(1, height, width, channels)`."""
    if mode == "rectangle":
        return ops.reshape(rows, (1, ops.shape(ys)[0], ops.shape(xs)[0], rows.shape[-1]))
    return rows[None, :, None]
