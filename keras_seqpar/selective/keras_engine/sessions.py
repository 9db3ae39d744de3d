"""Runs the pieces of a plan by calling layers on crops of the stored maps."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from keras_seqpar.selective.keras_engine.compiling import compiled, rounded
from keras_seqpar.selective.keras_engine.rules import effect_of
from keras_seqpar.selective.planning.boxes import Box
from keras_seqpar.selective.planning.effects import Windowed
from keras_seqpar.selective.planning.graph import Graph
from keras_seqpar.selective.planning.plan import CropRun, Plan, WholeRun
from keras_seqpar.selective.planning.sessions import (
    CopySession,
    CropSession,
    Maps,
    MutableMaps,
    Sessions,
    WholeSession,
    copy_crop,
    write_box,
)

START = 5e7  # of a run: calling layers takes about a millisecond


class KerasSessions(Sessions):
    """Runs as functions that call layers."""

    def crops(self, plan: Plan, run: CropRun) -> CropSession:
        """See `Sessions`."""
        return CopySession(plan, run) if run.copies else KerasCropSession(plan, run)

    def whole(self, plan: Plan, run: WholeRun) -> WholeSession:
        """See `Sessions`."""
        return KerasWholeSession(plan, run)


class KerasCropSession(CropSession):
    """A run on crops of the stored maps."""

    def __init__(self, plan: Plan, run: CropRun):
        super().__init__(plan, run)
        self.start = START
        self._function: Callable | None = None

    def load(self) -> Callable:
        """Compiles it, where that was not done yet."""
        if self._function is None:
            tensors, run = self.plan.graph.tensors, self.run
            crops = [
                keras.KerasTensor((1, None, None, x.shape[3]), x.dtype.name)
                for x in (tensors[source.tensor] for source in run.sources)
            ]
            vectors = _symbolic(self.plan.graph, run.vectors)
            variables = variables_of(self.plan.graph, run.operations)
            self._function = compiled(self._call, variables, [crops, vectors])
        return self._function

    def compute(self, box: Box, maps: MutableMaps, vectors: Maps) -> None:
        """Computes a box of outputs and writes it into the stored maps."""
        run, function = self.run, self.load()
        height, width = (
            rounded(end - first, size)
            for first, end, size in zip(box[:2], box[2:], run.grid, strict=True)
        )
        top, left = min(box[0], run.grid[0] - height), min(box[1], run.grid[1] - width)
        made = self.made((top, left, top + height, left + width))
        crops = [copy_crop(maps[x.tensor], x, made) for x in run.sources]
        found = function(crops, [vectors[i] for i in run.vectors])
        for i, values in zip(run.outputs, found, strict=True):
            write_box(maps[i], box, values, made)

    def _call(self, crops, vectors):
        graph, run = self.plan.graph, self.run
        crops = [
            ops.cast(x, graph.tensors[source.reader].kind)
            for x, source in zip(crops, run.sources, strict=True)
        ]
        return _computed(graph, run, dict(zip(run.vectors, vectors, strict=True)), crops, run.reads)


class KerasWholeSession(WholeSession):
    """A run on whole maps."""

    def __init__(self, plan: Plan, run: WholeRun):
        super().__init__(plan, run)
        self._function: Callable | None = None

    def load(self) -> Callable:
        """Compiles it, where that was not done yet."""
        if self._function is None:
            graph, run = self.plan.graph, self.run
            variables = variables_of(graph, run.operations)
            self._function = compiled(self._call, variables, [_symbolic(graph, run.inputs)])
        return self._function

    def compute(self, values: Maps) -> Iterator[tuple[int, np.ndarray]]:
        """See `WholeSession`."""
        made = self.load()([values[i] for i in self.run.inputs])
        yield from zip(self.run.outputs, made, strict=True)

    def _call(self, inputs):
        return _computed(self.plan.graph, self.run, dict(zip(self.run.inputs, inputs, strict=True)))


def _computed(
    graph: Graph, run, given: Mapping, crops: Sequence = (), reads: Mapping | None = None
) -> list:
    """The outputs of a run, from tensors by their number, and from the crops that it reads."""
    values = {i: ops.cast(x, graph.tensors[i].kind) for i, x in given.items()}
    reads = reads or {}
    for number in run.operations:
        call = graph.operations[number]
        inputs = [
            crops[reads[number, place]] if (number, place) in reads else values[i]
            for place, i in enumerate(call.inputs)
        ]
        on_crop = crops and isinstance(effect_of(graph, call), Windowed)
        made = [call.on_crop(inputs[0])] if on_crop else call(inputs)
        values |= zip(call.outputs, made, strict=True)
    return [values[i] for i in run.outputs]


def variables_of(graph: Graph, operations: Sequence[int]) -> list:
    """The variables of layers, each once."""
    found = (v for n in operations for v in getattr(graph.operations[n].layer, "variables", ()))
    return list({id(v): v for v in found}.values())


def _symbolic(graph: Graph, numbers: Sequence[int]) -> list:
    """Symbolic tensors of the shapes and types of some tensors."""
    tensors = (graph.tensors[i] for i in numbers)
    return [keras.KerasTensor(x.shape, x.dtype.name) for x in tensors]
