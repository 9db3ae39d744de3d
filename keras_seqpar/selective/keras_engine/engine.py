"""Computes the runs of a network: in full, on a rectangle, on tiles or on single positions.

Every stored map is one buffer with one row of channels per position, in the order of the rows of
the map with its border. To read is to gather rows, to write is to scatter rows. The arithmetic in
between is in `kernels` and is the same on all backends. What differs between backends, a few
functions and the way a run is compiled, is in `tensorflow_maps`, `jax_maps` and `torch_maps`.
"""

import bisect
import copy
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_seqpar.selective.change_maps.program import Program, StoredMap
from keras_seqpar.selective.change_maps.steps import Step
from keras_seqpar.selective.keras_engine import indices, kernels
from keras_seqpar.selective.keras_engine.backend import load_backend
from keras_seqpar.selective.keras_engine.equal_steps import first_equal_steps
from keras_seqpar.selective.keras_engine.runs import ONE_RUN, Region, split

# With at most this number of positions in a map, the matrix products of listed positions are not
# faster with constant weights, so no constant copies are made: without them ResNet-50 at 224 pixels
# was 0 to 6 % faster, and at 512 pixels as fast (2 cores, TensorFlow).
_FEW_POSITIONS = 256


class Engine:
    """A program with its weights on a backend. The state of a stream is not in it.

    Args:
        program: the network.
        freeze: make the weights constants of what is compiled (TensorFlow only).
        min_share: see `runs.split`.
    """

    def __init__(self, program: Program, *, freeze: bool = False, min_share: float = ONE_RUN):
        self.program = program
        self.backend: Any = load_backend()
        self.weights = [kernels.weights_of(step, freeze) for step in program.steps]
        self._weights_of_positions = [
            kernels.weights_of(step, False) if freeze and self._has_few_positions(step) else weights
            for step, weights in zip(program.steps, self.weights, strict=True)
        ]
        self.buffers_of: dict[int, list[int]] = {}  # number of a value -> indices of its buffers
        for i, stored in enumerate(program.stored_maps):
            self.buffers_of.setdefault(stored.value, []).append(i)
        self.runs = split(program, min_share)
        self.model: Any = None  # the model of the weights
        self.cost_model: Any = None  # a `cost_model.CostModel`
        self.warm: set[str] = set()  # modes that were compiled before they were needed
        self._runner = self.backend.Runner(self)

    def _has_few_positions(self, step: Step) -> bool:
        shape = self.program.maps.shape(step.map)
        return shape is not None and math.prod(shape) <= _FEW_POSITIONS

    @functools.cached_property
    def run_of_layer(self) -> dict[str, int]:
        """Name of a layer -> index of its run."""
        ends = [self.program.steps[run.last - 1].order for run in self.runs[:-1]]
        return {name: bisect.bisect_left(ends, i) for i, name in enumerate(self.program.layers)}

    @functools.cached_property
    def used_buffers(self) -> list[list[int]]:
        """For each run, the indices of the buffers that it reads or writes."""
        outputs = keras.tree.flatten(self.program.outputs)
        found = []
        for run in self.runs:
            steps = self.program.steps[run.first : run.last]
            values = {run.input, *(v for step in steps for v in step.outputs)}
            values |= set(outputs if run.output is None else ())
            found.append(sorted(i for v in values for i in self.buffers_of.get(v, ())))
        return found

    @functools.cached_property
    def equal_steps(self) -> list[int]:
        """For each step, the first equal one: for backends that compile single steps."""
        buffers = [
            [
                *(reads[i] for reads in self._all_reads.values()),
                *(self.buffers_of.get(value, ()) for value in step.outputs),
            ]
            for i, step in enumerate(self.program.steps)
        ]
        return first_equal_steps(self.program, buffers)

    def new_buffers(self) -> list:
        """Buffers for all stored maps, with their borders filled."""
        return [
            self.backend.new(np.full((x.rows, x.shape[2]), x.fill, "float32"))
            for x in self.program.stored_maps
        ]

    @property
    def traces(self) -> int:
        """How often a run, or in JAX a step, was compiled."""
        return self._runner.traces

    def compute(
        self,
        index: int,
        mode: str,
        regions: Mapping[int, Region],
        frame: np.ndarray,
        extras: Sequence,
        buffers: list,
        limit: float | None = None,
    ):
        """Computes one run. The buffers are changed in place.

        Args:
            index: index of the run; the runs before it must have been computed.
            mode: one of `runs.MODES`.
            regions: where each map is computed, see `Run.regions`.
            frame: `(height, width, channels)`, the full frame.
            extras: the other inputs, each with a batch of 1.
            buffers: from `new_buffers`; a first dense pass makes them complete.
            limit: for pruning: where no channel of the run's output differs from its stored
                value by more than this, the stored value stays.

        Returns:
            For the last run, the outputs of the network as arrays with a batch of 1. For other
            runs with a limit, a boolean `(height, width)` map of where the output differs by more
            than the limit. Otherwise `None`.
        """
        run = self.runs[index]
        block = self._frame_block(mode, regions, frame) if index == 0 else None
        where = [(regions[m].ys, regions[m].xs) for m in run.maps] if regions else []
        limit = None if run.output is None else limit
        results, buffers[:] = self._runner(index, mode, where, block, extras, buffers, limit)
        if run.output is None:
            return results
        if limit is None:
            return None
        return self._as_full_map(run.output, mode, regions, results[0])

    def _frame_block(
        self, mode: str, regions: Mapping[int, Region], frame: np.ndarray
    ) -> np.ndarray:
        """The part of the frame that is computed, see `compute_steps`."""
        region = regions.get(self.program.maps.FRAME)
        if region is None:  # a copy, since a backend may keep the array as a stored map
            return np.array(frame[None], "float32", order="C")
        if mode == "rectangle":
            block = frame[None, region.ys[0] : region.ys[-1] + 1]
            block = block[:, :, region.xs[0] : region.xs[-1] + 1]
        elif mode == "tiles":
            block = frame[region.tile_indices(frame.shape)]
        else:
            block = frame[region.ys, region.xs][None, :, None]
        return np.ascontiguousarray(block, "float32")

    def _as_full_map(self, value: int, mode: str, regions, differs: np.ndarray) -> np.ndarray:
        """A boolean map of a region as one of the full map, false outside of the region."""
        if mode == "dense":
            return differs[0]
        map_ = self.program.map_of_value[value]
        region, full = regions[map_], np.zeros(self.program.maps.shape(map_), bool)
        if mode == "rectangle":
            full[np.ix_(region.ys, region.xs)] = differs[0]
        elif mode == "tiles":
            full[region.tile_indices(full.shape)] = differs
        else:
            full[region.ys, region.xs] = differs[0, :, 0]
        return full

    def stored_array(self, value: int, buffers: Sequence) -> np.ndarray:
        """A stored value as an array `(1, height, width, channels)`, without its border."""
        index = self.buffers_of[value][0]
        stored = self.program.stored_maps[index]
        (top, _), (left, _) = stored.pads
        height, width, channels = stored.shape
        values = self.backend.numpy(buffers[index]).reshape(1, *stored.padded, channels)
        return values[:, top : top + height, left : left + width]

    def scales(self, buffers: Sequence) -> list[float]:
        """For each run except the last, the root mean square of its stored output."""
        outputs = [run.output for run in self.runs if run.output is not None]
        arrays = (self.stored_array(value, buffers) for value in outputs)
        return [float(np.sqrt(np.mean(np.square(array)))) for array in arrays]

    # The methods below are called, or traced, by the backend's `Runner`.

    def compute_steps(self, index, mode, regions, block, extras, buffers, limit, do):
        """Computes all steps of a run.

        Args:
            index: index of the run.
            mode: one of `runs.MODES`.
            regions: `(ys, xs)` for every map of the run.
            block: for the first run the part of the frame that is computed,
                `(1, height, width, channels)` or for tiles `(tiles, height, width, channels)`;
                `None` for other runs.
            extras: the other inputs.
            buffers: a list of all buffers, or index -> buffer of those in `used_buffers`.
            limit: `None`, or a tensor: see `compute`.
            do: `do_step`, or a compiled form of it.

        Returns:
            A list of results, see `compute`, and the buffers.
        """
        run, program = self.runs[index], self.program
        where = dict(zip(run.maps, regions, strict=True)) if regions else {}
        buffers = copy.copy(buffers)
        values = dict(zip(program.inputs[1:], extras, strict=True))
        if index == 0:
            values[run.input] = block
            self._do_and_store(do, -1, mode, where, [block], program.inputs[:1], buffers, (), None)
        elif mode == "dense" or run.needs_input:
            values[run.input] = self._load_input(run.input, mode, where, buffers)
        weights = self._weights_of_positions if mode == "positions" else self.weights
        differs = None
        for i in range(run.first, run.last):
            step = program.steps[i]
            sources = [
                values[value] if buffer is None else buffers[buffer]
                for value, buffer in zip(step.inputs, self._reads(mode)[i], strict=True)
            ]
            bound = limit if run.output in step.outputs else None
            outputs, differs = self._do_and_store(
                do, i, mode, where, sources, step.outputs, buffers, weights[i], bound
            )
            values.update(zip(step.outputs, outputs, strict=True))
        if run.output is not None:
            return ([] if differs is None else [differs]), buffers
        results = []
        for value in keras.tree.flatten(program.outputs):
            if value in values and self._is_complete(mode, program.map_of_value[value]):
                results.append(values[value])
            else:
                buffer = self.buffers_of[value][0]
                results.append(self._load_full(program.stored_maps[buffer], buffers[buffer]))
        return results, buffers

    def _load_input(self, value: int, mode: str, where, buffers):
        """The input of a run, as the run before it has stored it."""
        i = self.buffers_of[value][0]
        return self._load(i, mode, where.get(self.program.map_of_value[value]), buffers[i])

    def _do_and_store(self, do, index, mode, where, sources, values, buffers, weights, limit):
        """Does a step and replaces the buffers that it changed."""
        stored = [i for value in values for i in self.buffers_of.get(value, ())]
        region = where.get(self.program.map_of_value[values[0]])
        old = [buffers[i] for i in stored]
        outputs, new, differs = do(index, mode, weights, region, sources, old, limit)
        for i, buffer in zip(stored, new, strict=True):
            buffers[i] = buffer
        return outputs, differs

    def do_step(self, index: int, mode: str, weights, where, sources, buffers, limit):
        """Does one step. Step -1 only stores the frame.

        Args:
            index: index of the step.
            mode: one of `runs.MODES`.
            weights: the step's weights.
            where: `(ys, xs)` of the region to compute, `None` for everything.
            sources: the inputs, as tensors or buffers as `_reads` says.
            buffers: the buffers that hold its outputs.
            limit: `None`, or the difference up to which stored values stay; the step must have
                one output then.

        Returns:
            The outputs, the buffers, and with a limit a boolean map of where the output differs
            by more than the limit.
        """
        if index < 0:
            outputs, values = sources, self.program.inputs[:1]
        else:
            step = self.program.steps[index]
            outputs = self._compute_step(step, index, mode, weights, where, sources)
            values = step.outputs
        differs = None
        if limit is not None:
            old = self._load(self.buffers_of[values[0]][0], mode, where, buffers[0])
            differs = ops.max(ops.absolute(outputs[0] - old), axis=-1) > limit
            outputs = [ops.where(differs[..., None], outputs[0], old)]
        to_store = [(tensor, i) for tensor, v in zip(outputs, values, strict=True)
                    for i in self.buffers_of.get(v, ())]  # fmt: skip
        new = []
        for (tensor, i), buffer in zip(to_store, buffers, strict=True):
            stored = self.program.stored_maps[i]
            if where is None:
                padded = ops.pad(
                    tensor, ((0, 0), *stored.pads, (0, 0)), constant_values=stored.fill
                )
                rows = ops.reshape(padded, (stored.rows, stored.shape[2]))
                new.append(self.backend.replace(buffer, rows))
            else:
                rows = ops.reshape(tensor, (-1, stored.shape[2]))
                index_ = indices.region_rows(stored, mode, *where)
                new.append(self.backend.write(buffer, index_, rows))
        return outputs, new, differs

    def _compute_step(self, step: Step, index: int, mode: str, weights, where, sources):
        reads = self._reads(mode)[index]
        if where is not None and step.reads is not None and not step.reads.is_identity:
            stored = self.program.stored_maps[reads[0]]
            return [self._compute_window(step, mode, weights, stored, sources[0], *where)]
        inputs = []
        for source, i in zip(sources, reads, strict=True):
            inputs.append(source if i is None else self._load(i, mode, where, source))
        if where is None:
            return kernels.on_full_maps(step, weights, inputs)
        return [kernels.on_positions(step, weights, inputs)]

    def _compute_window(self, step: Step, mode: str, weights, stored: StoredMap, buffer, ys, xs):
        """Computes a region of a step that reads more than its own positions."""
        (top, _), (left, _) = stored.pads
        width, channels = stored.padded[1], stored.shape[2]
        reads, shape, take = step.reads, self.program.maps.shape(step.map), self.backend.take
        one_by_one = mode == "positions" or step.groups > 1 or step.kind == "copy"
        as_block = reads.affine and not one_by_one
        if as_block or (reads.affine and mode == "positions"):
            index = indices.window_rows(stored, mode, ys, xs, shape, reads, step.strides)
        else:
            tables = reads.rows, reads.cols
            rows, cols = indices.table_rows(tables, mode, ys, xs, shape, take)
            index = indices.combine(rows + top, cols + left, mode, width)
        gathered = self.backend.read(buffer, ops.reshape(index, (-1,)), channels)
        if as_block:
            block = (-1, *ops.shape(index)[1:], channels)
            output = kernels.on_block(step, weights, ops.reshape(gathered, block))
        else:
            count = reads.rows.shape[1] * reads.cols.shape[1]
            gathered = ops.reshape(gathered, (-1, count, channels))
            factors = None
            if step.weights is not None:
                rows, cols = indices.table_rows(step.weights, mode, ys, xs, shape, take)
                wide = step.strides[1] if step.kind == "depth_to_space" else None
                factors = ops.reshape(indices.combine(rows, cols, mode, wide), (-1, count, 1))
            output = kernels.on_windows(step, weights, gathered, factors)
            output = indices.as_map(output, mode, ys, xs, shape)
        if step.kind == "average":
            tables = [table[:, None] for table in kernels.divisors(step)]
            rows, cols = indices.table_rows(tables, mode, ys, xs, shape, take)
            divisor = indices.combine(rows, cols, mode)
            output = output / indices.as_map(divisor, mode, ys, xs, shape)
        return output

    def _load(self, index: int, mode: str, where, buffer):
        """A stored map, or a region of it."""
        stored = self.program.stored_maps[index]
        if where is None:
            return self._load_full(stored, buffer)
        ys, xs = where
        index_ = indices.region_rows(stored, mode, ys, xs)
        rows = self.backend.read(buffer, index_, stored.shape[2])
        return indices.as_map(rows, mode, ys, xs, stored.shape)

    def _load_full(self, stored: StoredMap, buffer):
        """A stored map without its border."""
        height, width, channels = stored.shape
        if stored.padded == (height, width):
            rows = self.backend.read_all(buffer, channels)
            return ops.reshape(rows, (1, height, width, channels))
        ys, xs = np.arange(height, dtype="int32"), np.arange(width, dtype="int32")
        (top, _), (left, _) = stored.pads
        index = ((ys + top)[:, None] * stored.padded[1] + xs + left).reshape(-1)
        rows = self.backend.read(buffer, ops.convert_to_tensor(index), channels)
        return ops.reshape(rows, (1, height, width, channels))

    def _is_complete(self, mode: str, map_: int) -> bool:
        """Whether values with this change map are computed in full."""
        return mode == "dense" or not self.program.maps.has_positions(map_)

    def _reads(self, mode: str) -> list[tuple]:
        """For each step and input, the buffer to read; `None` for a value computed just before."""
        return self._all_reads[mode == "dense"]

    @functools.cached_property
    def _all_reads(self) -> dict[bool, list[tuple]]:
        return {
            dense: [
                tuple(self._buffer_to_read(step, v, dense) for v in step.inputs)
                for step in self.program.steps
            ]
            for dense in (False, True)
        }

    def _buffer_to_read(self, step: Step, value: int, dense: bool) -> int | None:
        map_ = self.program.map_of_value[value]
        if dense or not self.program.maps.has_positions(map_):
            return None
        window = step.reads is not None and not step.reads.is_identity
        if step.map == map_ and not window:
            return None
        kept = self.buffers_of[value]
        same_fill = [i for i in kept if self.program.stored_maps[i].fill == step.fill]
        return (same_fill if window else kept)[0]
