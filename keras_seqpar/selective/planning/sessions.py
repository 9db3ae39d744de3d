"""What runs the pieces of a plan on stored maps, which are NumPy arrays; engines have their own."""

import abc
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.planning.boxes import Box
from keras_seqpar.selective.planning.effects import Spans, Transposed
from keras_seqpar.selective.planning.plan import CropRun, Plan, Source, WholeRun

# What starting a run once more costs, in multiply-accumulates: Python and resizing take about 60
# microseconds, in which one core does this many in int8, or in float32.
START = {True: 10e6, False: 2e6}
COPY_START = 0.2  # of that, where boxes are only copied
WEIGHT = {True: 12.0, False: 2.0}  # of one byte of weights, which have to be read
COPY = {True: 32.0, False: 4.0}  # of one byte that is copied in or out

Maps = Mapping[int, np.ndarray]  # by the number of the tensor
MutableMaps = MutableMapping[int, np.ndarray]


class CropSession(abc.ABC):
    """A run on crops of the stored maps, and what it costs in multiply-accumulates."""

    only_whole = False  # a map that grows is computed as a whole

    def __init__(self, plan: Plan, run: CropRun):
        self.plan, self.run = plan, run
        tensors = plan.graph.tensors
        is_integer = any(tensors[i].dtype.kind in "iu" for i in run.outputs)
        read = sum(
            tensors[x.reader].dtype.itemsize
            * tensors[x.reader].map_shape[-1]
            * float(x.rows.ratio or 1)
            * float(x.cols.ratio or 1)
            for x in run.sources
        )
        written = sum(tensors[i].dtype.itemsize * tensors[i].map_shape[-1] for i in run.outputs)
        self.bytes_per_position = read + written
        self.per_position = run.macs + COPY[is_integer] * self.bytes_per_position
        inputs = {i for n in run.operations for i in plan.graph.operations[n].inputs if i >= 0}
        weights = sum(tensors[i].nbytes for i in inputs if tensors[i].data is not None)
        self.start = START[is_integer] + WEIGHT[is_integer] * weights
        if run.copies:
            self.start *= COPY_START
        self.grown, self.is_integer = run.grown, is_integer

    def cost(self, height: int, width: int) -> float:
        """The cost of a box of outputs."""
        if self.only_whole:
            height, width = self.run.grid
        return self.start + self.per_position * height * width

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
    def compute(self, box: Box, maps: MutableMaps, vectors: Maps) -> None:
        """Computes a box of outputs and writes it into the stored maps."""


class CopySession(CropSession):
    """A run that copies values to other positions."""

    def load(self) -> None:
        """Does nothing."""

    def compute(self, box: Box, maps: MutableMaps, vectors: Maps) -> None:
        """Copies the values of a box of outputs."""
        top, left, bottom, right = box
        (source,), (output,) = self.run.sources, self.run.outputs
        assert isinstance(source.rows, Spans) and isinstance(source.cols, Spans)
        rows, cols = source.rows.low[top:bottom], source.cols.low[left:right]
        place = maps[output][:, top:bottom, left:right]
        part = maps[source.tensor].take(rows, 1, mode="clip").take(cols, 2, mode="clip")
        place[...] = part[..., source.first_channel : source.first_channel + place.shape[-1]]
        if source.border is not None:
            place[:, rows < 0] = source.border
            place[:, :, cols < 0] = source.border


class WholeSession(abc.ABC):
    """A run on whole maps."""

    def __init__(self, plan: Plan, run: WholeRun):
        self.plan, self.run = plan, run

    @abc.abstractmethod
    def load(self) -> Any:
        """Makes what it runs with, where that is not there yet."""

    @abc.abstractmethod
    def compute(self, values: Maps) -> Iterator[tuple[int, np.ndarray]]:
        """Computes all; yields number and value of every output, which must be copied."""

    def renew(self, boxes: Sequence[Box], maps: MutableMaps) -> None:
        """Computes boxes of the outputs, at least, and writes them into the stored maps."""
        for i, values in self.compute(maps):
            values = values.reshape(maps[i].shape)
            for top, left, bottom, right in boxes:
                maps[i][:, top:bottom, left:right] = values[:, top:bottom, left:right]


class Sessions(abc.ABC):
    """Makes the sessions of an engine."""

    @abc.abstractmethod
    def crops(self, plan: Plan, run: CropRun) -> CropSession:
        """What runs a piece on crops."""

    @abc.abstractmethod
    def whole(self, plan: Plan, run: WholeRun) -> WholeSession:
        """What runs a piece on whole maps."""

    def full(self, plan: Plan) -> WholeSession:
        """What makes all stored maps at once."""
        return self.whole(plan, plan.full)

    def allocate(self, plan: Plan, full: WholeSession) -> dict[int, np.ndarray]:
        """The stored maps, that of the frame included; `full` is loaded."""
        tensors = plan.graph.tensors
        return {i: np.zeros(tensors[i].map_shape, tensors[i].dtype) for i in plan.stored}


def address(array: np.ndarray) -> int:
    """Where an array begins in memory."""
    return array.__array_interface__["data"][0]


def copy_crop(
    map_: np.ndarray, source: Source, made: Box, place: np.ndarray | None = None
) -> np.ndarray:
    """Copies what a box of outputs reads, with a border where it lies outside of the map.

    Args:
        map_: `(1, height, width, channels)`.
        source: what the run reads of it.
        made: the box.
        place: where to copy it; `None` for a new array.
    """
    assert not isinstance(source.rows, Spans) and not isinstance(source.cols, Spans)
    top, bottom = source.rows.crop(made[0], made[2])
    left, right = source.cols.crop(made[1], made[3])
    _, height, width, channels = map_.shape
    if place is None or place.ndim != 4:
        shape = (1, bottom - top, right - left, channels)
        place = np.empty(shape, map_.dtype) if place is None else place.reshape(shape)
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        place[...] = map_[:, top:bottom, left:right]
        return place
    place[...] = 0 if source.border is None else source.border
    y, x = max(-top, 0), max(-left, 0)
    inside = map_[:, max(top, 0) : bottom, max(left, 0) : right]
    place[:, y : y + inside.shape[1], x : x + inside.shape[2]] = inside
    return place


def write_box(map_: np.ndarray, box: Box, values: np.ndarray, made: Box) -> None:
    """Writes a box of values that were computed for a box around it into a map."""
    top, left, bottom, right = made
    values = values.reshape((1, bottom - top, right - left, -1))
    map_[:, box[0] : box[2], box[1] : box[3]] = values[
        :, box[0] - top : box[2] - top, box[1] - left : box[3] - left
    ]
