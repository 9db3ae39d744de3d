"""What a stream computes, and in which pieces."""

import dataclasses
import functools
from typing import Any

from keras_seqpar.selective.planning.effects import Axis, Transposed


@dataclasses.dataclass(frozen=True)
class Source:
    """A map that a run reads."""

    tensor: int  # number of the stored map
    rows: Axis  # the rows that an output of the run reads
    cols: Axis  # the columns
    border: float | None  # the value outside of the map; `None` where nothing outside is read
    # number of the tensor that the operations of the file read; not `tensor` where a pad
    # between the two was left out
    reader: int
    first_channel: int = 0  # the first of the channels that are read


@dataclasses.dataclass(frozen=True)
class CropRun:
    """Operations that run on crops."""

    operations: tuple[int, ...]  # their numbers, in order
    sources: tuple[Source, ...]  # the maps that they read
    # `(operation, place among its inputs)` -> place among `sources`
    reads: dict[tuple[int, int], int]
    vectors: tuple[int, ...]  # tensors without positions that they read and that are not constant
    outputs: tuple[int, ...]  # the tensors that are stored
    grid: tuple[int, int]  # `(rows, columns)` of the outputs
    macs: int  # multiply-accumulates for one position
    copies: bool = False  # the only operation copies values to other positions

    @property
    def grown(self) -> Source | None:
        """A source of which a crop becomes a larger map; see `Transposed`."""
        return next((x for x in self.sources if isinstance(x.rows, Transposed)), None)


@dataclasses.dataclass(frozen=True)
class WholeRun:
    """Operations that run on whole maps."""

    operations: tuple[int, ...]  # their numbers, in order
    inputs: tuple[int, ...]  # the tensors that they read and that are not constant
    outputs: tuple[int, ...]  # the tensors that are stored
    macs: int  # multiply-accumulates
    rows: Axis | None = None  # how a change of a row spreads; `None` where it reaches everything
    cols: Axis | None = None  # how a change of a column spreads


@dataclasses.dataclass(frozen=True)
class View:
    """A stored map under another shape in the same memory; how changes spread along its axes."""

    inputs: tuple[int]
    outputs: tuple[int]
    rows: Axis
    cols: Axis


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a stream computes a graph."""

    graph: Any  # the graph, as an engine reads it
    frame: int  # number of the input that is the frame
    extras: tuple[int, ...]  # numbers of the other inputs
    # what is computed where the frame changed, in order
    steps: tuple[CropRun | WholeRun | View, ...]
    of_extras: WholeRun | None  # what depends on other inputs only
    # what is computed whole for every change; `None` where there is no such part
    dense: WholeRun | None
    # name of an operation -> why it, and what reads its result, is in `dense`
    barriers: dict[str, str]
    macs: int  # multiply-accumulates of the graph

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
