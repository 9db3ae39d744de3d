"""Runs a .tflite network on crops of any size. Needs NumPy and an interpreter only.

Files hold sizes: enlarging by 2, for example, is stored as the size of its result. So each size of
crops gets an interpreter of its own, of a file with the sizes for that crop.
"""

import collections
import dataclasses
from collections.abc import Callable, Collection
from typing import TypeVar

import numpy as np

from keras_seqpar.selective.litert_engine.content import of_operations, shape_of_part
from keras_seqpar.selective.litert_engine.graph import Graph, Operation, Tensor
from keras_seqpar.selective.litert_engine.sessions import Interpreters, Session
from keras_seqpar.selective.regions.crops import MOST_SIZES
from keras_seqpar.selective.regions.geometry import Geometry

_MOST_BYTES = 64e6  # of the files of all sizes; interpreters pack their weights once more
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


class FileCrops:
    """A file as a network of frames and of crops.

    Args:
        geometry: of the file.
        make: makes an interpreter of the content of a file.
        most: how many sizes of crops stay loaded; fewer of a large file.

    Attributes:
        half: the score of 0.5, as the file stores it.
        kept: how many sizes of crops stay loaded; the one that was not used for longest goes.

    Raises:
        ValueError: an operation is of one size only.
    """

    def __init__(self, geometry: Geometry, make: Interpreters, most: int = MOST_SIZES):
        self.geometry, self._make = geometry, make
        graph = geometry.graph
        assert isinstance(graph, Graph)
        self._graph = graph
        _check_sizes(geometry)
        weights = sum(len(x.data) for x in graph.tensors if x.data is not None)
        self.kept = int(min(max(_MOST_BYTES // max(weights, 1), 2), most))
        self._full: Session | None = None
        self._sessions: collections.OrderedDict[tuple[int, int], Session] = (
            collections.OrderedDict()
        )
        output = graph.tensors[geometry.output]
        self.half = output.zero + 0.5 / float(output.scales[0]) if len(output.scales) else 0.5

    def load(self) -> Session:
        """Makes the interpreter of whole frames, where there is none yet."""
        if self._full is None:
            self._full = self._session(self._graph)
        return self._full

    def full(self, frame: np.ndarray, take: Callable[[np.ndarray], Taken]) -> Taken:
        """Runs a whole frame.

        Args:
            frame: `(height, width, channels)`, in the file's own type.
            take: what to do with the scores `(rows, columns, classes)`; it must not keep them.
        """
        return _run(self.load(), frame, take)

    def crop(self, part: np.ndarray, take: Callable[[np.ndarray], Taken]) -> Taken:
        """Runs a crop; as `full`."""
        size = part.shape[0], part.shape[1]
        if size not in self._sessions:
            graph = resized(self.geometry, self._graph.live, size)
            self._sessions[size] = self._session(graph)
            if len(self._sessions) > self.kept:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(size)
        return _run(self._sessions[size], part, take)

    def _session(self, graph: Graph) -> Session:
        ends = [self.geometry.frame], [self.geometry.output]
        session = Session(self._make, of_operations(graph, self._graph.live, *ends))
        session.fit()
        return session


def _run(session: Session, part: np.ndarray, take: Callable[[np.ndarray], Taken]) -> Taken:
    session.inputs[0]()[0] = part
    session.invoke()
    return take(session.outputs[0]()[0])


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
