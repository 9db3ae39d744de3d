"""Runs the pieces of a plan in interpreters that are resized to the crops."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.litert_engine.content import of_crop_run, of_whole_run, shape_of_crop
from keras_seqpar.selective.planning.axes import Spans
from keras_seqpar.selective.planning.boxes import Box
from keras_seqpar.selective.planning.plan import CropRun, Plan, WholeRun
from keras_seqpar.selective.planning.sessions import CropSession, Sessions, WholeSession

Maps = Mapping[int, np.ndarray]
Interpreters = Callable[[bytes], Any]  # makes an interpreter of the content of a file


class Session:
    """An interpreter of a piece of the network.

    Args:
        make: makes an interpreter from a file's content.
        content: the file.
    """

    def __init__(self, make: Interpreters, content: bytes):
        self._content = content  # the interpreter reads its weights from these bytes
        self._engine = make(content)
        self._inputs = [x["index"] for x in self._engine.get_input_details()]
        self._outputs = [x["index"] for x in self._engine.get_output_details()]
        self._from = [self._engine.tensor(i) for i in self._inputs]
        self._to = [self._engine.tensor(i) for i in self._outputs]
        self._shapes: list[tuple[int, ...]] | None = None

    def fit(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Resizes the first inputs, where they had other shapes before."""
        if shapes == self._shapes:
            return
        old = self._shapes or [()] * len(shapes)
        self._shapes = None
        for i, shape, before in zip(self._inputs, shapes, old, strict=False):
            if shape != before:
                self._engine.resize_tensor_input(i, shape)
        self._engine.allocate_tensors()
        self._shapes = list(shapes)

    def input(self, i: int) -> np.ndarray:
        """A view of an input; no one may hold it when the interpreter is resized or runs."""
        return self._from[i]()

    def output(self, i: int) -> np.ndarray:
        """A view of an output, likewise."""
        return self._to[i]()

    def invoke(self) -> None:
        """Computes the outputs."""
        self._engine.invoke()


class FileSessions(Sessions):
    """Runs as files in interpreters; the maps are NumPy arrays.

    Args:
        make: makes an interpreter from a file's content.
    """

    def __init__(self, make: Interpreters):
        self._make = make

    def crops(self, plan: Plan, run: CropRun) -> CropSession:
        """See `Sessions`."""
        if run.copies:
            return CopySession(plan, run)
        return FileCropSession(plan, run, self._make)

    def whole(self, plan: Plan, run: WholeRun) -> WholeSession:
        """See `Sessions`."""
        return FileWholeSession(plan, run, self._make)


class FileCropSession(CropSession):
    """A run on crops of the stored maps.

    Args:
        plan: the plan.
        run: the run.
        make: makes interpreters.
    """

    def __init__(self, plan: Plan, run: CropRun, make: Interpreters):
        super().__init__(plan, run)
        self._make = make
        self._session: Session | None = None
        self._size: tuple[int, int] | None = None  # of the outputs that it is made for now

    def load(self) -> Session:
        """Makes its interpreter for the whole grid, where there is none yet."""
        if self._session is None:
            self._session = self._fresh()
            if self.run.grown is not None and not self._grows(self._session):
                self.only_whole, self._session = True, self._fresh()
            self._fit(self._session, self.run.grid)
        return self._session

    def _fresh(self) -> Session:
        self._size = None
        return Session(self._make, of_crop_run(self.plan, self.run))

    def _grows(self, session: Session) -> bool:
        """Whether the interpreter grows crops of any size, whatever size the file states."""
        _, _, height, width = self.made((0, 0, 1, 1))
        try:
            self._fit(session, (height, width))
            return all(
                session.output(i).shape[1:3] == (height, width)
                for i in range(len(self.run.outputs))
            )
        except (RuntimeError, ValueError):
            return False

    def _fit(self, session: Session, size: tuple[int, int]) -> None:
        if size != self._size:
            self._size = None
            session.fit([shape_of_crop(self.plan, x, size) for x in self.run.sources])
            self._size = size

    def compute(self, box: Box, maps: Maps, vectors: Maps) -> None:
        """Computes a box of outputs and writes it into the stored maps."""
        session = self.load()
        top, left, bottom, right = self.made(box)
        self._fit(session, (bottom - top, right - left))
        for i, source in enumerate(self.run.sources):
            rows, cols = source.rows.crop(top, bottom), source.cols.crop(left, right)
            copy_crop(maps[source.tensor], rows, cols, session.input(i), source.border)
        for i, vector in enumerate(self.run.vectors, len(self.run.sources)):
            session.input(i)[...] = vectors[vector]
        session.invoke()
        rows = slice(box[0] - top, box[2] - top)
        cols = slice(box[1] - left, box[3] - left)
        for i, tensor in enumerate(self.run.outputs):
            made = session.output(i).reshape((1, bottom - top, right - left, -1))
            maps[tensor][:, box[0] : box[2], box[1] : box[3]] = made[:, rows, cols]


class CopySession(CropSession):
    """A run that copies values to other positions. No interpreter is needed."""

    def load(self) -> None:
        """Does nothing."""

    def compute(self, box: Box, maps: Maps, vectors: Maps) -> None:
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


class FileWholeSession(WholeSession):
    """A run on whole maps.

    Args:
        plan: the plan.
        run: the run.
        make: makes interpreters.
    """

    def __init__(self, plan: Plan, run: WholeRun, make: Interpreters):
        super().__init__(plan, run)
        self._make = make
        self._session: Session | None = None

    def load(self) -> Session:
        """Makes its interpreter, where there is none yet."""
        if self._session is None:
            self._session = Session(self._make, of_whole_run(self.plan, self.run))
            self._session.fit([])
        return self._session

    def compute(self, maps: Maps) -> Iterator[tuple[int, np.ndarray]]:
        """Computes all; yields number and value of every output, which must be copied."""
        session = self.load()
        for i, tensor in enumerate(self.run.inputs):
            place = session.input(i)
            place[...] = maps[tensor].reshape(place.shape)
            del place  # no one may hold it when the interpreter runs
        session.invoke()
        for i, tensor in enumerate(self.run.outputs):
            yield tensor, session.output(i)


def copy_crop(
    map_: np.ndarray,
    rows: tuple[int, int],
    cols: tuple[int, int],
    place: np.ndarray,
    border: float | None,
) -> None:
    """Copies a part of a map into an interpreter, with a border where it lies outside of the map.

    Args:
        map_: `(1, height, width, channels)`.
        rows: first row and the one after the last; they may lie outside.
        cols: first column and the one after the last.
        place: where to copy it, of that size.
        border: the value outside; `None` where nothing lies outside.
    """
    _, height, width, channels = map_.shape
    (top, bottom), (left, right) = rows, cols
    place = place.reshape((1, bottom - top, right - left, channels))
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        place[...] = map_[:, top:bottom, left:right]
        return
    place[...] = 0 if border is None else border
    y, x = max(-top, 0), max(-left, 0)
    inside = map_[:, max(top, 0) : bottom, max(left, 0) : right]
    place[:, y : y + inside.shape[1], x : x + inside.shape[2]] = inside
