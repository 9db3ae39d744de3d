"""Reads reshapes that only move values as operations that run on crops.

Converters of PyTorch networks transpose the frame to channels last, and write a channel shuffle or
a pixel shuffle as reshapes and transpositions; Keras repeats positions by reshapes and tiles. No
crop can run these: their shapes are constants.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from keras_seqpar.mobile.runtime.flatbuffer_writer import Scalar
from keras_seqpar.selective.litert_engine.tables import Graph, Operation, OperatorCode, Tensor

_MOVES = ("RESHAPE", "TRANSPOSE", "TILE")
_ELEMENTWISE = {"ADD", "SUB", "MUL", "DIV", "QUANTIZE", "DEQUANTIZE", "CAST", "RELU", "RELU6"}
_MOST_VALUES = 2**24  # of a map whose values are followed one by one
# Name -> numbers of the operation and of its options.
_NUMBERS = {
    "GATHER": (36, 23),
    "DEPTH_TO_SPACE": (5, 94),
    "RESIZE_NEAREST_NEIGHBOR": (97, 74),
}


def rearranged(graph: Graph) -> Graph:
    """The same network with frames `(1, height, width, channels)`, and shuffles as one operation.

    A frame with channels first of which only transpositions are read becomes the transposed one.
    Chains of reshapes and transpositions that permute the channels of every position become
    GATHER, those that make channels to positions as well become GATHER and DEPTH_TO_SPACE. Those
    that repeat every position become RESIZE_NEAREST_NEIGHBOR.
    """
    maker = {i: x for x in graph.operations for i in x.outputs}
    names = _channels_last(graph)  # a tensor that is gone -> the one to read instead
    new = _Rewriting(graph)
    for operation in graph.operations:
        chains = _chains(graph, operation, maker) if len(operation.outputs) == 1 else ()
        found = next((x for x in (_meaning(graph, *chain) for chain in chains) if x), None)
        inputs = tuple(names.get(i, i) for i in operation.inputs)
        if found is not None:
            source = names.get(found.source, found.source)
            new.add(dataclasses.replace(found, source=source), operation.outputs[0])
        elif operation.name != "TRANSPOSE" or operation.outputs[0] not in names:
            new.operations.append(dataclasses.replace(operation, inputs=inputs))
    return dataclasses.replace(
        graph,
        tensors=tuple(new.tensors),
        codes=tuple(new.codes),
        operations=tuple(new.operations),
        inputs={names.get(i, i): name for i, name in graph.inputs.items()},
    )


def _channels_last(graph: Graph) -> dict[int, int]:
    """Number of an input with channels first, and of its transposed copies -> the first copy."""
    found: dict[int, int] = {}
    for i in graph.inputs:
        readers = [x for x in graph.operations if i in x.inputs]
        copies = [x.outputs[0] for x in readers]
        if (
            readers
            and len(graph.tensors[i].shape) == 4
            and not graph.outputs.keys() & {i, *copies}
            and all(_order(graph, x) == (0, 2, 3, 1) for x in readers)
        ):
            found |= dict.fromkeys((i, *copies), copies[0])
    return found


def _order(graph: Graph, operation: Operation) -> tuple[int, ...] | None:
    """The order of axes that a transposition makes."""
    order = graph.constant(operation, 1) if operation.name == "TRANSPOSE" else None
    return None if order is None else tuple(order.ravel().tolist())


def _chains(
    graph: Graph, last: Operation, maker: Mapping[int, Operation]
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
    """What a chain does to a map: it reorders channels and makes them to positions, or repeats."""

    source: int  # number of the map
    order: np.ndarray  # of its channels
    block: int = 1  # rows and columns that the channels of a position become
    # rows and columns of the map with every position repeated; `None` without
    size: tuple[int, int] | None = None


def _meaning(graph: Graph, source: int, chain: list[Operation]) -> _Found | None:
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


def _moved(graph: Graph, values: np.ndarray, chain: list[Operation]) -> np.ndarray | None:
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
            if times is None or not 1 <= np.prod(times) * values.size <= _MOST_VALUES:
                return None
            values = np.tile(values, tuple(times.tolist()))
        if np.prod(shape) != values.size:
            return None
        values = values.reshape(shape)
    return values


class _Rewriting:
    """Operations and tensors of a graph, to which others are added."""

    def __init__(self, graph: Graph):
        self.tensors, self.codes = list(graph.tensors), list(graph.codes)
        self.operations: list[Operation] = []

    def add(self, found: _Found, output: int) -> None:
        """Adds the operations that do what a chain does."""
        source, block, order = found.source, found.block, found.order
        if found.size is not None:
            inputs = source, self._integers(np.array(found.size))
            options = {0: Scalar("<b", 0), 1: Scalar("<b", 0)}
            self._append("RESIZE_NEAREST_NEIGHBOR", options, inputs, output)
            return
        if block == 1 or not np.array_equal(order, np.arange(len(order))):
            made = output
            if block > 1:
                made = self._tensor(dataclasses.replace(self.tensors[source], positions=None))
            self._append("GATHER", {0: Scalar("<i", 3)}, (source, self._integers(order)), made)
            source = made
        if block > 1:
            self._append("DEPTH_TO_SPACE", {0: Scalar("<i", block)}, (source,), output)

    def _integers(self, values: np.ndarray) -> int:
        values = values.astype("int32")
        data = memoryview(values.tobytes())
        return self._tensor(Tensor("constant of a stream", values.shape, values.dtype, data, 2))

    def _tensor(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _append(self, name: str, options: dict, inputs: tuple[int, ...], output: int) -> None:
        number, options_type = _NUMBERS[name]
        code = OperatorCode(number, b"", 1)
        if code not in self.codes:
            self.codes.append(code)
        place = self.codes.index(code)
        self.operations.append(
            Operation(name, inputs, (output,), place, options_type, options, b"")
        )


def mark_rows(graph: Graph) -> Graph:
    """The graph with `positions` set for maps whose rows are one axis, and for their constants.

    Files of this package normalize images row by row, `(1, rows, columns * channels)`, because
    XNNPACK computes along the last axis, which has only three values in an image.
    """
    graph = _in_float32(graph)
    found: dict[int, tuple[int, ...]] = {}
    constants: dict[int, tuple[int, ...]] = {}
    mixed: set[int] = set()  # constants that other operations read as well
    for operation in graph.operations:
        positions = _positions(graph, operation, found)
        for i in operation.inputs:
            tensor = graph.tensors[i]
            if i < 0 or tensor.data is None:
                continue
            by_value = operation.name != "RESHAPE" and tensor.shape and tensor.shape[-1] > 1
            if positions is not None and by_value:
                wanted = (1, 1, *positions[2:])
                if constants.setdefault(i, wanted) != wanted:
                    mixed.add(i)
            else:
                mixed.add(i)
        if positions is not None:
            found |= dict.fromkeys(operation.outputs, positions)
    if mixed & constants.keys():
        return graph
    found |= constants
    tensors = (
        dataclasses.replace(x, positions=found[i]) if i in found else x
        for i, x in enumerate(graph.tensors)
    )
    return dataclasses.replace(graph, tensors=tuple(tensors))


def _in_float32(graph: Graph) -> Graph:
    """The graph with constants that files in float16 widen for elementwise operations widened."""
    widened: dict[int, Tensor] = {}
    for operation in (x for x in graph.operations if x.name == "DEQUANTIZE"):
        source, i = graph.tensors[operation.inputs[0]], operation.outputs[0]
        readers = (x.name for x in graph.operations if i in x.inputs)
        is_constant = source.data is not None and source.dtype == np.float16
        if is_constant and i not in graph.outputs and _ELEMENTWISE.issuperset(readers):
            data = memoryview(source.values().astype("float32").tobytes())
            widened[i] = dataclasses.replace(graph.tensors[i], data=data)
    tensors = tuple(widened.get(i, x) for i, x in enumerate(graph.tensors))
    operations = tuple(x for x in graph.operations if not widened.keys() & set(x.outputs))
    return dataclasses.replace(graph, tensors=tensors, operations=operations)


def _positions(graph: Graph, operation: Operation, found: dict) -> tuple[int, ...] | None:
    """The positions of what an operation makes, if its rows are one axis."""
    if len(operation.outputs) != 1 or not operation.inputs:
        return None
    made = graph.tensors[operation.outputs[0]].shape
    first = graph.tensors[operation.inputs[0]]
    if len(made) != 3 or made[0] != 1:
        return None
    if operation.name == "RESHAPE":
        shape = first.shape
        is_map = len(shape) == 4 and first.data is None and shape[0] == 1
        return shape if is_map and made[1:] == (shape[1], shape[2] * shape[3]) else None
    if operation.name not in _ELEMENTWISE:
        return None
    known = {found[i] for i in operation.inputs if i in found}
    others = [graph.tensors[i] for i in operation.inputs if i not in found]
    row = (made[2],)
    fits = all(
        x.data is not None and x.shape in ((), (1,), row, (1, 1, *row)) for x in others
    ) and all(graph.tensors[i].shape == made for i in operation.inputs if i in found)
    return known.pop() if fits and len(known) == 1 else None
