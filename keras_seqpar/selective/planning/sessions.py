"""What runs the pieces of a plan; each engine of streams has its own."""

import abc
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.planning.boxes import Box
from keras_seqpar.selective.planning.plan import CropRun, Plan, WholeRun

# What starting a run once more costs, in multiply-accumulates: Python, resizing and copying take
# about 100 microseconds, in which one core does this many in int8, or in float32.
START = {True: 8e6, False: 3e6}
COPY_START = 0.2  # of that, where boxes are only copied
COPY = 32.0  # of one byte that is copied in or out, in multiply-accumulates

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
        self.per_position = run.macs + COPY * (read + written)
        is_integer = any(tensors[i].dtype.kind in "iu" for i in run.outputs)
        self.start = START[is_integer] * (COPY_START if run.copies else 1)
        self.only_whole = False  # what grows can be run on whole maps only

    def cost(self, height: int, width: int) -> float:
        """The cost of computing a box of outputs, in multiply-accumulates."""
        if self.only_whole:
            height, width = self.run.grid
        return self.start + self.per_position * height * width

    def boxes(self, changed: Mapping[int, Sequence[Box]]) -> list[Box]:
        """The boxes of outputs that read what changed; they may overlap."""
        found: dict[Box, None] = {}
        rows, cols = self.run.grid
        for source in self.run.sources:
            for top, left, bottom, right in changed.get(source.tensor, ()):
                top, bottom = source.rows.outputs(top, bottom, rows)
                left, right = source.cols.outputs(left, right, cols)
                if top < bottom and left < right:
                    found[top, left, bottom, right] = None
        return list(found)

    def made(self, box: Box) -> Box:
        """The outputs that are computed for a box: more than it where maps grow."""
        grown = self.run.grown
        if grown is None:
            return box
        if self.only_whole:
            return 0, 0, *self.run.grid
        height, width = self.plan.graph.tensors[grown.tensor].grid
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
        found: dict[Box, None] = {}
        assert self.run.rows is not None and self.run.cols is not None
        rows, cols = self.plan.graph.tensors[self.run.outputs[0]].grid
        for i in self.run.inputs:
            for top, left, bottom, right in changed.get(i, ()):
                top, bottom = self.run.rows.outputs(top, bottom, rows)
                left, right = self.run.cols.outputs(left, right, cols)
                if top < bottom and left < right:
                    found[top, left, bottom, right] = None
        return list(found)

    @abc.abstractmethod
    def load(self) -> Any:
        """Makes what it runs with, where that is not there yet."""

    @abc.abstractmethod
    def compute(self, maps: Maps) -> Iterator[tuple[int, Any]]:
        """Computes all; yields number and value of every output, which must be copied."""


class Sessions(abc.ABC):
    """Makes the sessions of an engine, and says how it keeps maps: here as NumPy arrays."""

    @abc.abstractmethod
    def crops(self, plan: Plan, run: CropRun) -> CropSession:
        """What runs a piece on crops."""

    @abc.abstractmethod
    def whole(self, plan: Plan, run: WholeRun) -> WholeSession:
        """What runs a piece on whole maps."""

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

    def read(self, values: Any) -> np.ndarray:
        """The values of a stored map or of an output, which may be the same memory."""
        return np.asarray(values)
