"""Runs the pieces of a plan in interpreters that are resized to the crops."""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.litert_engine.content import (
    of_crop_run,
    of_square,
    of_whole_run,
    shape_of_crop,
)
from keras_seqpar.selective.planning.boxes import Box
from keras_seqpar.selective.planning.effects import Spans
from keras_seqpar.selective.planning.plan import CropRun, Plan, WholeRun
from keras_seqpar.selective.planning.sessions import (
    START,
    CopySession,
    CropSession,
    Maps,
    MutableMaps,
    Sessions,
    WholeSession,
    address,
    copy_crop,
    write_box,
)

BAND = 1e6  # bytes read and written at a time, about: memory of an interpreter, and of a cache
SMALL = 4  # rows and columns that files state: delegates take memory for that at first
RESIZING = 0.5  # share of the cost of starting a run that resizing takes
SQUARES = 8, 16, 32, 64  # sides of squares that are enlarged
SQUARE_START = 50_000  # values of an enlarged map that take as long as starting a square
Interpreters = Callable[[bytes], Any]  # makes an interpreter of the content of a file


class Session:
    """An interpreter of a piece of the network."""

    def __init__(self, make: Interpreters, content: bytes):
        self._content = content  # the interpreter reads its weights from these bytes
        self._engine = make(content)
        self._inputs = [x["index"] for x in self._engine.get_input_details()]
        # Functions that make views, which no one may hold when the interpreter is resized or runs.
        self.inputs = [self._engine.tensor(i) for i in self._inputs]
        self.outputs = [self._engine.tensor(x["index"]) for x in self._engine.get_output_details()]
        self.invoke = self._engine.invoke  # computes the outputs

    def fit(self, shapes: Sequence[tuple[int, ...]] = ()) -> None:
        """Resizes the first inputs."""
        for i, shape in zip(self._inputs, shapes, strict=False):
            self._engine.resize_tensor_input(i, shape)
        self._engine.allocate_tensors()


class FileSessions(Sessions):
    """Runs as files in interpreters; `everything` is the file that makes all stored maps."""

    def __init__(self, make: Interpreters, everything: bytes):
        self.make, self._everything = make, everything

    def crops(self, plan: Plan, run: CropRun) -> CropSession:
        """See `Sessions`."""
        return CopySession(plan, run) if run.copies else FileCropSession(plan, run, self.make)

    def whole(self, plan: Plan, run: WholeRun) -> WholeSession:
        """See `Sessions`."""
        kind = EnlargingSession if scale_of(plan, run) else FileWholeSession
        return kind(plan, run, self.make)

    def full(self, plan: Plan) -> WholeSession:
        """See `Sessions`."""
        return FileWholeSession(plan, plan.full, self.make, self._everything)

    def allocate(self, plan: Plan, full: WholeSession) -> dict[int, np.ndarray]:
        """See `Sessions`; maps are in the memory of the interpreter, where it has a fixed place."""
        session, run, tensors = full.load(), full.run, plan.graph.tensors
        places = dict(zip(run.outputs, session.outputs, strict=True))
        places[plan.frame] = session.inputs[run.inputs.index(plan.frame)]
        found, is_static = {}, _is_static(plan)
        for i in plan.stored:
            tensor, where = tensors[i], 0
            try:
                place = places[i]() if is_static else None
                if place is not None and place.nbytes == tensor.nbytes:
                    where = address(place)
            except ValueError:  # it has no memory before it is computed
                pass
            memory = (ctypes.c_byte * tensor.nbytes).from_address(where) if where else None
            values = bytearray(tensor.nbytes) if memory is None else memory
            found[i] = np.frombuffer(values, tensor.dtype).reshape(tensor.map_shape)
            found[i].fill(0)  # so that the first frame does not wait for the memory
        return found


def _is_static(plan: Plan) -> bool:
    """Whether all sizes are known before anything runs; otherwise memory moves while running."""
    graph = plan.graph
    sizes = {
        i
        for x in graph.operations
        for i in x.outputs
        if graph.tensors[i].is_known and graph.tensors[i].dtype.name in ("int32", "int64")
    }
    return not any(sizes.intersection(x.inputs) for x in graph.operations)


class FileCropSession(CropSession):
    """A run on crops of the stored maps."""

    def __init__(self, plan: Plan, run: CropRun, make: Interpreters):
        super().__init__(plan, run)
        self._make = make
        self._session: Session | None = None
        self._size: tuple[int, int] | None = None  # of the outputs that it is made for now
        self.resizing = RESIZING * START[self.is_integer]

    def load(self) -> Session:
        """Makes its interpreter, where there is none yet; memory for crops comes later."""
        if self._session is None:
            small = min(self.run.grid[0], SMALL), min(self.run.grid[1], SMALL)
            content = of_crop_run(self.plan, self.run, self.run.grid if self.grown else small)
            self._session = Session(self._make, content)
            if self.grown is not None and not self._grows(self._session):
                self._session = Session(self._make, content)
                self._size, self.only_whole = None, True
        return self._session

    def _grows(self, session: Session) -> bool:
        """Whether the interpreter grows crops of any size, whatever size the file states."""
        _, _, *size = self.made((0, 0, 1, 1))
        self._fit(session, self.run.grid)  # delegates take over what has the size of the file
        try:
            self._fit(session, (size[0], size[1]))
            session.invoke()  # delegates find sizes only then
            return all(list(view().shape[1:3]) == size for view in session.outputs)
        except (RuntimeError, ValueError):
            return False

    def _fit(self, session: Session, size: tuple[int, int]) -> None:
        if size != self._size:
            self._size = None
            session.fit([shape_of_crop(self.plan, x, size) for x in self.run.sources])
            self._size = size

    def _enlarged(self, box: Box) -> Box:
        """The box, in the size of the one before where that takes less than to resize."""
        top, left, bottom, right = box
        height, width = bottom - top, right - left
        rows, cols = self._size or (0, 0)
        more = rows * cols - height * width
        if height > rows or width > cols or more * self.per_position > self.resizing:
            return box
        top, left = min(top, self.run.grid[0] - rows), min(left, self.run.grid[1] - cols)
        return top, left, top + rows, left + cols

    def compute(self, box: Box, maps: MutableMaps, vectors: Maps) -> None:
        """Computes a box of outputs, in bands if it is large, and writes it into the maps."""
        top, left, bottom, right = box
        rows = bottom - top
        if self.grown is None:
            nbytes = rows * (right - left) * self.bytes_per_position
            rows = -(-rows // max(1, round(nbytes / BAND)))
        for y in range(top, bottom, rows):
            self._compute((y, left, min(y + rows, bottom), right), maps, vectors)

    def _compute(self, box: Box, maps: MutableMaps, vectors: Maps) -> None:
        session, run = self._session or self.load(), self.run
        box = self._enlarged(box) if self.grown is None else box
        top, left, bottom, right = made = self.made(box)
        self._fit(session, (bottom - top, right - left))
        for source, view in zip(run.sources, session.inputs, strict=False):
            copy_crop(maps[source.tensor], source, made, view())
        for vector, view in zip(run.vectors, session.inputs[len(run.sources) :], strict=True):
            view()[...] = vectors[vector]
        session.invoke()
        for tensor, view in zip(run.outputs, session.outputs, strict=True):
            write_box(maps[tensor], box, view(), made)


class FileWholeSession(WholeSession):
    """A run on whole maps, as a file that is given or made."""

    def __init__(self, plan: Plan, run: WholeRun, make: Interpreters, content: bytes | None = None):
        super().__init__(plan, run)
        self._make, self._content = make, content
        self._session: Session | None = None

    def load(self) -> Session:
        """Makes its interpreter, where there is none yet."""
        if self._session is None:
            session = Session(self._make, self._content or of_whole_run(self.plan, self.run))
            session.fit()
            self._session = session
        return self._session

    def compute(self, values: Maps) -> Iterator[tuple[int, np.ndarray]]:
        """See `WholeSession`."""
        session = self.load()
        for i, tensor in enumerate(self.run.inputs):
            place = session.inputs[i]()
            if address(place) != address(values[tensor]):
                place[...] = values[tensor].reshape(place.shape)
            del place  # no one may hold it when the interpreter runs
        session.invoke()
        for i, tensor in enumerate(self.run.outputs):
            yield tensor, session.outputs[i]()


class EnlargingSession(FileWholeSession):
    """A map that is enlarged by a power of 2: its squares are, too, but for their borders."""

    def __init__(self, plan: Plan, run: WholeRun, make: Interpreters):
        super().__init__(plan, run, make)
        self._squares: dict[int, Session] = {}  # side in inputs -> what enlarges squares

    def renew(self, boxes: Sequence[Box], maps: MutableMaps) -> None:
        """See `WholeSession`; square by square where that is faster."""
        (source,), (output,) = self.run.inputs, self.run.outputs
        old, new, scale = maps[source], maps[output], scale_of(self.plan, self.run)
        choices = [(float(new.size), 0, list[tuple]())]
        for side in (x for x in SQUARES if x <= min(old.shape[1:3])):
            found = [x for box in boxes for x in squares(box, side, old.shape[1:3], scale)]
            cost = len(found) * (SQUARE_START + (scale * side) ** 2 * new.shape[3])
            choices.append((cost, side, found))
        _, side, found = min(choices)
        if not side:
            super().renew(boxes, maps)
            return
        if side not in self._squares:
            (number,) = self.run.operations
            content = of_square(self.plan.graph, number, side, scale)
            self._squares[side] = Session(self._make, content)
            self._squares[side].fit()
        session = self._squares[side]
        for (y, top, bottom), (x, left, right) in found:
            session.inputs[0]()[...] = old[:, y : y + side, x : x + side]
            session.invoke()
            made = scale * y, scale * x, scale * (y + side), scale * (x + side)
            write_box(new, (top, left, bottom, right), session.outputs[0](), made)


def squares(box: Box, side: int, size: Sequence[int], scale: int) -> list[tuple]:
    """Squares of a map that give a box of the enlarged one: of each axis start, first and end.

    `size` is that of the map in rows and columns, and `scale` how many times it is enlarged.
    """
    axes = []
    for first, end, count in zip(box[:2], box[2:], size, strict=True):
        found = []
        while first < end:
            start = max(min(first // scale - 1, count - side), 0)
            last = scale * (start + side - (start + side < count))  # the last input may be a border
            found.append((start, first, min(last, end)))
            first = last
        axes.append(found)
    return [(rows, cols) for rows in axes[0] for cols in axes[1]]


def scale_of(plan: Plan, run: WholeRun) -> int:
    """How many times a run enlarges a map, where its squares can be enlarged alone; else 0."""
    operation = plan.graph.operations[run.operations[0]]
    if len(run.operations) > 1 or operation.name != "RESIZE_BILINEAR":
        return 0
    if not isinstance(run.rows, Spans) or run.rows.ratio is None:  # it aligns corners
        return 0
    old, new = (plan.graph.tensors[x[0]].grid for x in (operation.inputs, operation.outputs))
    scale = new[0] // old[0]
    return scale if scale in (2, 4, 8) and new == (scale * old[0], scale * old[1]) else 0
