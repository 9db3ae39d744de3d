"""Cuts a graph into runs: pieces that are computed on crops, between maps that are stored.

An operation that reads windows begins a new run where it would read what its own run made, so a
3x3 convolution, its activation, the next 1x1 convolution and a sum are one run. Runs are found by
levels: an operation that reads windows is one level above what it reads, any other one is on the
level of its inputs. Operations of one level whose outputs have the same size are one run. What
grows, as a transposed convolution, begins a run of its own, which pointwise operations go on with.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from keras_seqpar.selective.planning.effects import (
    ONE_ROW,
    SAME_POSITION,
    Barrier,
    Copied,
    Effect,
    Followed,
    Grown,
    Pointwise,
    Relabeled,
    Transposed,
    Windowed,
    shifted,
)
from keras_seqpar.selective.planning.graph import Graph
from keras_seqpar.selective.planning.plan import CropRun, Plan, Source, View, WholeRun

_FROM_ELSEWHERE = "it combines the map with one that is not made from the frame"
_VARIES = "it combines the map with values that depend on all positions"


def make_plan(graph: Graph) -> Plan:
    """Cuts a graph into runs; one without an image, or damaged, raises a `ValueError`."""
    with graph.refusing_damage():
        return _Planner(graph).plan()


def find_frame(graph: Graph) -> int:
    """The number of the input that is the frame: the largest image."""
    tensors = graph.tensors
    images = [i for i in graph.inputs if len(tensors[i].shape) == 4 and tensors[i].is_known]
    if not images:
        shapes = [graph.tensors[i].shape for i in graph.inputs]
        raise ValueError(
            f"{graph.name} has no input for frames: its inputs have the shapes {shapes}. "
            "Wanted: (1, height, width, channels)."
        )
    frame = max(images, key=lambda i: graph.tensors[i].nbytes)
    shape = graph.tensors[frame].shape
    if shape[0] != 1 or min(shape) < 1:
        raise ValueError(
            f"{graph.name} takes frames of the shape {shape}. Streams need files for one "
            "frame at a time: (1, height, width, channels)."
        )
    if shape[1:3] == (1, 1):
        raise ValueError(
            f"{graph.name} was converted for frames of an open size. Convert it for the size "
            "of the frames."
        )
    return frame


@dataclasses.dataclass(frozen=True)
class _Made:
    """Where a tensor is made."""

    level: int  # of its run
    in_run: bool  # the run can go on with it
    growth: tuple[Transposed, ...] = ()  # how the run's inputs grow


class _Planner:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.frame = find_frame(graph)
        self.readers: dict[int, list[int]] = {}
        self.maker: dict[int, int] = {}
        for number in graph.live:
            self.maker |= dict.fromkeys(graph.operations[number].outputs, number)
            for i in graph.operations[number].inputs:
                self.readers.setdefault(i, []).append(number)
        # What the tensors depend on, operation by operation.
        self.constant = {i for i, x in enumerate(graph.tensors) if x.data is not None}
        self.vectors = set(graph.inputs) - {self.frame}
        self.dense: set[int] = set()
        self.made = {self.frame: _Made(-1, False)}
        self.pads: dict[int, tuple[int, Windowed]] = {}  # a tensor that is not made, by a pad
        self.effects: dict[int, Effect] = {}
        self.groups: dict[tuple, list[int]] = {}
        self.barriers: dict[str, str] = {}
        self.of_extras: list[int] = []
        self.in_dense: list[int] = []

    def plan(self) -> Plan:
        """Sorts all operations, then makes the runs."""
        for number in self.graph.live:
            self._sort(number)
        steps = [self._step(self.groups[key]) for key in sorted(self.groups)]
        of_extras = self._whole(self.of_extras) if self.of_extras else None
        dense = self._whole(self.in_dense) if self.in_dense else None
        return Plan(
            graph=self.graph,
            frame=self.frame,
            extras=tuple(i for i in self.graph.inputs if i != self.frame),
            steps=tuple(steps),
            of_extras=of_extras,
            dense=dense,
            barriers=self.barriers,
            macs=self._macs(self.graph.live),
        )

    def _sort(self, number: int) -> None:
        """Finds where an operation belongs."""
        operation = self.graph.operations[number]
        inputs = [i for i in operation.inputs if i >= 0]
        moving = [i for i in inputs if i not in self.constant and i not in self.vectors]
        if not moving:
            if all(i in self.constant for i in inputs):
                self.constant |= set(operation.outputs)
            else:
                self.of_extras.append(number)
                self.vectors |= set(operation.outputs)
            return
        effect = None if self.dense.intersection(moving) else self._effect(number, moving)
        if effect is None or isinstance(effect, Barrier):
            if effect is not None:
                output = self.graph.tensors[operation.outputs[0]].name
                self.barriers[f"{operation.name} {output}"] = effect.reason
            self.in_dense.append(number)
            self.dense |= set(operation.outputs)
            return
        self.effects[number] = effect
        if isinstance(effect, Windowed) and effect.pads:
            self.pads[operation.outputs[0]] = inputs[0], effect
            return
        sources = [self.pads[i][0] if i in self.pads else i for i in moving]
        places = [self.made[i] for i in sources]
        growth = (effect.rows, effect.cols) if isinstance(effect, Grown) else ()
        if isinstance(effect, Pointwise):
            level = max(x.level if x.in_run else x.level + 1 for x in places)
            growths = {x.growth for x in places if x.in_run and x.level == level}
            level += len(growths) > 1
            growth = growths.pop() if len(growths) == 1 else ()
        else:
            level = max(x.level for x in places) + (not isinstance(effect, Relabeled))
        grid = self.graph.tensors[operation.outputs[0]].grid
        in_run = isinstance(effect, (Windowed, Grown, Pointwise))
        group = (grid, tuple(map(dataclasses.astuple, growth)), -1) if in_run else ((), (), number)
        # Views come after the runs of their level, whose maps they show.
        key = (level, isinstance(effect, Relabeled), *group)
        self.groups.setdefault(key, []).append(number)
        self.made |= dict.fromkeys(operation.outputs, _Made(level, in_run, growth))

    def _effect(self, number: int, moving: list[int]) -> Effect:
        """What an operation does to positions, given what its inputs depend on."""
        graph, operation = self.graph, self.graph.operations[number]
        effect = graph.rules.effect_of(graph, operation)
        made = graph.tensors[operation.outputs[0]].map_shape
        if isinstance(effect, Pointwise) and any(
            graph.tensors[i].map_shape[:3] != made[:3] for i in moving
        ):
            return Barrier(_VARIES)
        if operation.name in graph.rules.WITH_WEIGHTS and not isinstance(effect, Barrier):
            if len(moving) > 1 or self.vectors.intersection(operation.inputs):
                return Barrier("its weights are computed")
        others = (graph.tensors[i].shape for i in self.vectors & set(operation.inputs))
        if any(((1,) * (4 - len(x)) + x)[1:3] != (1, 1) for x in others):  # it has positions
            return Barrier(_FROM_ELSEWHERE)
        if isinstance(effect, Windowed) and effect.pads and not self._can_leave_out(number, effect):
            old = graph.tensors[operation.inputs[0]].grid
            axes = zip((effect.rows, effect.cols), old, made[1:3], strict=True)
            rows, cols = (shifted(*x) for x in axes)
            return Copied(rows, cols, border=effect.border)
        return effect

    def _can_leave_out(self, number: int, pad: Windowed) -> bool:
        """Whether all that reads a pad can read what was padded, with a border of its own."""
        output = self.graph.operations[number].outputs[0]
        if output in self.graph.outputs or self.graph.operations[number].inputs[0] in self.pads:
            return False
        for reader in self.readers.get(output, ()):
            operation = self.graph.operations[reader]
            effect = self.graph.rules.effect_of(self.graph, operation)
            if not isinstance(effect, Windowed) or effect.pads:
                return False
            if effect.padded and effect.border != pad.border:
                return False
            others = [i for i in operation.inputs[1:] if i >= 0]
            if operation.inputs[0] != output or not self.constant.issuperset(others):
                return False
        return True

    def _step(self, numbers: list[int]) -> CropRun | WholeRun | View:
        first = self.effects[numbers[0]]
        operation = self.graph.operations[numbers[0]]
        if isinstance(first, Relabeled):
            return View(operation.inputs[:1], operation.outputs[:1], first.rows, first.cols)
        if isinstance(first, Followed):
            run = self._whole(numbers)
            return dataclasses.replace(run, rows=first.rows, cols=first.cols)
        if isinstance(first, Copied):
            i, grid = operation.inputs[0], self.graph.tensors[operation.outputs[0]].grid
            source = Source(i, first.rows, first.cols, first.border, i, first.first_channel)
            return CropRun(
                (numbers[0],), (source,), {}, (), operation.outputs, grid, 0, copies=True
            )
        return self._crop_run(numbers)

    def _crop_run(self, numbers: list[int]) -> CropRun:
        graph, inside = self.graph, set(numbers)
        made = {i for n in numbers for i in graph.operations[n].outputs}
        grid = graph.tensors[graph.operations[numbers[0]].outputs[0]].grid
        sources: dict[Source, int] = {}
        reads: dict[tuple[int, int], int] = {}
        vectors: dict[int, None] = {}
        for number in numbers:
            operation, effect = graph.operations[number], self.effects[number]
            for place, i in enumerate(operation.inputs):
                if i in self.vectors:
                    vectors[i] = None
                source = self._source(i, place, effect, made, grid)
                if source is not None:
                    reads[number, place] = sources.setdefault(source, len(sources))
        return CropRun(
            operations=self._with_constants(numbers),
            sources=tuple(sources),
            reads=reads,
            vectors=tuple(vectors),
            outputs=self._read_later(made, inside),
            grid=grid,
            macs=self._macs(numbers) // (grid[0] * grid[1]),
        )

    def _source(
        self, i: int, place: int, effect: Effect, made: set[int], grid: tuple
    ) -> Source | None:
        """The map that an operation reads at a place; `None` for values without positions."""
        if i < 0 or i in self.vectors or i in made:
            return None
        if isinstance(effect, Windowed):
            if place:
                return None
            rows, cols, border = effect.rows, effect.cols, effect.border if effect.padded else None
            if i in self.pads:
                tensor, pad = self.pads[i]
                rows = dataclasses.replace(rows, before=rows.before + pad.rows.before)
                cols = dataclasses.replace(cols, before=cols.before + pad.cols.before)
                return Source(tensor, rows, cols, pad.border, i)
            return Source(i, rows, cols, border, i)
        if isinstance(effect, Grown):
            if i in self.constant:
                return None
            return Source(i, effect.rows, effect.cols, None, i)
        shape, positions = self.graph.tensors[i].shape, self.graph.tensors[i].positions
        if i in self.constant and positions is not None:
            return Source(i, ONE_ROW, SAME_POSITION, None, i)
        if i in self.constant:
            positions = (1,) * (4 - len(shape)) + shape
            if grid == (1, 1) or positions[1:3] != grid or i in self.maker:
                return None
        return Source(i, SAME_POSITION, SAME_POSITION, None, i)

    def _read_later(self, made: set[int], inside: set[int]) -> tuple[int, ...]:
        """Those of some tensors that are read outside of the operations that make them."""

        def readers(i: int) -> Iterator[int]:  # past pads that were left out
            for number in self.readers.get(i, ()):
                outputs = self.graph.operations[number].outputs
                if outputs and outputs[0] in self.pads:
                    yield from self.readers.get(outputs[0], ())
                else:
                    yield number

        return tuple(
            i
            for i in sorted(made)
            if i in self.graph.outputs or any(n not in inside for n in readers(i))
        )

    def _whole(self, numbers: list[int]) -> WholeRun:
        graph, inside = self.graph, set(numbers)
        made = {i for n in numbers for i in graph.operations[n].outputs}
        read = (i for n in numbers for i in graph.operations[n].inputs if i >= 0)
        return WholeRun(
            operations=self._with_constants(numbers),
            inputs=tuple(i for i in dict.fromkeys(read) if i not in self.constant | made),
            outputs=self._read_later(made, inside),
            macs=self._macs(numbers),
        )

    def _macs(self, numbers: Sequence[int]) -> int:
        graph = self.graph
        return sum(graph.rules.macs_of(graph, graph.operations[n]) for n in numbers)

    def _with_constants(self, numbers: list[int]) -> tuple[int, ...]:
        """Operations, with those that make the constants which they read, in order."""
        found, waiting = set(numbers), list(numbers)
        while waiting:
            for i in self.graph.operations[waiting.pop()].inputs:
                maker = self.maker.get(i)
                if maker is not None and maker not in found and i in self.constant:
                    found.add(maker)
                    waiting.append(maker)
        return tuple(sorted(found))
