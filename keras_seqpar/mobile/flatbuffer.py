"""Rewrites a converted .tflite file: stable names, and nothing stored twice.

A flatbuffer as in TensorFlow's schema.fbs, through the classes that LiteRT generates from it.
"""

import collections
from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_seqpar.mobile.reading import METADATA


def rewrite(
    content: bytes,
    *,
    outputs: Sequence[str] | None = None,
    description: str,
    metadata: bytes | None = None,
) -> tuple[bytes, dict[str, int]]:
    """Names and shrinks a model; what it computes stays bit for bit the same.

    Small networks with many branches consist of tensors by the hundred, and what surrounds
    the weights weighs as much as they do. Two things go. Names: the converter's are paths of
    100 characters that say everything twice; the layer's name stays. Zero points: per-channel
    weights and biases carry one 8-byte zero per channel; equal vectors are written once and
    shared, as the format allows. Measured on a ResNet-50 PHL of width 0.25 with 10 branches,
    int8: 1,707,480 bytes before, 1,454,032 after (its float32 file: 5,047,152).

    Args:
        content: a model with one signature.
        outputs: names for the outputs, in the order in which the network gives them; `None` for
            a model that was rewritten before, whose names stay.
        description: stored as the model's description.
        metadata: stored as TFLite metadata (`metadata.py`); `None` keeps what is there.

    Returns:
        The new file, and how often it uses each operation.

    Raises:
        ValueError: the model needs operations that are not built into TFLite.
    """
    model = unpack(content)
    used = operations(model)
    if outputs is not None:
        _rename(model, outputs)
    model.description = description.encode()
    if metadata is not None:
        _store(model, METADATA, metadata)
    builder = _SharingBuilder(len(content) + 1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), used


def operations(model: schema.ModelT) -> dict[str, int]:
    """How often a model uses each operation.

    Args:
        model: any.

    Returns:
        Name of the operation -> count, the most frequent first.

    Raises:
        ValueError: the model needs operations that are not built into TFLite: custom ones, or
            TensorFlow's own ("flex").
    """
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    codes = [max(op.builtinCode, op.deprecatedBuiltinCode) for op in model.operatorCodes]
    if foreign := [
        (op.customCode or b"CUSTOM").decode()
        for op, code in zip(model.operatorCodes, codes, strict=True)
        if op.customCode or code == schema.BuiltinOperator.CUSTOM
    ]:
        raise ValueError(
            f"The network needs operations that are not built into TFLite: {', '.join(foreign)}."
        )
    used = collections.Counter(
        names[codes[op.opcodeIndex]] for graph in model.subgraphs for op in graph.operators
    )
    return dict(used.most_common())


def unpack(content: bytes) -> schema.ModelT:
    """The model as objects."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def pack(model: schema.ModelT) -> bytes:
    """The model as a flatbuffer."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def inline(content: bytes) -> bytes:
    """Moves weights that lie behind the flatbuffer into it.

    ai-edge-quantizer writes them there (`Buffer.offset` of schema.fbs). Whoever unpacks and
    packs such a model drops them, and nothing says so.

    Args:
        content: a model.

    Returns:
        The same model; every buffer holds its data.
    """
    model = unpack(content)
    for buffer in model.buffers:
        if buffer.offset > 1:  # 0 and 1 stand for no data outside
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(content[buffer.offset : end], "uint8")
            buffer.offset = buffer.size = 0
    return pack(model)


def _rename(model: schema.ModelT, outputs: Sequence[str]) -> None:
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    for tensor in graph.tensors:
        tensor.name = _short(tensor.name)
    signature.outputs.sort(key=lambda entry: entry.name)  # output_0, output_1
    for entry, output in zip(signature.outputs, outputs, strict=True):
        entry.name = output.encode()
    graph.outputs = [entry.tensorIndex for entry in signature.outputs]
    for entry in (*signature.inputs, *signature.outputs):
        graph.tensors[entry.tensorIndex].name = entry.name
    # Pictures first, then gains, whatever order the converter chose.
    graph.inputs = sorted(graph.inputs, key=lambda i: graph.tensors[i].name != b"image")


def _store(model: schema.ModelT, name: bytes, data: bytes) -> None:
    """Stores data under a name, in place of what has that name."""
    kept = [entry for entry in model.metadata or [] if entry.name != name]
    entry = schema.MetadataT(name=name, buffer=len(model.buffers))
    model.buffers.append(schema.BufferT(data=np.frombuffer(data, "uint8")))
    model.metadata = [*kept, entry]


def without_ranges(content: bytes) -> bytes:
    """Removes the calibrated ranges of what only the second output needs.

    Args:
        content: a calibrated model of two outputs.

    Returns:
        The same model; what has no range stays in floats when it is quantized.
    """
    model = unpack(content)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    inputs_of = {index: op.inputs for op in graph.operators for index in op.outputs}

    def needed(index: int) -> set[int]:
        found, waiting = set(), [index]
        while waiting:
            index = waiting.pop()
            if index >= 0 and index not in found:  # -1 stands for an input that is left out
                found.add(index)
                waiting.extend(inputs_of.get(index, ()))
        return found

    outputs = sorted(signature.outputs, key=lambda entry: entry.name)  # output_0, output_1
    first, second = (needed(entry.tensorIndex) for entry in outputs)
    for index in second - first:
        graph.tensors[index].quantization = None
    return pack(model)


def _short(name: bytes) -> bytes:
    """`net/branch/layer/Relu;net/branch/...` -> `layer`."""
    path = name.split(b";")[0].split(b"/")
    return path[-2] if len(path) > 1 else path[0]


class _SharingBuilder(flatbuffers.Builder):
    """Writes equal vectors once, and bytes (weights) at multiples of 16."""

    def __init__(self, size: int):
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x):
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            if x.dtype == np.uint8:  # schema.fbs: data:[ubyte] (force_align: 16)
                self.StartVector(1, x.size, 16)
                self.head -= x.size
                self.Bytes[self.head : self.head + x.size] = key[1]
                self.vectorNumElems = x.size
                self._written[key] = self.EndVector()
            else:
                self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]
