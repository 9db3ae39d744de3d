"""Reads the operations and tensors of a .tflite file, without an interpreter."""

import collections
import dataclasses
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader
from keras_seqpar.mobile.runtime.flatbuffer_writer import CopiedTable
from keras_seqpar.mobile.runtime.reading import read_tflite
from keras_seqpar.selective.litert_engine import operations
from keras_seqpar.selective.litert_engine.rearranging import mark_rows, rearranged
from keras_seqpar.selective.litert_engine.tables import (
    OPERATION_NAMES,
    TYPES,
    Graph,
    Operation,
    OperatorCode,
    Tensor,
    refusing_damage,
)
from keras_seqpar.utils.names import unknown_name

# BuiltinOptions that hold more than numbers: LSH and embeddings, handles of resources, buckets.
_NOT_ONLY_NUMBERS = {3, 107, 111, 115}
RESHAPE_OPTIONS, SQUEEZE_OPTIONS, FULLY_CONNECTED_OPTIONS = 17, 30, 8
_LONGEST = 2**16  # rows or columns of a map; more is damage
# Operations that run other graphs of the file, or keep a state of their own between frames.
_STATEFUL = {
    *("CALL", "CALL_ONCE", "IF", "WHILE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"),
    *("LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"),
    *("BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "RANDOM_UNIFORM"),
    *("RANDOM_STANDARD_NORMAL", "MULTINOMIAL", "HASHTABLE", "DELEGATE"),
}


def read_graph(path: str | os.PathLike, signature: str | None = None) -> Graph:
    """Reads a .tflite file.

    Args:
        path: the file.
        signature: key of the signature to read; by default the first.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no .tflite file, has no such signature, or has an operation
            that cannot be moved into a file of its own.
    """
    path = Path(path)
    about = read_tflite(path).about  # follows every table and vector first, and checks the order
    data = path.read_bytes()
    with refusing_damage(path):
        return mark_rows(rearranged(_read(path, data, about, signature)))


def _read(path: Path, data: bytes, about: dict, signature: str | None) -> Graph:
    flat = FlatbufferReader(data)
    codes = tuple(
        OperatorCode(
            max(flat.value("<b", x, 0), flat.value("<i", x, 3)),
            flat.content(x, 1),
            flat.value("<i", x, 2, 1),
        )
        for x in flat.tables(flat.root, 1)
    )
    graphs, buffers = flat.tables(flat.root, 2), flat.tables(flat.root, 4)
    signatures = {flat.content(x, 2).decode(): x for x in flat.tables(flat.root, 7)}
    if signature is not None and signature not in signatures:
        raise ValueError(f"{path.name}: {unknown_name('signature', signature, signatures)}")
    chosen = signature if signature is not None else next(iter(signatures), None)
    table = None if chosen is None else signatures[chosen]
    graph = graphs[0 if table is None else flat.value("<I", table, 4)]
    tensors = _named_apart(_tensor(path, flat, x, buffers) for x in flat.tables(graph, 0))
    ends: list[dict[int, str]] = []
    for field, named in ((1, 0), (2, 1)):  # inputs and outputs of the graph, of the signature
        entries = [] if table is None else flat.tables(table, named)
        names = {flat.value("<I", x, 1): flat.content(x, 0).decode() for x in entries}
        numbers = _numbers(flat, graph, field, "<i4").tolist()
        ends.append({i: names.get(i, tensors[i].name) for i in numbers})
    sha256 = hashlib.sha256(data).hexdigest()
    return Graph(
        tensors=tensors,
        operations=tuple(_operation(path, flat, x, codes) for x in flat.tables(graph, 3)),
        inputs=ends[0],
        outputs=ends[1],
        rules=operations,
        name=path.name,
        fingerprint=sha256 if chosen is None else f"{sha256}:{chosen}",
        path=path,
        sha256=sha256,
        about=about,
        codes=codes,
        signature=chosen,
    )


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


def _tensor(path: Path, flat: FlatbufferReader, table: int, buffers: list[int]) -> Tensor:
    name = flat.content(table, 3).decode("utf-8", "replace")
    shape = tuple(_numbers(flat, table, 0, "<i4").tolist())
    type_, index = flat.value("<b", table, 1), flat.value("<I", table, 2)
    more: dict[str, Any] = {}
    by_blocks, quantization = 0, flat.field(table, 4)
    if quantization is not None:
        more["scales"] = _numbers(flat, quantization, 2, "<f4")
        more["zeros"] = _numbers(flat, quantization, 3, "<i8")
        more["axis"] = flat.value("<i", quantization, 6)
        by_blocks = flat.value("<B", quantization, 4)
    for is_so, problem in (
        (by_blocks, "is quantized by blocks. Quantize it per tensor or per channel."),
        (flat.field(table, 6) is not None, "is sparse. Convert the network without sparsity."),
        (flat.value("<b", table, 5), "is a variable: the network remembers earlier frames."),
    ):
        if is_so:
            raise ValueError(
                f"{path.name} cannot be a stream, because the tensor {name!r} {problem}"
            )
    if len(shape) == 4 and max(shape[1:3]) > _LONGEST:
        raise IndexError
    data = read_buffer(flat, buffers[index]) if index else None
    return Tensor(name, shape, np.dtype(TYPES.get(type_, "V1")), data, type_, **more)


def read_buffer(flat: FlatbufferReader, table: int) -> memoryview | None:
    """The bytes of a constant; large ones may be stored after the flatbuffer."""
    start, length = flat.vector(table, 0, 1)
    if flat.value("<Q", table, 1) > 1:
        start, length = flat.value("<Q", table, 1), flat.value("<Q", table, 2)
    return memoryview(flat.data)[start : start + length] if length else None


def _operation(
    path: Path, flat: FlatbufferReader, table: int, codes: tuple[OperatorCode, ...]
) -> Operation:
    index = flat.value("<I", table, 0)
    code = codes[index]
    name = OPERATION_NAMES[code.builtin] if code.builtin < len(OPERATION_NAMES) else ""
    name = code.custom.decode() if code.custom else name or f"operation {code.builtin}"
    inputs, outputs = (tuple(_numbers(flat, table, f, "<i4").tolist()) for f in (1, 2))
    kind, options = flat.value("<B", table, 3), flat.field(table, 4)
    if (
        name in _STATEFUL
        or kind in _NOT_ONLY_NUMBERS
        or kind > 126
        or flat.field(table, 12) is not None
        or flat.value("<Q", table, 9) > 1
        # of a fully connected layer, in files that are newer than this reader
        or (options is not None and kind == FULLY_CONNECTED_OPTIONS and flat.field(options, 5))
    ):
        raise ValueError(
            f"{path.name}: the operation {name} cannot be part of a stream: it keeps a state, "
            "runs another graph, or has settings that streams cannot copy. Run the file without a "
            "stream."
        )
    copied: CopiedTable | dict | None = None
    if options is not None and kind == RESHAPE_OPTIONS:
        copied = {}  # they repeat the shape of its output
    elif options is not None and kind == SQUEEZE_OPTIONS:
        axes = _numbers(flat, options, 0, "<i4")
        copied = {0: axes} if len(axes) else {}
    elif options is not None:
        copied = CopiedTable.read(flat, options)
    return Operation(name, inputs, outputs, index, kind, copied, flat.content(table, 5))


def _numbers(flat: FlatbufferReader, table: int, field: int, form: str) -> np.ndarray:
    dtype = np.dtype(form)
    start, length = flat.vector(table, field, dtype.itemsize)
    return np.array(np.frombuffer(flat.data, dtype, length, start) if length else [], dtype)
