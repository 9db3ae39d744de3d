"""Runs the pieces of a plan by calling layers; the maps stay tensors of Keras's backend."""

import importlib
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_seqpar.selective.keras_engine.graph import Graph
from keras_seqpar.selective.planning.axes import Axis, Spans
from keras_seqpar.selective.planning.boxes import Box
from keras_seqpar.selective.planning.effects import Windowed
from keras_seqpar.selective.planning.plan import CropRun, Plan, WholeRun
from keras_seqpar.selective.planning.sessions import CropSession, Maps, Sessions, WholeSession

START = 5e7  # of a run: calling layers takes about a millisecond


class KerasSessions(Sessions):
    """Runs as functions that call layers; one small module per backend compiles them."""

    writes_more = True  # whole maps are updated whole, and JAX has crops of few sizes

    def __init__(self):
        package = "keras_seqpar.selective.keras_engine"
        self._backend = importlib.import_module(f"{package}.{keras.backend.backend()}_maps")

    def crops(self, plan: Plan, run: CropRun) -> CropSession:
        """See `Sessions`."""
        return KerasCropSession(plan, run, self._backend)

    def whole(self, plan: Plan, run: WholeRun) -> WholeSession:
        """See `Sessions`."""
        return KerasWholeSession(plan, run, self._backend)

    def keep(self, values: np.ndarray) -> Any:
        """See `Sessions`."""
        return self._backend.keep(values)

    def write(self, map_: Any, box: Box, values: Any) -> Any:
        """See `Sessions`."""
        return self._backend.write(map_, box, values)

    def update(self, map_: Any, boxes: Sequence[Box], values: Any) -> Any:
        """See `Sessions`: all is written, which was computed anyway."""
        return self._backend.update(map_, values)

    def read(self, values: Any) -> np.ndarray:
        """See `Sessions`."""
        return np.asarray(ops.convert_to_numpy(values))


class KerasCropSession(CropSession):
    """A run on crops of the stored maps.

    Args:
        plan: the plan.
        run: the run.
        backend: the module of Keras's backend.
    """

    def __init__(self, plan: Plan, run: CropRun, backend):
        super().__init__(plan, run)
        self.start = START
        self._backend = backend
        self._function: Any = None
        graph: Graph = plan.graph
        self._windowed = {
            n for n in run.operations if isinstance(graph.effect_of(graph.operations[n]), Windowed)
        }

    def load(self) -> None:
        """Compiles it, where one program runs crops of all sizes and that was not done yet."""
        if self._function is None:
            graph, run = self.plan.graph, self.run
            variables = variables_of(graph, run.operations)
            self._function = self._backend.compiled(self._call, variables)
            if self._backend.ONE_PROGRAM:
                read = [*(x.tensor for x in run.sources), *run.vectors]
                zeros = _zeros(graph, read, self._backend)
                self._run(self.made((0, 0, 1, 1)), zeros, zeros)

    def compute(self, box: Box, maps: MutableMapping[int, Any], vectors: Maps) -> None:
        """Computes a box of outputs and writes it into the stored maps."""
        self.load()
        height, width = (
            self._backend.rounded(end - first, size)
            for first, end, size in zip(box[:2], box[2:], self.run.grid, strict=True)
        )
        top, left = min(box[0], self.run.grid[0] - height), min(box[1], self.run.grid[1] - width)
        box = top, left, top + height, left + width
        made = self.made(box)
        for i, values in zip(self.run.outputs, self._run(made, maps, vectors), strict=True):
            if made != box:
                start = 0, top - made[0], left - made[1], 0
                values = ops.slice(values, start, (1, height, width, values.shape[-1]))
            maps[i] = self._backend.write(maps[i], box, values)

    def _run(self, box: Box, maps: Maps, vectors: Maps) -> list:
        """The outputs of the run in a box."""
        indices = []
        for source in self.run.sources:
            height, width = self.plan.graph.tensors[source.tensor].grid
            rows = _indices(source.rows, box[0], box[2], height)
            indices.append((rows, _indices(source.cols, box[1], box[3], width)))
        sources = [maps[x.tensor] for x in self.run.sources]
        return self._function(sources, indices, [vectors[i] for i in self.run.vectors])

    def _call(self, sources, indices, vectors):
        graph, run = self.plan.graph, self.run
        crops = [
            _crop(map_, where[0], where[1], source.border, graph.tensors[source.reader].kind)
            for map_, where, source in zip(sources, indices, run.sources, strict=True)
        ]
        if run.copies:
            return crops
        values = dict(zip(run.vectors, vectors, strict=True))
        for number in run.operations:
            call = graph.operations[number]
            given = [
                crops[run.reads[number, place]] if (number, place) in run.reads else values[i]
                for place, i in enumerate(call.inputs)
            ]
            made = [call.on_crop(given[0])] if number in self._windowed else call(given)
            values |= dict(zip(call.outputs, made, strict=True))
        return [values[i] for i in run.outputs]


class KerasWholeSession(WholeSession):
    """A run on whole maps.

    Args:
        plan: the plan.
        run: the run.
        backend: the module of Keras's backend.
    """

    def __init__(self, plan: Plan, run: WholeRun, backend):
        super().__init__(plan, run)
        self._backend = backend
        self._function: Any = None

    def load(self) -> None:
        """Compiles it, where that was not done yet."""
        if self._function is None:
            graph, run = self.plan.graph, self.run
            variables = variables_of(graph, run.operations)
            self._function = self._backend.compiled(self._call, variables)
            zeros = _zeros(graph, run.inputs, self._backend)
            self._function([zeros[i] for i in run.inputs])

    def compute(self, maps: Maps) -> Iterator[tuple[int, Any]]:
        """Computes all; yields number and value of every output."""
        self.load()
        made = self._function([maps[i] for i in self.run.inputs])
        yield from zip(self.run.outputs, made, strict=True)

    def _call(self, inputs):
        graph = self.plan.graph
        values = {
            i: ops.cast(x, graph.tensors[i].kind)
            for i, x in zip(self.run.inputs, inputs, strict=True)
        }
        for number in self.run.operations:
            call = graph.operations[number]
            values |= zip(call.outputs, call([values[i] for i in call.inputs]), strict=True)
        return [values[i] for i in self.run.outputs]


def variables_of(graph: Graph, operations: Sequence[int]) -> list:
    """The variables of layers, each once."""
    found = (v for n in operations for v in getattr(graph.operations[n].layer, "variables", ()))
    return list({id(v): v for v in found}.values())


def _zeros(graph: Graph, numbers: Iterable[int], backend) -> dict[int, Any]:
    """A map of zeros for each of some tensors."""
    return {
        i: backend.keep(np.zeros(graph.tensors[i].shape, graph.tensors[i].dtype)) for i in numbers
    }


def _indices(axis: Axis, first: int, end: int, size: int) -> np.ndarray:
    """The numbers of the inputs that outputs read; -1 for those outside of a map."""
    at = axis.low[first:end] if isinstance(axis, Spans) else np.arange(*axis.crop(first, end))
    return np.where((at >= 0) & (at < size), at, -1).astype("int32")


def _crop(map_, rows, cols, border: float | None, kind: str):
    """A part of a map, with a border where it lies outside.

    Args:
        map_: `(1, height, width, channels)`.
        rows: numbers of its rows, from `_indices`.
        cols: numbers of its columns.
        border: the value outside; `None` where nothing lies outside.
        kind: type of the part.
    """
    part = ops.take(ops.take(map_, ops.maximum(rows, 0), axis=1), ops.maximum(cols, 0), axis=2)
    part = ops.cast(part, kind)
    if border is None:
        return part
    inside = ops.logical_and((rows >= 0)[None, :, None, None], (cols >= 0)[None, None, :, None])
    return ops.where(inside, part, ops.cast(border, kind))
