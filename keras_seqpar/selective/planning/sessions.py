"""What runs the pieces of a plan; each engine of streams has its own."""

import abc
import itertools
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.planning.axes import Transposed, reached
from keras_seqpar.selective.planning.boxes import Box
from keras_seqpar.selective.planning.plan import CropRun, Plan, WholeRun

# What starting a run once more costs, in multiply-accumulates: Python and resizing take about 60
# microseconds, in which one core does this many in int8, or in float32.
START = {True: 10e6, False: 2e6}
COPY_START = 0.2  # of that, where boxes are only copied
RESIZING = 0.5  # share of that which resizing takes
WEIGHT = {True: 12.0, False: 2.0}  # of one byte of weights, which have to be read
COPY = {True: 32.0, False: 4.0}  # of one byte that is copied in or out

Maps = Mapping[int, Any]


class CropSession(abc.ABC):
    """A run on crops of the stored maps.

    Args:
        plan: the plan.
        run: the run.
    """

    def __init__(self, plan: Plan, run: CropRun):
        self.plan, self.run = plan, run
        tensors = plan.graph.tensors
        read = sum(
            tensors[x.reader].dtype.itemsize
            * tensors[x.reader].map_shape[-1]
            * float(x.rows.ratio or 1)
            * float(x.cols.ratio or 1)
            for x in run.sources
        )
        written = sum(tensors[i].dtype.itemsize * tensors[i].map_shape[-1] for i in run.outputs)
        is_integer = any(tensors[i].dtype.kind in "iu" for i in run.outputs)
        self.bytes_per_position = read + written
        self.per_position = run.macs + COPY[is_integer] * self.bytes_per_position
        inputs = {i for n in run.operations for i in plan.graph.operations[n].inputs if i >= 0}
        weights = sum(tensors[i].nbytes for i in inputs if tensors[i].data is not None)
        self.resizing = RESIZING * START[is_integer]
        self.start = START[is_integer] + WEIGHT[is_integer] * weights
        if run.copies:
            self.start *= COPY_START
        self.grown = run.grown
        self.only_whole = False  # the interpreter grows whole maps only

    def cost(self, height: int, width: int) -> float:
        """The cost of computing a box of outputs, in multiply-accumulates."""
        if self.only_whole:
            height, width = self.run.grid
        return self.start + self.per_position * height * width

    def boxes(self, changed: Mapping[int, Sequence[Box]]) -> list[Box]:
        """The boxes of outputs that read what changed; they may overlap."""
        found = (
            reached(changed.get(x.tensor, ()), x.rows, x.cols, self.run.grid)
            for x in self.run.sources
        )
        return list(dict.fromkeys(itertools.chain.from_iterable(found)))

    def made(self, box: Box) -> Box:
        """The outputs that are computed for a box: more than it where maps grow."""
        grown = self.grown
        if grown is None:
            return box
        if self.only_whole:
            return 0, 0, *self.run.grid
        height, width = self.plan.graph.tensors[grown.tensor].grid
        assert isinstance(grown.rows, Transposed) and isinstance(grown.cols, Transposed)
        top, bottom = grown.rows.made(box[0], box[2], height)
        left, right = grown.cols.made(box[1], box[3], width)
        return top, left, bottom, right

    @abc.abstractmethod
    def load(self) -> Any:
        """Makes what it runs with, where that is not there yet."""

    @abc.abstractmethod
    def compute(self, box: Box, maps: MutableMapping[int, Any], vectors: Maps) -> None:
        """Computes a box of outputs and writes it into the stored maps."""


class WholeSession(abc.ABC):
    """A run on whole maps.

    Args:
        plan: the plan.
        run: the run.
    """

    def __init__(self, plan: Plan, run: WholeRun):
        self.plan, self.run = plan, run

    def boxes(self, changed: Mapping[int, Sequence[Box]]) -> list[Box]:
        """The boxes of outputs that read what changed, for a run with known spans."""
        rows, cols = self.run.rows, self.run.cols
        assert rows is not None and cols is not None
        grid = self.plan.graph.tensors[self.run.outputs[0]].grid
        found = (reached(changed.get(i, ()), rows, cols, grid) for i in self.run.inputs)
        return list(dict.fromkeys(itertools.chain.from_iterable(found)))

    @abc.abstractmethod
    def load(self) -> Any:
        """Makes what it runs with, where that is not there yet."""

    @abc.abstractmethod
    def compute(self, maps: Maps) -> Iterator[tuple[int, Any]]:
        """Computes all; yields number and value of every output, which must be copied."""

    def renew(self, boxes: Sequence[Box], maps: MutableMapping[int, Any], to: "Sessions") -> None:
        """Computes boxes of the outputs, at least, and writes them into the stored maps.

        Args:
            boxes: of the outputs.
            maps: the stored maps.
            to: writes maps.
        """
        for i, values in self.compute(maps):
            maps[i] = to.update(maps[i], boxes, values)


class FullSession:
    """The graph as a whole, which makes all stored maps at once.

    Args:
        plan: the plan.
        sessions: keeps maps.
        whole: runs everything.
    """

    def __init__(self, plan: Plan, sessions: "Sessions", whole: WholeSession):
        self.plan, self._sessions, self._whole = plan, sessions, whole

    def load(self) -> Any:
        """Makes what it runs with, where that is not there yet."""
        return self._whole.load()

    def start(self) -> dict[int, Any]:
        """The stored maps, that of the frame included, in which no values are yet."""
        tensors = [(i, self.plan.graph.tensors[i]) for i in self.plan.stored]
        return {i: self._sessions.keep(np.zeros(x.map_shape, x.dtype)) for i, x in tensors}

    def compute(self, maps: MutableMapping[int, Any], vectors: Maps) -> dict[int, Any]:
        """Computes the stored maps; returns copies of what else `Plan.full` makes."""
        others = {}
        for i, values in self._whole.compute({**maps, **vectors}):
            if i in maps:
                shape = self.plan.graph.tensors[i].map_shape
                boxes = [(0, 0, shape[1], shape[2])]
                maps[i] = self._sessions.update(maps[i], boxes, values)
            else:
                others[i] = self._sessions.read(values).copy()
        return others


class Sessions(abc.ABC):
    """Makes the sessions of an engine, and says how it keeps maps: here as NumPy arrays.

    Attributes:
        writes_more: whether more of a map may be written than the boxes that are asked for.
    """

    writes_more = False

    @abc.abstractmethod
    def crops(self, plan: Plan, run: CropRun) -> CropSession:
        """What runs a piece on crops."""

    @abc.abstractmethod
    def whole(self, plan: Plan, run: WholeRun) -> WholeSession:
        """What runs a piece on whole maps."""

    def full(self, plan: Plan) -> FullSession:
        """What runs everything at once."""
        return FullSession(plan, self, self.whole(plan, plan.full))

    def keep(self, values: np.ndarray) -> Any:
        """A stored map that has values; it may be the same memory."""
        return values

    def write(self, map_: Any, box: Box, values: Any) -> Any:
        """A stored map with other values in a box, which may be the same map.

        Args:
            map_: the map, which is not used after that.
            box: the box.
            values: `(1, height, width, channels)` of the box.
        """
        top, left, bottom, right = box
        map_[:, top:bottom, left:right] = values
        return map_

    def update(self, map_: Any, boxes: Sequence[Box], values: Any) -> Any:
        """The same for a map that was computed as a whole, of which boxes changed."""
        values = values.reshape(map_.shape)
        for top, left, bottom, right in boxes:
            map_[:, top:bottom, left:right] = values[:, top:bottom, left:right]
        return map_

    def read(self, values: Any) -> np.ndarray:
        """The values of a stored map or of an output, which may be the same memory."""
        return np.asarray(values)
