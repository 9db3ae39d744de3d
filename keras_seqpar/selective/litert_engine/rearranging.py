"""Reads reshapes that only move values as operations that run on crops.

Converters of PyTorch networks transpose the frame to channels last, and write a channel shuffle or
a pixel shuffle as reshapes and transpositions; Keras repeats positions by reshapes and tiles. No
crop can run these: their shapes are constants.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

import numpy as np

from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader
from keras_seqpar.selective.litert_engine.flatbuffer_writer import CopiedTable, Scalar, write
from keras_seqpar.selective.litert_engine.tables import Operation, OperatorCode, Tables, Tensor

SomeTables = TypeVar("SomeTables", bound=Tables)

_MOVES = ("RESHAPE", "TRANSPOSE", "TILE")
_MOST_VALUES = 2**24  # of a map whose values are followed one by one
# Numbers of operations and of their options.
_GATHER, _DEPTH_TO_SPACE, _RESIZE = (36, 23), (5, 94), (97, 74)


def rearranged(graph: SomeTables) -> SomeTables:
    """The same network with frames `(1, height, width, channels)`, and shuffles as one operation.

    A frame with channels first of which only transpositions are read becomes the transposed one.
    Chains of reshapes and transpositions that permute the channels of every position become
    GATHER, those that make channels to positions as well become GATHER and DEPTH_TO_SPACE. Those
    that repeat every position become RESIZE_NEAREST_NEIGHBOR.
    """
    maker = {i: x for x in graph.operations for i in x.outputs}
    new = _Rewriting(graph, _channels_last(graph))
    for operation in graph.operations:
        operation = new.renamed(operation)
        chains = _chains(graph, operation, maker) if len(operation.outputs) == 1 else ()
        found = next((x for x in (_meaning(graph, *chain) for chain in chains) if x), None)
        if found is None:
            new.operations.append(operation)
        else:
            new.add(found, operation.outputs[0])
    return new.graph()


def _channels_last(graph: Tables) -> dict[int, int]:
    """Number of an input with channels first, and of its transposed copies -> the first copy."""
    found: dict[int, int] = {}
    for i in graph.inputs:
        readers = [x for x in graph.operations if i in x.inputs]
        if len(graph.tensors[i].shape) == 4 and i not in graph.outputs:
            orders = [_order(graph, x) for x in readers]
            if orders and all(x == (0, 2, 3, 1) for x in orders):
                copies = [x.outputs[0] for x in readers]
                if not graph.outputs.keys() & set(copies):
                    found |= dict.fromkeys((i, *copies), copies[0])
    return found


def _order(graph: Tables, operation: Operation) -> tuple[int, ...] | None:
    """The order of axes that a transposition makes."""
    order = graph.constant(operation, 1) if operation.name == "TRANSPOSE" else None
    return None if order is None else tuple(order.ravel().tolist())


def _chains(
    graph: Tables, last: Operation, maker: Mapping[int, Operation]
) -> Iterator[tuple[int, list[Operation]]]:
    """`(map, operations after it)` of what an operation ends, the longest first."""
    if last.name not in _MOVES or len(graph.tensors[last.outputs[0]].shape) != 4:
        return
    chain = [last]
    found = []
    while (before := maker.get(chain[0].inputs[0])) and before.name in _MOVES:
        chain.insert(0, before)
        found.append((before.inputs[0], list(chain)))
    for i, operations in reversed(found):
        tensor = graph.tensors[i]
        if tensor.data is None and len(tensor.shape) == 4 and np.prod(tensor.shape) < _MOST_VALUES:
            yield i, operations


@dataclasses.dataclass(frozen=True)
class _Found:
    """What a chain does to a map: it reorders channels and makes them to positions, or repeats.

    Args:
        source: number of the map.
        order: of its channels.
        block: rows and columns that the channels of a position become.
        size: rows and columns of the map with every position repeated; `None` without.
    """

    source: int
    order: np.ndarray
    block: int = 1
    size: tuple[int, int] | None = None


def _meaning(graph: Tables, source: int, chain: list[Operation]) -> _Found | None:
    """What a chain of operations does, if it is something that crops can do."""
    old = graph.tensors[source].shape
    new = graph.tensors[chain[-1].outputs[0]].shape
    index = np.arange(np.prod(old)).reshape(old)  # where each value is from
    moved = _moved(graph, index, chain)
    if moved is None or not min(old) or moved.shape != new or old[0] != 1 or new[0] != 1:
        return None
    times = [n // m for n, m in zip(new, old, strict=True)]
    if new == (1, old[1] * times[1], old[2] * times[2], old[3]):
        repeated = index.repeat(times[1], 1).repeat(times[2], 2)
        if new != old and np.array_equal(moved, repeated):
            return _Found(source, np.arange(old[3]), size=new[1:3])
    block = times[1]
    if block < 1 or new != (1, old[1] * block, old[2] * block, old[3] // block**2):
        return None
    blocks = moved.reshape(old[1], block, old[2], block, new[3]).transpose(0, 2, 1, 3, 4)
    channels = blocks.reshape(old)
    order = channels[0, 0, 0]  # the first position has the channels 0, 1, ...
    if order.max() >= old[3] or not np.array_equal(channels, index[..., order]):
        return None
    return _Found(source, order, block)


def _moved(graph: Tables, values: np.ndarray, chain: list[Operation]) -> np.ndarray | None:
    """What a chain makes of values."""
    for operation in chain:
        shape = graph.tensors[operation.outputs[0]].shape
        if operation.name == "TRANSPOSE":
            order = _order(graph, operation)
            if order is None or sorted(order) != list(range(values.ndim)):
                return None
            values = values.transpose(order)
        elif operation.name == "TILE":
            times = graph.constant(operation, 1)
            if times is None or np.prod(shape) > _MOST_VALUES:
                return None
            values = np.tile(values, tuple(times.tolist()))
        elif np.prod(shape) != values.size:
            return None
        values = values.reshape(shape)
    return values


class _Rewriting(Generic[SomeTables]):
    """Operations and tensors of a graph with others in their places."""

    def __init__(self, graph: SomeTables, names: dict[int, int]):
        self._graph, self._names = graph, names
        self._tensors, self._codes = list(graph.tensors), list(graph.codes)
        self.operations: list[Operation] = []

    def renamed(self, operation: Operation) -> Operation:
        """An operation that reads other tensors in place of those that are gone."""
        inputs = tuple(self._names.get(i, i) for i in operation.inputs)
        return dataclasses.replace(operation, inputs=inputs)

    def add(self, found: _Found, output: int) -> None:
        """Adds the operations that do what a chain does."""
        source = self._names.get(found.source, found.source)
        if found.size is not None:
            options = {0: Scalar("<b", 0), 1: Scalar("<b", 0)}
            inputs = source, self._integers(np.array(found.size))
            self._append("RESIZE_NEAREST_NEIGHBOR", _RESIZE, options, inputs, output)
            return
        block, order = found.block, found.order
        if block == 1 or not np.array_equal(order, np.arange(len(order))):
            made = output
            if block > 1:
                made = self._tensor(dataclasses.replace(self._tensors[source], positions=None))
            inputs = source, self._integers(order)
            self._append("GATHER", _GATHER, {0: Scalar("<i", 3)}, inputs, made)
            source = made
        if block > 1:
            options = {0: Scalar("<i", block)}
            self._append("DEPTH_TO_SPACE", _DEPTH_TO_SPACE, options, (source,), output)

    def _integers(self, values: np.ndarray) -> int:
        return self._tensor(
            Tensor(
                name="constant of a stream",
                shape=values.shape,
                type=2,
                data=memoryview(values.astype("int32").tobytes()),
                scales=np.zeros(0, "float32"),
                zeros=np.zeros(0, "int64"),
                axis=0,
            )
        )

    def _tensor(self, tensor: Tensor) -> int:
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _append(self, name: str, numbers, options, inputs: tuple[int, ...], output: int) -> None:
        code = OperatorCode(numbers[0], b"", 1)
        if code not in self._codes:
            self._codes.append(code)
        reader = FlatbufferReader(write(options, b"TFL3"))
        self.operations.append(
            Operation(
                name=name,
                inputs=inputs,
                outputs=(output,),
                code=self._codes.index(code),
                options_type=numbers[1],
                options=CopiedTable.read(reader, reader.root),
                custom=b"",
            )
        )

    def graph(self) -> SomeTables:
        """The graph, without what nothing reads."""
        needed, live = set(self._graph.outputs), []
        for operation in reversed(self.operations):
            if needed.intersection(operation.outputs) and not self._is_gone(operation):
                needed.update(operation.inputs)
                live.append(operation)
        return dataclasses.replace(
            self._graph,
            tensors=tuple(self._tensors),
            codes=tuple(self._codes),
            operations=tuple(reversed(live)),
            inputs={self._names.get(i, i): name for i, name in self._graph.inputs.items()},
        )

    def _is_gone(self, operation: Operation) -> bool:
        """Whether it transposes a frame that is transposed already."""
        return operation.name == "TRANSPOSE" and operation.outputs[0] in self._names
