"""Runs a network's segments: whole, on one rectangle per map, or on lists of positions.

Every stored map is one flat buffer of rows, one row of channels per position, its border
included and in place. Reading is a gather of rows, writing a scatter of rows; the arithmetic
between them is `kernels`, on every backend the same. What differs between backends, a few
functions and how a pass is compiled, is in `_tensorflow.py`, `_jax.py` and `_torch.py`.
"""

import bisect
import copy
import functools
import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_seqpar.selective.change_maps.program import Layout, Program
from keras_seqpar.selective.change_maps.steps import Step
from keras_seqpar.selective.keras_engine import indices as places
from keras_seqpar.selective.keras_engine import kernels
from keras_seqpar.selective.keras_engine.equal_steps import first_alike
from keras_seqpar.selective.keras_engine.runs import WHOLE, Region, split

# Products of listed positions of maps with no more have few rows, and gain nothing from weights
# that are constants: ResNet-50 at 224 pixels was 0 to 6 % quicker without them, at 512 pixels as
# quick (2 cores, TensorFlow), and their copies are saved.
_FEW_POSITIONS = 256


class Engine:
    """A program with its weights on a backend. It holds no frame: see `new_buffers`.

    Args:
        program: the network.
        freeze: make the weights constants of what is compiled.
        share: see `segments.split`.
    """

    def __init__(self, program: Program, *, freeze: bool = False, share: float = WHOLE):
        self.program = program
        self.backend = importlib.import_module(f"keras_seqpar.selective._{keras.backend.backend()}")
        self.weights = [kernels.weights_of(step, freeze) for step in program.steps]
        self._weights_of_positions = [
            kernels.weights_of(step, False) if freeze and self._has_few_positions(step) else weights
            for step, weights in zip(program.steps, self.weights, strict=True)
        ]
        self.layouts_of: dict[int, list[int]] = {}
        for i, layout in enumerate(program.layouts):
            self.layouts_of.setdefault(layout.value, []).append(i)
        self.segments = split(program, share)
        self.model: Any = None  # whose weights these are
        self.cost_model: Any = None  # see `choice`
        self._runner = self.backend.Runner(self)

    def _has_few_positions(self, step: Step) -> bool:
        shape = self.program.maps.shape(step.map)
        return shape is not None and math.prod(shape) <= _FEW_POSITIONS

    @functools.cached_property
    def segment_of(self) -> dict[str, int]:
        """Name of a layer -> number of its segment."""
        ends = [self.program.steps[segment.last - 1].order for segment in self.segments[:-1]]
        return {name: bisect.bisect_left(ends, i) for i, name in enumerate(self.program.layers)}

    @functools.cached_property
    def touched(self) -> list[list[int]]:
        """Per segment, which buffers it reads or changes."""
        outputs = keras.tree.flatten(self.program.outputs)
        found = []
        for segment in self.segments:
            steps = self.program.steps[segment.first : segment.last]
            values = {segment.entry, *(v for step in steps for v in step.outputs)}
            values |= set(outputs if segment.made is None else ())
            found.append(sorted(i for v in values for i in self.layouts_of.get(v, ())))
        return found

    @functools.cached_property
    def alike(self) -> list[int]:
        """Per step the first one that does the same: for backends that compile single steps."""
        places = [
            [
                *(reads[i] for reads in self._all_reads.values()),
                *(self.layouts_of.get(value, ()) for value in step.outputs),
            ]
            for i, step in enumerate(self.program.steps)
        ]
        return first_alike(self.program, places)

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

    def run(
        self,
        index: int,
        mode: str,
        regions: Mapping[int, Region],
        frame: np.ndarray,
        extras: Sequence,
        buffers: list,
        limit: float | None = None,
    ):
        """Runs one segment; buffers are changed in place.

        Args:
            index: of the segment, after those before it.
            mode: one of `segments.MODES`.
            regions: where each map is computed, see `Segment.regions`.
            frame: `(height, width, channels)`, all of it.
            extras: the other inputs, each with a batch of 1.
            buffers: from `new_buffers`; after a first dense pass they are complete.
            limit: where no channel of what the segment makes differs by more from what is
                stored, that stays.

        Returns:
            Of the last segment the outputs as arrays with a batch of 1, in the order of the
            program's. Of others, with a limit, the boolean `(height, width)` map of what they made
            in which more than that differs; else `None`.
        """
        segment = self.segments[index]
        block = self._block(mode, regions, frame) if index == 0 else None
        where = [(regions[m].ys, regions[m].xs) for m in segment.maps] if regions else []
        limit = None if segment.made is None else limit
        results, buffers[:] = self._runner(index, mode, where, block, extras, buffers, limit)
        if segment.made is None:
            return results
        return None if limit is None else self._moved(segment.made, mode, regions, results[0])

    def _block(self, mode: str, regions: Mapping[int, Region], frame: np.ndarray) -> np.ndarray:
        """The part of the frame that is computed, see `walk`."""
        region = regions.get(self.program.maps.SOURCE)
        if region is None:  # a copy: a backend may keep it as a stored map
            return np.array(frame[None], "float32", order="C")
        if mode == "rectangle":
            block = frame[None, region.ys[0] : region.ys[-1] + 1]
            block = block[:, :, region.xs[0] : region.xs[-1] + 1]
        elif mode == "tiles":
            block = frame[region.spread(frame.shape)]
        else:
            block = frame[region.ys, region.xs][None, :, None]
        return np.ascontiguousarray(block, "float32")

    def _moved(self, value: int, mode: str, regions, moved: np.ndarray) -> np.ndarray:
        """Which positions of a whole map differ."""
        if mode == "dense":
            return moved[0]
        map_ = self.program.map_of_value[value]
        region, found = regions[map_], np.zeros(self.program.maps.shape(map_), bool)
        if mode == "rectangle":
            found[np.ix_(region.ys, region.xs)] = moved[0]
        elif mode == "tiles":
            found[region.spread(found.shape)] = moved
        else:
            found[region.ys, region.xs] = moved[0, :, 0]
        return found

    def scales(self, buffers: Sequence) -> list[float]:
        """The root mean square of what each segment but the last made, as it is stored."""
        made = [s.made for s in self.segments if s.made is not None]
        return [self._scale(self.layouts_of[value][0], buffers) for value in made]

    def _scale(self, index: int, buffers: Sequence) -> float:
        layout = self.program.layouts[index]
        (top, _), (left, _) = layout.pads
        height, width, channels = layout.shape
        kept = self.backend.numpy(buffers[index])
        kept = kept.reshape(*layout.padded, channels)[top : top + height, left : left + width]
        return float(np.sqrt(np.mean(np.square(kept))))

    # What follows is traced or run by the backend's runner.

    def walk(self, index, mode, regions, block, extras, buffers, limit, do):
        """Does all steps of a segment.

        Args:
            index: of the segment.
            mode: one of `segments.MODES`.
            regions: `(ys, xs)` for every map of the segment.
            block: the part of the frame that is computed, `(1, height, width, channels)`, or of
                tiles `(tiles, height, width, channels)`; `None` but for the first segment.
            extras: the other inputs.
            buffers: the stored maps, or number -> stored map of those that are `touched`.
            limit: `None`, or a tensor: see `run`.
            do: `do_step`, or a compiled form of it.

        Returns:
            A list of results, see `run`, and the buffers.
        """
        segment, program = self.segments[index], self.program
        where = dict(zip(segment.maps, regions, strict=True)) if regions else {}
        buffers = copy.copy(buffers)
        env = dict(zip(program.inputs[1:], extras, strict=True))
        if index == 0:
            env[segment.entry] = block
            self._save(do, -1, mode, where, [block], program.inputs[:1], buffers, (), None)
        elif mode == "dense" or segment.takes_entry:
            env[segment.entry] = self._entry(segment.entry, mode, where, buffers)
        weights = self._weights_of_positions if mode == "positions" else self.weights
        moved = None
        for i in range(segment.first, segment.last):
            step = program.steps[i]
            sources = [
                env[value] if layout is None else buffers[layout]
                for value, layout in zip(step.inputs, self._reads(mode)[i], strict=True)
            ]
            bound = limit if segment.made in step.outputs else None
            made, moved = self._save(
                do, i, mode, where, sources, step.outputs, buffers, weights[i], bound
            )
            env.update(zip(step.outputs, made, strict=True))
        if segment.made is not None:
            return ([] if moved is None else [moved]), buffers
        outputs = []
        for value in keras.tree.flatten(program.outputs):
            if value in env and self._is_whole(mode, program.map_of_value[value]):
                outputs.append(env[value])
            else:
                layout = self.layouts_of[value][0]
                outputs.append(self._read_whole(program.layouts[layout], buffers[layout]))
        return outputs, buffers

    def _entry(self, value: int, mode: str, where, buffers):
        """What a segment starts from, as the one before it has stored it."""
        i = self.layouts_of[value][0]
        return self._stored(i, mode, where.get(self.program.map_of_value[value]), buffers[i])

    def _save(self, do, index, mode, where, sources, values, buffers, weights, limit):
        """Does a step and takes over what it stored."""
        stored = [i for value in values for i in self.layouts_of.get(value, ())]
        place = where.get(self.program.map_of_value[values[0]])
        stores = [buffers[i] for i in stored]
        made, new, moved = do(index, mode, weights, place, sources, stores, limit)
        for i, buffer in zip(stored, new, strict=True):
            buffers[i] = buffer
        return made, moved

    def do_step(self, index: int, mode: str, weights, where, sources, stores, limit):
        """Does one step; the step -1 only stores the frame.

        Args:
            index: of the step.
            mode: one of `segments.MODES`.
            weights: the step's.
            where: `(ys, xs)` of its region, `None` for everything.
            sources: tensors or buffers, as `_reads` has it.
            stores: the buffers that hold its outputs.
            limit: `None`, or the difference up to which what is stored stays; then the step
                has one output.

        Returns:
            Its outputs, the buffers, and with a limit the boolean `(1, height, width)` map of
            where more differs.
        """
        if index < 0:
            made, values = sources, self.program.inputs[:1]
        else:
            step = self.program.steps[index]
            made = self._compute(step, index, mode, weights, where, sources)
            values = step.outputs
        moved = None
        if limit is not None:
            old = self._stored(self.layouts_of[values[0]][0], mode, where, stores[0])
            moved = ops.max(ops.absolute(made[0] - old), axis=-1) > limit
            made = [ops.where(moved[..., None], made[0], old)]
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
                new.append(self.backend.write(buffer, places.own(layout, mode, *where), rows))
        return made, new, moved

    def _compute(self, step: Step, index: int, mode: str, weights, where, sources):
        reads = self._reads(mode)[index]
        if where is not None and step.taps is not None and not step.taps.is_identity:
            layout = self.program.layouts[reads[0]]
            return [self._window(step, mode, weights, layout, sources[0], *where)]
        inputs = []
        for source, i in zip(sources, reads, strict=True):
            inputs.append(source if i is None else self._stored(i, mode, where, source))
        if where is None:
            return kernels.on_whole(step, weights, inputs)
        return [kernels.on_positions(step, weights, inputs)]

    def _window(self, step: Step, mode: str, weights, layout: Layout, buffer, ys, xs):
        """A step that reads more than its own positions."""
        (top, _), (left, _) = layout.pads
        width, channels = layout.padded[1], layout.shape[2]
        taps, shape = step.taps, self.program.maps.shape(step.map)
        one_by_one = mode == "positions" or step.groups > 1 or step.kind == "copy"
        as_block = taps.affine and not one_by_one
        if as_block or (taps.affine and mode == "positions"):
            index = places.windows(layout, mode, ys, xs, shape, taps, step.strides)
        else:
            both = taps.rows, taps.cols
            rows, cols = places.tables(both, mode, ys, xs, shape, self.backend.take)
            index = places.pairs(rows + top, cols + left, mode, width)
        gathered = self.backend.read(buffer, ops.reshape(index, (-1,)), channels)
        if as_block:
            block = (-1, *ops.shape(index)[1:], channels)
            made = kernels.on_block(step, weights, ops.reshape(gathered, block))
        else:
            count = taps.rows.shape[1] * taps.cols.shape[1]
            gathered = ops.reshape(gathered, (-1, count, channels))
            factors = None
            if step.weights is not None:
                rows, cols = places.tables(step.weights, mode, ys, xs, shape, self.backend.take)
                wide = step.strides[1] if step.kind == "lay" else None
                factors = ops.reshape(places.pairs(rows, cols, mode, wide), (-1, count, 1))
            made = kernels.on_taps(step, weights, gathered, factors)
            made = places.as_map(made, mode, ys, xs, shape)
        if step.kind == "average":
            both = [table[:, None] for table in kernels.divisors(step)]
            rows, cols = places.tables(both, mode, ys, xs, shape, self.backend.take)
            made = made / places.as_map(places.pairs(rows, cols, mode), mode, ys, xs, shape)
        return made

    def _stored(self, index: int, mode: str, where, buffer):
        """A stored map, all of it or a region."""
        layout = self.program.layouts[index]
        if where is None:
            return self._read_whole(layout, buffer)
        ys, xs = where
        rows = self.backend.read(buffer, places.own(layout, mode, ys, xs), layout.shape[2])
        return places.as_map(rows, mode, ys, xs, layout.shape)

    def _read_whole(self, layout: Layout, buffer):
        height, width, channels = layout.shape
        if layout.padded == (height, width):
            rows = self.backend.read_all(buffer, channels)
            return ops.reshape(rows, (1, height, width, channels))
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
