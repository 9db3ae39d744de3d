"""What a stream computes, and in which pieces."""

import dataclasses
import functools
from typing import Any

from keras_seqpar.selective.planning.effects import Axis, Transposed


@dataclasses.dataclass(frozen=True)
class Source:
    """A map that a run reads.

    Args:
        tensor: number of the stored map.
        rows: the rows that an output of the run reads.
        cols: the columns.
        border: the value outside of the map; `None` where nothing outside is read.
        reader: number of the tensor that the operations of the file read; not `tensor` where a
            pad between the two was left out.
        first_channel: the first of the channels that are read.
    """

    tensor: int
    rows: Axis
    cols: Axis
    border: float | None
    reader: int
    first_channel: int = 0


@dataclasses.dataclass(frozen=True)
class CropRun:
    """Operations that run on crops.

    Args:
        operations: their numbers, in order.
        sources: the maps that they read.
        reads: `(operation, place among its inputs)` -> place among `sources`.
        vectors: tensors without positions that they read and that are not constant.
        outputs: the tensors that are stored.
        grid: `(rows, columns)` of the outputs.
        macs: multiply-accumulates for one position.
        copies: the only operation copies values to other positions.
    """

    operations: tuple[int, ...]
    sources: tuple[Source, ...]
    reads: dict[tuple[int, int], int]
    vectors: tuple[int, ...]
    outputs: tuple[int, ...]
    grid: tuple[int, int]
    macs: int
    copies: bool = False

    @property
    def grown(self) -> Source | None:
        """A source of which a crop becomes a larger map; see `Transposed`."""
        return next((x for x in self.sources if isinstance(x.rows, Transposed)), None)


@dataclasses.dataclass(frozen=True)
class WholeRun:
    """Operations that run on whole maps.

    Args:
        operations: their numbers, in order.
        inputs: the tensors that they read and that are not constant.
        outputs: the tensors that are stored.
        macs: multiply-accumulates.
        rows: how a change of a row spreads; `None` where it reaches everything.
        cols: how a change of a column spreads.
    """

    operations: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int
    rows: Axis | None = None
    cols: Axis | None = None


@dataclasses.dataclass(frozen=True)
class View:
    """A stored map under another shape in the same memory; how changes spread along its axes."""

    source: int
    output: int
    rows: Axis
    cols: Axis


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a stream computes a graph.

    Args:
        graph: the graph, as an engine reads it.
        frame: number of the input that is the frame.
        extras: numbers of the other inputs.
        steps: what is computed where the frame changed, in order.
        of_extras: what depends on other inputs only.
        dense: what is computed whole for every change; `None` where there is no such part.
        barriers: name of an operation -> why it, and what reads its result, is in `dense`.
        macs: multiply-accumulates of the graph.
    """

    graph: Any
    frame: int
    extras: tuple[int, ...]
    steps: tuple[CropRun | WholeRun | View, ...]
    of_extras: WholeRun | None
    dense: WholeRun | None
    barriers: dict[str, str]
    macs: int

    @property
    def full(self) -> WholeRun:
        """The graph as a whole, with the stored maps as further outputs."""
        wholes = [x for x in (self.of_extras, self.dense) if x is not None]
        outputs = (*self.stored[1:], *(i for x in wholes for i in x.outputs))
        return dataclasses.replace(self.plain, outputs=outputs)

    @property
    def plain(self) -> WholeRun:
        """The graph as a whole, with its own outputs."""
        graph = self.graph
        made = {i for n in graph.live for i in graph.operations[n].outputs}
        outputs = tuple(i for i in graph.outputs if i in made)
        return WholeRun(graph.live, tuple(graph.inputs), outputs, self.macs)

    @functools.cached_property
    def stored(self) -> tuple[int, ...]:
        """The maps that are kept from frame to frame, without views."""
        made = [i for s in self.steps if not isinstance(s, View) for i in s.outputs]
        return (self.frame, *made)

    @property
    def constant_maps(self) -> tuple[int, ...]:
        """Constants that have a value for every position."""
        sources = [x.tensor for s in self.steps if isinstance(s, CropRun) for x in s.sources]
        return tuple(i for i in dict.fromkeys(sources) if self.graph.tensors[i].data is not None)
