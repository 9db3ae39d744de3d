"""Runs a .tflite network on crops of any size. Needs NumPy and an interpreter only.

An interpreter can be resized to a crop, but not where the file holds a size: enlarging by 2, for
example, is stored as the size of its result. The operations are therefore cut into pieces. Those
that have weights and no such sizes are loaded once and resized to each crop. The others, which are
fast to load, are loaded once for every size, with the sizes for that crop.
"""

import collections
import dataclasses
from collections.abc import Callable, Collection, Container
from typing import TypeVar

import numpy as np

from keras_seqpar.selective.litert_engine.content import of_operations, shape_of_part
from keras_seqpar.selective.litert_engine.graph import Graph, Operation, Tensor
from keras_seqpar.selective.litert_engine.sessions import Interpreters, Session
from keras_seqpar.selective.regions.geometry import Geometry

_KEPT = 32  # sizes of crops for which pieces with sizes of their own stay loaded
# Operations that hold the size of their output -> which input that is.
_SIZED = {
    "RESIZE_BILINEAR": 1,
    "RESIZE_NEAREST_NEIGHBOR": 1,
    "TRANSPOSE_CONV": 0,
    "RESHAPE": 1,
    "SLICE": 2,
    "STRIDED_SLICE": 2,
    "BROADCAST_TO": 1,
}
# Operations that hold sizes in ways that no crop can have, unless a rule says which positions
# they read.
_FIXED = {
    "RESHAPE",
    *("BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND", "FILL", "TILE", "PACK", "UNPACK", "SPLIT_V"),
    *("GATHER", "GATHER_ND", "SCATTER_ND", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "ONE_HOT"),
}
Taken = TypeVar("Taken")


@dataclasses.dataclass(frozen=True)
class _Piece:
    """Operations that run together.

    Args:
        operations: their numbers, in order.
        inputs: the tensors that they read.
        outputs: the tensors that others read, or that the network gives.
        sized: some of them hold sizes.
    """

    operations: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sized: bool


class FileCrops:
    """A file as a network of frames and of crops.

    Args:
        geometry: of the file.
        make: makes an interpreter of the content of a file.

    Attributes:
        half: the score of 0.5, as the file stores it.

    Raises:
        ValueError: an operation is of one size only.
    """

    def __init__(self, geometry: Geometry, make: Interpreters):
        self.geometry, self._make = geometry, make
        graph = geometry.graph
        assert isinstance(graph, Graph)
        self._graph = graph
        _check_sizes(geometry)
        self._pieces = [_Crops(geometry, piece, make) for piece in _cut(geometry)]
        self._full: Session | None = None
        output = graph.tensors[geometry.output]
        self.half = output.zero + 0.5 / float(output.scales[0]) if len(output.scales) else 0.5

    def load(self) -> None:
        """Makes the interpreters that do not depend on the size of crops."""
        self._load_full()
        for piece in self._pieces:
            piece.load()

    def _load_full(self) -> Session:
        if self._full is None:
            graph, (frame, output) = self._graph, (self.geometry.frame, self.geometry.output)
            numbers = range(len(graph.operations))
            content = of_operations(graph, numbers, [frame], [output])
            self._full = Session(self._make, content)
            self._full.fit()
        return self._full

    def full(self, frame: np.ndarray, take: Callable[[np.ndarray], Taken]) -> Taken:
        """Runs a whole frame.

        Args:
            frame: `(height, width, channels)`, in the file's own type.
            take: what to do with the scores `(rows, columns, classes)`; it must not keep them.
        """
        session = self._load_full()
        session.inputs[0]()[0] = frame
        session.invoke()
        return take(session.outputs[0]()[0])

    def crop(self, part: np.ndarray, take: Callable[[np.ndarray], Taken]) -> Taken:
        """Runs a crop; as `full`."""
        values = {self.geometry.frame: part[None]}
        for piece in self._pieces:
            values |= piece.run(values, (part.shape[0], part.shape[1]))
        return take(values[self.geometry.output][0])


class _Crops:
    """The interpreters of a piece."""

    def __init__(self, geometry: Geometry, piece: _Piece, make: Interpreters):
        self._geometry, self._piece, self._make = geometry, piece, make
        self._session: Session | None = None  # of all sizes
        self._size: tuple[int, int] | None = None  # of crops that it is made for now
        self._of_size: collections.OrderedDict[tuple[int, int], Session] = collections.OrderedDict()

    def load(self) -> Session | None:
        """Makes the interpreter, where one is for all sizes."""
        if self._session is None and not self._piece.sized:
            graph = self._geometry.graph
            assert isinstance(graph, Graph)
            self._session = self._new(graph)
        return self._session

    def _new(self, graph: Graph) -> Session:
        piece = self._piece
        content = of_operations(graph, piece.operations, piece.inputs, piece.outputs)
        return Session(self._make, content)

    def _fitted(self, size: tuple[int, int]) -> Session:
        session = self.load()
        if session is not None:
            if size != self._size:
                self._size = None
                session.fit([_shape(self._geometry, i, size) for i in self._piece.inputs])
                self._size = size
            return session
        if size not in self._of_size:
            session = self._new(resized(self._geometry, self._piece.operations, size))
            session.fit()
            self._of_size[size] = session
            if len(self._of_size) > _KEPT:
                self._of_size.popitem(last=False)
        self._of_size.move_to_end(size)
        return self._of_size[size]

    def run(self, values: dict[int, np.ndarray], size: tuple[int, int]) -> dict[int, np.ndarray]:
        """Number of an output -> its values for a crop, to be read before the next run."""
        session = self._fitted(size)
        for view, i in zip(session.inputs, self._piece.inputs, strict=True):
            target = view()
            target[...] = values[i].reshape(target.shape)
            del target  # no one may hold it when the interpreter runs
        session.invoke()
        return {i: view() for view, i in zip(session.outputs, self._piece.outputs, strict=True)}


def resized(geometry: Geometry, numbers: Collection[int], size: tuple[int, int]) -> Graph:
    """The graph of a file, with some operations for crops of a size.

    Args:
        geometry: of the file.
        numbers: of those operations.
        size: height and width of the crop in pixels.
    """
    graph = geometry.graph
    assert isinstance(graph, Graph)
    tensors, operations = list(graph.tensors), list(graph.operations)
    read = {i for n in numbers for i in (*operations[n].inputs, *operations[n].outputs)}
    for i in read & geometry.reads.keys():
        shape, channels = _shape(geometry, i, size), tensors[i].map_shape[-1]
        positions = tensors[i].positions and (1, *geometry.grid(i, size), channels)
        tensors[i] = dataclasses.replace(tensors[i], shape=shape, positions=positions)
    for n in numbers:
        inputs = list(operations[n].inputs)
        for place, values in _sizes(graph, operations[n], tensors).items():
            data, old = memoryview(values.tobytes()), tensors[inputs[place]]
            tensors.append(dataclasses.replace(old, shape=values.shape, data=data))
            inputs[place] = len(tensors) - 1
        operations[n] = dataclasses.replace(operations[n], inputs=tuple(inputs))
    return dataclasses.replace(graph, tensors=tuple(tensors), operations=tuple(operations))


def _shape(geometry: Geometry, i: int, size: tuple[int, int]) -> tuple[int, ...]:
    """The shape of a tensor in a crop."""
    tensor = geometry.graph.tensors[i]
    return shape_of_part(tensor, *geometry.grid(i, size)) if i in geometry.reads else tensor.shape


def _sizes(graph: Graph, operation: Operation, tensors: list[Tensor]) -> dict[int, np.ndarray]:
    """Place among the inputs of an operation -> the constant there for other sizes of tensors."""
    made = tensors[operation.outputs[0]]
    place, name = _SIZED.get(operation.name), operation.name
    if place is not None and place < len(operation.inputs):
        values = np.array(made.shape, "int32")
        if name.startswith("RESIZE"):
            values = values[1:3]
        elif name == "STRIDED_SLICE":
            begin, step = (graph.constant(operation, i) for i in (1, 3))
            assert begin is not None and step is not None
            values = begin.astype("int32") + (values - 1) * step.astype("int32") + 1
        return {place: values}
    found = {}
    for place, i in enumerate(operation.inputs):
        if _is_row(graph, i):
            count = made.map_shape[2] * made.map_shape[3]
            found[place] = tensors[i].values().reshape(-1)[:count]
    return found


def _is_row(graph: Graph, i: int) -> bool:
    """Whether a tensor is a constant of a whole row, whose values are equal in all columns."""
    return i >= 0 and graph.tensors[i].data is not None and graph.tensors[i].positions is not None


def _is_sized(geometry: Geometry, operation: Operation) -> bool:
    """Whether an operation holds sizes of what it makes, which change with the frame's size."""
    graph = geometry.graph
    assert isinstance(graph, Graph)
    if operation.outputs[0] not in geometry.reads:
        return False
    return operation.name in _SIZED or any(_is_row(graph, i) for i in operation.inputs)


def _check_sizes(geometry: Geometry) -> None:
    """Refuses operations that work for one size only."""
    graph, reads = geometry.graph, geometry.reads
    for operation in (graph.operations[n] for n in graph.live):
        made = operation.outputs[0]
        label = f"{operation.name} {graph.tensors[made].name}"
        moving = any(i in reads for i in operation.inputs) and label in geometry.barriers
        if moving and operation.name in _FIXED:
            raise ValueError(
                f"{graph.name} cannot run on crops: {label} works for frames of one size only. Use "
                "selective.stream, which computes the part before it only where something "
                "changed; or convert a network without this operation."
            )


def _cut(geometry: Geometry) -> list[_Piece]:
    """Cuts the operations into pieces, whose every second one has operations that hold sizes."""
    graph = geometry.graph
    assert isinstance(graph, Graph)
    level: dict[int, int] = {geometry.frame: 0}  # of tensors that depend on the frame
    members: dict[int, list[int]] = {}
    for number in graph.live:
        operation = graph.operations[number]
        known = [level[i] for i in operation.inputs if i in level]
        if not known:
            continue
        at = max(known)
        if _is_sized(geometry, operation):
            at += at % 2
        elif graph.has_weights(operation):
            at += 1 - at % 2
        members.setdefault(at, []).append(number)
        level |= dict.fromkeys(operation.outputs, at)
    pieces: list[list[int]] = []
    for at in sorted(members):
        if pieces and not (_any_sized(geometry, members[at]) or _any_sized(geometry, pieces[-1])):
            pieces[-1] += members[at]
        else:
            pieces.append(members[at])
    return [_piece(geometry, numbers, level) for numbers in pieces]


def _any_sized(geometry: Geometry, numbers: list[int]) -> bool:
    graph = geometry.graph
    assert isinstance(graph, Graph)
    return any(_is_sized(geometry, graph.operations[n]) for n in numbers)


def _piece(geometry: Geometry, numbers: list[int], moving: Container[int]) -> _Piece:
    graph, inside = geometry.graph, set(numbers)
    made = {i for n in numbers for i in graph.operations[n].outputs}
    maker = {i: n for n, x in enumerate(graph.operations) for i in x.outputs}
    inputs: dict[int, None] = {}
    waiting, operations = list(numbers), set(numbers)
    while waiting:  # with operations that make constants, such as weights stored as float16
        for i in graph.operations[waiting.pop()].inputs:
            if i < 0 or i in made or graph.tensors[i].data is not None:
                continue
            if i in moving:
                inputs[i] = None
            elif maker[i] not in operations:
                operations.add(maker[i])
                waiting.append(maker[i])
    read_elsewhere = {
        i for n, x in enumerate(graph.operations) if n not in inside for i in x.inputs
    }
    outputs = [i for i in sorted(made) if i in read_elsewhere or i in graph.outputs]
    return _Piece(
        tuple(sorted(operations)), tuple(sorted(inputs)), tuple(outputs),
        _any_sized(geometry, numbers),
    )  # fmt: skip
