"""Reads the operations and tensors of a .tflite file, without an interpreter."""

import collections
import contextlib
import dataclasses
import hashlib
import math
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader
from keras_seqpar.mobile.runtime.reading import read_tflite
from keras_seqpar.selective.litert_engine import operations as rules
from keras_seqpar.selective.litert_engine.flatbuffer_writer import CopiedTable
from keras_seqpar.selective.litert_engine.rearranging import rearranged
from keras_seqpar.selective.litert_engine.rows import mark_rows
from keras_seqpar.selective.litert_engine.tables import (
    OPERATION_NAMES,
    TYPES,
    Operation,
    OperatorCode,
    Tables,
    Tensor,
)
from keras_seqpar.selective.planning.effects import Effect
from keras_seqpar.utils.names import unknown_name

CUSTOM = "CUSTOM"
# BuiltinOptions that hold more than numbers: LSH and embeddings, handles of resources, buckets.
_NOT_ONLY_NUMBERS = {3, 107, 111, 115}
RESHAPE_OPTIONS, SQUEEZE_OPTIONS, FULLY_CONNECTED_OPTIONS = 17, 30, 8
_MOST_VALUES, _LONGEST = 2**31, 2**16  # of a tensor, of rows or columns; more is damage
# Operations that run other graphs of the file, or keep a state of their own between frames.
_STATEFUL = {
    *("CALL", "CALL_ONCE", "IF", "WHILE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"),
    *("LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"),
    *("BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "RANDOM_UNIFORM"),
    *("RANDOM_STANDARD_NORMAL", "MULTINOMIAL", "HASHTABLE", "DELEGATE"),
    *("STABLEHLO_WHILE", "STABLEHLO_RNG_BIT_GENERATOR", "STABLEHLO_CASE", "STABLEHLO_COMPOSITE"),
}


@dataclasses.dataclass(frozen=True)
class Graph(Tables):
    """The graph of a file that a stream runs."""

    def effect_of(self, operation: Operation) -> Effect:
        """What an operation does to positions."""
        return rules.effect_of(self, operation)

    def macs_of(self, operation: Operation) -> int:
        """Multiply-accumulates of an operation on whole maps; convolutions and dense only."""
        return rules.macs_of(self, operation)

    def has_weights(self, operation: Operation) -> bool:
        """Whether an operation has weights among its inputs, which must be constant."""
        return rules.has_weights(operation)

    def refusing_damage(self) -> contextlib.AbstractContextManager[None]:
        """Turns errors of reading into one that names the file."""
        return refusing_damage(self.path)


def read_graph(path: str | os.PathLike, signature: str | None = None) -> Graph:
    """Reads a file.

    Args:
        path: a .tflite file.
        signature: key of the signature to read; by default the first.

    Returns:
        Its graph.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no .tflite file, has no such signature, or has an operation
            that cannot be moved into a file of its own.
    """
    path = Path(path)
    about = read_tflite(path).about  # follows every table and vector first
    data = path.read_bytes()
    with refusing_damage(path):
        return _read(path, data, about, signature)


@contextlib.contextmanager
def refusing_damage(path: Path) -> Iterator[None]:
    """Turns errors of reading into one that names the file."""
    try:
        yield
    except (struct.error, LookupError, ArithmeticError, UnicodeDecodeError, TypeError):
        raise ValueError(
            f"{str(path)!r} is damaged: something in it refers to what it does not have. Copy or "
            "convert it again."
        ) from None


def _read(path: Path, data: bytes, about: dict, signature: str | None) -> Graph:
    flat = FlatbufferReader(data)
    codes = tuple(_code(flat, table) for table in flat.tables(flat.root, 1))
    graphs, buffers = flat.tables(flat.root, 2), flat.tables(flat.root, 4)
    signatures = {flat.content(x, 2).decode(): x for x in flat.tables(flat.root, 7)}
    if signature is not None and signature not in signatures:
        raise ValueError(f"{path.name}: {unknown_name('signature', signature, signatures)}")
    chosen = signature if signature is not None else next(iter(signatures), None)
    table = None if chosen is None else signatures[chosen]
    graph = graphs[0 if table is None else _number(flat, table, 4, "<I", 0)]
    tensors = _named_apart(_tensor(path, flat, x, buffers) for x in flat.tables(graph, 0))
    operations = tuple(
        _operation(path, flat, x, codes, len(tensors)) for x in flat.tables(graph, 3)
    )
    ends: list[dict[int, str]] = []
    for field, named in ((1, 0), (2, 1)):  # inputs and outputs of the graph, of the signature
        numbers = _numbers(flat, graph, field, "<i4").tolist()
        names = {} if table is None else dict(_names(flat, table, named))
        ends.append({i: names.get(i, tensors[i].name) for i in numbers})
        if any(i < 0 for i in numbers):
            raise IndexError
    sha256 = hashlib.sha256(data).hexdigest()
    found = Graph(tensors, operations, ends[0], ends[1], path, sha256, about, codes, chosen)
    _check_order(found)
    return mark_rows(rearranged(found))


def _named_apart(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Tensors with names of their own: converters repeat names, of which users see maps."""
    times: collections.Counter[str] = collections.Counter()
    found = []
    for tensor in tensors:
        times[tensor.name] += 1
        if times[tensor.name] > 1:
            tensor = dataclasses.replace(tensor, name=f"{tensor.name}:{times[tensor.name]}")
        found.append(tensor)
    return tuple(found)


def _check_order(graph: Graph) -> None:
    """Every operation must read what was made before it, and nothing is made twice."""
    made = set(graph.inputs)
    for operation in graph.operations:
        for i in operation.inputs:
            if i >= 0 and i not in made and graph.tensors[i].data is None:
                raise IndexError
        if made & set(operation.outputs):
            raise IndexError
        made |= set(operation.outputs)
    if any(i not in made and graph.tensors[i].data is None for i in graph.outputs):
        raise IndexError


def _code(flat: FlatbufferReader, table: int) -> OperatorCode:
    old, new = _number(flat, table, 0, "<b", 0), _number(flat, table, 3, "<i", 0)
    return OperatorCode(max(old, new), flat.content(table, 1), _number(flat, table, 2, "<i", 1))


def _tensor(path: Path, flat: FlatbufferReader, table: int, buffers: list[int]) -> Tensor:
    name = flat.content(table, 3).decode("utf-8", "replace")
    shape = tuple(_numbers(flat, table, 0, "<i4").tolist())
    type_, index = _number(flat, table, 1, "<b", 0), _number(flat, table, 2, "<I", 0)
    data = read_buffer(flat, buffers[index]) if index else None
    variable = _number(flat, table, 5, "<b", 0)
    quantization = flat.field(table, 4)
    scales, zeros, axis = np.zeros(0, "float32"), np.zeros(0, "int64"), 0
    if quantization is not None:
        scales = _numbers(flat, quantization, 2, "<f4")
        zeros = _numbers(flat, quantization, 3, "<i8")
        axis = _number(flat, quantization, 6, "<i", 0)
        if _number(flat, quantization, 4, "<B", 0):
            raise ValueError(
                f"{path.name}: the tensor {name!r} is quantized by blocks, which streams do not "
                "read. Quantize it per tensor or per channel."
            )
    if flat.field(table, 6) is not None:
        raise ValueError(
            f"{path.name}: the tensor {name!r} is stored as a sparse one, which streams do not "
            "read. Convert the network again without sparsity."
        )
    if variable:
        raise ValueError(
            f"{path.name}: the tensor {name!r} is a variable, so the network has a memory of its "
            "own. Streams need networks that look at one frame at a time."
        )
    if min(shape, default=0) < 0 or math.prod(shape) > _MOST_VALUES:
        raise IndexError
    if len(shape) == 4 and max(shape[1:3]) > _LONGEST:
        raise IndexError
    if data is not None and type_ in TYPES:
        if len(data) != math.prod(shape) * np.dtype(TYPES[type_]).itemsize:
            raise IndexError
    return Tensor(name, shape, data, type_, scales, zeros, axis)


def read_buffer(flat: FlatbufferReader, table: int) -> memoryview | None:
    """The bytes of a constant; large ones may be stored after the flatbuffer."""
    whole = memoryview(flat.data)
    start, length = flat.vector(table, 0, 1)
    offset, size = _number(flat, table, 1, "<Q", 0), _number(flat, table, 2, "<Q", 0)
    if offset > 1:
        if offset + size > len(whole):
            raise IndexError
        return whole[offset : offset + size]
    return whole[start : start + length] if length else None


def _operation(
    path: Path, flat: FlatbufferReader, table: int, codes: tuple[OperatorCode, ...], count: int
) -> Operation:
    index = _number(flat, table, 0, "<I", 0)
    code = codes[index]
    name = OPERATION_NAMES[code.builtin] if code.builtin < len(OPERATION_NAMES) else ""
    name = code.custom.decode() if code.custom else name or f"operation {code.builtin}"
    inputs, outputs = (tuple(_numbers(flat, table, f, "<i4").tolist()) for f in (1, 2))
    if any(not -1 <= i < count for i in inputs) or any(not 0 <= i < count for i in outputs):
        raise IndexError
    kind, options = _number(flat, table, 3, "<B", 0), flat.field(table, 4)
    quantization = (  # of a fully connected layer, in files that are newer than this reader
        options is not None
        and kind == FULLY_CONNECTED_OPTIONS
        and flat.field(options, 5) is not None
    )
    if (
        name in _STATEFUL
        or kind in _NOT_ONLY_NUMBERS
        or kind > 126
        or flat.field(table, 12) is not None
        or _number(flat, table, 9, "<Q", 0) > 1
        or quantization
    ):
        raise ValueError(
            f"{path.name}: the operation {name} cannot be part of a stream: it keeps a state, "
            "runs another graph, or has settings that streams cannot copy. Run the file without a "
            "stream."
        )
    content = None if options is None else _options(flat, kind, options)
    return Operation(name, inputs, outputs, index, kind, content, flat.content(table, 5))


def _options(flat: FlatbufferReader, kind: int, table: int) -> CopiedTable | dict:
    """A copy of the options of an operation; those of RESHAPE repeat the shape of its output."""
    if kind == RESHAPE_OPTIONS:
        return {}
    if kind == SQUEEZE_OPTIONS:
        axes = _numbers(flat, table, 0, "<i4")
        return {0: axes} if len(axes) else {}
    return CopiedTable.read(flat, table)


def _names(flat: FlatbufferReader, table: int, field: int):
    """`(tensor, name)` of the inputs or outputs of a signature."""
    for entry in flat.tables(table, field):
        yield _number(flat, entry, 1, "<I", 0), flat.content(entry, 0).decode()


def _number(flat: FlatbufferReader, table: int, field: int, form: str, default):
    slot = flat.slot(table, field)
    return default if slot is None else flat.number(form, slot)


def _numbers(flat: FlatbufferReader, table: int, field: int, form: str) -> np.ndarray:
    dtype = np.dtype(form)
    start, length = flat.vector(table, field, dtype.itemsize)
    return np.array(np.frombuffer(flat.data, dtype, length, start) if length else [], dtype)
