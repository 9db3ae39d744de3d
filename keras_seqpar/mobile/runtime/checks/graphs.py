"""Checks the graphs of a .tflite file: indices, order, and what each operation needs."""

import dataclasses
from collections.abc import Sequence

from keras_seqpar.mobile.runtime.checks.operations import OPTIONAL, check_operation
from keras_seqpar.mobile.runtime.checks.tensors import TensorFacts, TensorReader
from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader

MOST_ENDS = 10_000  # inputs or outputs of a graph or of an operation


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """What a file says about an operation.

    Args:
        name: for messages.
        code: number of its `BuiltinOperator`.
        inputs: what it reads; `None` for an optional input that is not there.
        outputs: what it writes.
        options_type: number of the type of its options; 0 without options.
        options: position of their table; `None` without options.
    """

    name: str
    code: int
    inputs: Sequence[TensorFacts | None]
    outputs: Sequence[TensorFacts]
    options_type: int
    options: int | None


def check_graphs(flat: FlatbufferReader) -> None:
    """Checks all graphs and signatures of a model.

    Raises:
        ValueError: something in a graph cannot be; the message says what.
    """
    codes = [_code(flat, code) for code in flat.tables(flat.root, 1)]
    tensors = TensorReader(flat)
    graphs = flat.tables(flat.root, 2)
    if not graphs:
        raise ValueError("it has no graph")
    ends = [_check_graph(flat, graph, codes, tensors) for graph in graphs]
    keys = set()
    for signature in flat.tables(flat.root, 7):
        key, graph = flat.text(signature, 2), flat.value("<I", signature, 4)
        if graph >= len(graphs) or key in keys:
            raise ValueError(f"the signature {key!r} is there twice, or has no graph")
        keys.add(key)
        for index, known in enumerate(ends[graph]):
            for entry in flat.tables(signature, index):
                flat.text(entry, 0)
                if flat.value("<I", entry, 1) not in known:
                    raise ValueError(f"the signature {key!r} names a tensor that is no end")


def _code(flat: FlatbufferReader, table: int) -> int:
    """The number of a built-in operation: older files have it in another field."""
    flat.vector(table, 1, 1)  # custom code
    return max(flat.value("<i", table, 3), flat.value("<b", table, 0))


def _check_graph(
    flat: FlatbufferReader, graph: int, codes: list[int], reader: TensorReader
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Checks a graph; returns the numbers of its inputs and outputs."""
    tensors = [reader.read(table, i) for i, table in enumerate(flat.tables(graph, 0))]
    inputs, outputs = (flat.integers(graph, index, MOST_ENDS) for index in (1, 2))
    for index in (*inputs, *outputs):
        if not 0 <= index < len(tensors):
            raise ValueError(f"a graph begins or ends at tensor {index} of {len(tensors)}")
    ready = {i for i, tensor in enumerate(tensors) if tensor.variable or tensor.data[1]}
    if constant := [i for i in inputs if tensors[i].data[1]]:
        raise ValueError(f"{tensors[constant[0]].name} is an input and has data")
    ready.update(inputs)
    for number, operator in enumerate(flat.tables(graph, 3)):
        op = _operation(flat, operator, number, codes, tensors, ready)
        check_operation(flat, op)
    if missing := [i for i in outputs if i not in ready]:
        raise ValueError(f"nothing computes {tensors[missing[0]].name}, an output")
    return inputs, outputs


def _operation(
    flat: FlatbufferReader,
    table: int,
    number: int,
    codes: list[int],
    tensors: list[TensorFacts],
    ready: set[int],
) -> Operation:
    """Reads an operation, and checks that what it reads is there; marks what it writes as ready."""
    index = flat.value("<I", table, 0)
    if index >= len(codes):
        raise ValueError(f"operation {number} has the code {index} of {len(codes)}")
    code, name = codes[index], f"operation {number}"
    given, made, between = (flat.integers(table, i, MOST_ENDS) for i in (1, 2, 8))
    for i in (*given, *made, *between):
        if not -1 <= i < len(tensors):
            raise ValueError(f"{name} has the tensor {i} of {len(tensors)}")
    for place, i in enumerate(given):
        if (i == -1 and code not in OPTIONAL) or (i == -1 and place < OPTIONAL[code]):
            raise ValueError(f"{name} lacks its input {place}")
        if i >= 0 and i not in ready and tensors[i].elements:
            raise ValueError(f"{name} reads {tensors[i].name} before it is computed")
    for i in made:
        if i == -1 or (i in ready and not tensors[i].variable):
            raise ValueError(f"{name} writes to tensor {i}, which has a value already")
    ready.update(made)
    flat.field(table, 4)
    return Operation(
        name,
        code,
        [None if i == -1 else tensors[i] for i in given],
        [tensors[i] for i in made],
        flat.value("<B", table, 3),
        flat.field(table, 4),
    )
