"""Rewrites converted .tflite files: short names, shared data, integer inputs and outputs."""

import collections
import copy
from collections.abc import Mapping, Sequence

import numpy as np

from keras_seqpar.mobile.format import schema
from keras_seqpar.mobile.format.schema import builtin_code, pack, unpack
from keras_seqpar.mobile.runtime.checks.checksum import CHECKSUM, UNKNOWN
from keras_seqpar.mobile.runtime.reading import METADATA

_MIN_RUNTIME = b"min_runtime_version"


def rewrite(
    content: bytes,
    *,
    outputs: Sequence[str] | None = None,
    description: str,
    metadata: bytes | None = None,
    ends: tuple[str, str] | None = None,
) -> tuple[bytes, dict[str, int]]:
    """Renames and shrinks a model; what it computes stays the same, bit for bit.

    The new file has a place for its SHA-256, which `files.seal` fills before it is written.

    A small network with many branches has hundreds of tensors, and their names and scales take as
    much space as the weights. So names get short: the converter's are paths of 100 characters, of
    which the layer's name stays. And equal vectors are written once: the per-channel weights and
    biases of int8 files have one zero point of 8 bytes per channel, all of them 0. Measured on a
    ResNet-50 PHL of width 0.25 with 10 branches, int8: 1,707,480 bytes before, 1,454,032 after
    (its float32 file: 5,047,152).

    Args:
        content: a model with one signature.
        outputs: names for the outputs, in the order of the network's outputs; `None` keeps the
            names of a model that was rewritten before.
        description: stored as the model's description.
        metadata: stored as TFLite metadata (`metadata.py`); `None` keeps what is there.
        ends: dtypes of images and scores (`integer_ends`); `None` keeps them.

    Returns:
        The new file, and how often it uses each operation.

    Raises:
        ValueError: the model needs operations that are not built into TFLite.
    """
    model = unpack(content)
    used = operations(model)
    if outputs is not None:
        _rename(model, outputs)
    if ends is not None:
        integer_ends(model, *ends)
    model.description = description.encode()
    if metadata is not None:
        _store(model, METADATA, metadata)
    _store(model, CHECKSUM, UNKNOWN)
    return pack(model, share=True), used


def merge(
    contents: Mapping[str, bytes], *, description: str, metadata: bytes
) -> tuple[bytes, dict[str, int]]:
    """Joins models into one file that stores what they have in common once.

    The new file has a place for its SHA-256, as in `rewrite`.

    Args:
        contents: key of the signature that a model becomes -> the model, of one graph and one
            signature; the first becomes the main graph.
        description: stored as the model's description.
        metadata: stored as TFLite metadata.

    Returns:
        The new file, and how often it uses each operation.
    """
    joined = schema.ModelT(version=3)
    joined.operatorCodes, joined.subgraphs, joined.signatureDefs = [], [], []
    joined.buffers, joined.metadata = [schema.BufferT()], []
    joined.description = description.encode()
    codes: dict[tuple, int] = {}
    numbers = {b"": 0}  # content of a buffer -> its number
    oldest = b""

    def add_buffer(buffer: schema.BufferT) -> int:
        data = b"" if buffer.data is None else np.asarray(buffer.data, "uint8").tobytes()
        if data not in numbers:
            numbers[data] = len(joined.buffers)
            joined.buffers.append(schema.BufferT(data=np.frombuffer(data, "uint8")))
        return numbers[data]

    for key, content in contents.items():
        model = unpack(content)
        for entry in model.metadata or []:
            if entry.name == _MIN_RUNTIME:
                version = bytes(model.buffers[entry.buffer].data)
                oldest = max(oldest, version, key=_version)
        (graph,), (signature,) = model.subgraphs, model.signatureDefs
        for tensor in graph.tensors:
            tensor.buffer = add_buffer(model.buffers[tensor.buffer])
        for op in graph.operators:
            code = model.operatorCodes[op.opcodeIndex]
            same = (code.deprecatedBuiltinCode, code.builtinCode, code.customCode, code.version)
            if same not in codes:
                codes[same] = len(joined.operatorCodes)
                joined.operatorCodes.append(code)
            op.opcodeIndex = codes[same]
        graph.name = signature.signatureKey = key.encode()
        signature.subgraphIndex = len(joined.subgraphs)
        joined.subgraphs.append(graph)
        joined.signatureDefs.append(signature)
    if oldest:
        _store(joined, _MIN_RUNTIME, oldest)
    _store(joined, METADATA, metadata)
    _store(joined, CHECKSUM, UNKNOWN)
    return pack(joined, share=True), operations(joined)


def _version(text: bytes) -> tuple[int, ...]:
    """`1.14.0` and zeros after it -> (1, 14, 0)."""
    return tuple(int(part) for part in text.rstrip(b"\0").split(b".") if part.isdigit())


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
    names = schema.operator_names()
    codes = [builtin_code(code) for code in model.operatorCodes]
    if custom := [
        (op.customCode or b"CUSTOM").decode()
        for op, code in zip(model.operatorCodes, codes, strict=True)
        if op.customCode or code == schema.BuiltinOperator.CUSTOM
    ]:
        raise ValueError(
            f"The network needs operations that are not built into TFLite: {', '.join(custom)}."
        )
    used = collections.Counter(
        names[codes[op.opcodeIndex]] for graph in model.subgraphs for op in graph.operators
    )
    return dict(used.most_common())


def inline(content: bytes) -> bytes:
    """Moves weights that are stored after the flatbuffer into it.

    litert-quantizer writes them there (`Buffer.offset` of schema.fbs). Unpacking and packing such
    a model would lose them without an error.

    Args:
        content: a model.

    Returns:
        The same model; every buffer holds its data.
    """
    model = unpack(content)
    for buffer in model.buffers:
        if buffer.offset > 1:  # 0 and 1: no data after the flatbuffer
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(content[buffer.offset : end], "uint8")
            buffer.offset = buffer.size = 0
    return pack(model)


def integer_ends(model: schema.ModelT, input_dtype: str, output_dtype: str) -> None:
    """Makes a model take integer images or give integer scores, in place.

    A first operation quantizes the image and a last one scales the scores back to floats. They are
    changed to convert integers of one dtype to those of another.

    Args:
        model: an int8 model that takes and gives floats, named `image` and `scores`.
        input_dtype: dtype of the images.
        output_dtype: dtype of the scores.

    Raises:
        ValueError: images or scores are floats inside as well.
    """
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    codes = [builtin_code(code) for code in model.operatorCodes]
    quantize, dequantize = schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE
    ends = [(signature.inputs, "image", input_dtype), (signature.outputs, "scores", output_dtype)]
    for entries, name, dtype in ends:
        if dtype == "float32":
            continue
        (index,) = (entry.tensorIndex for entry in entries if entry.name == name.encode())
        first = name == "image"
        users = [op for op in graph.operators if index in (op.inputs if first else op.outputs)]
        wanted = quantize if first else dequantize
        if not users or any(codes[op.opcodeIndex] != wanted for op in users):
            raise ValueError(
                f"The {name} of this network stay floats inside the file, so they cannot be "
                f"{dtype}. Take float32."
            )
        op = users[0]
        inner = graph.tensors[(op.outputs if first else op.inputs)[0]]
        end = graph.tensors[index]
        end.quantization = copy.deepcopy(inner.quantization)
        shift = 128 if dtype == "uint8" else 0
        end.quantization.zeroPoint = np.asarray(end.quantization.zeroPoint, "int64") + shift
        end.type = schema.TensorType.UINT8 if dtype == "uint8" else schema.TensorType.INT8
        if not first:
            if quantize not in codes:
                raise ValueError("The file quantizes nothing, so its scores are floats.")
            op.opcodeIndex = codes.index(quantize)
            op.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
            op.builtinOptions = schema.QuantizeOptionsT()


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
    # Images first, then gains, whatever order the converter chose.
    graph.inputs = sorted(graph.inputs, key=lambda i: graph.tensors[i].name != b"image")


def _store(model: schema.ModelT, name: bytes, data: bytes) -> None:
    """Stores data under a name, in place of what has that name."""
    buffer = schema.BufferT(data=np.frombuffer(data, "uint8"))
    for entry in model.metadata or []:
        if entry.name == name:
            model.buffers[entry.buffer] = buffer
            return
    entry = schema.MetadataT(name=name, buffer=len(model.buffers))
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]


def without_ranges(content: bytes) -> bytes:
    """Removes the calibrated ranges of all tensors that only the second output needs.

    Args:
        content: a calibrated model of two outputs.

    Returns:
        The same model; tensors without a range stay floats when it is quantized.
    """
    model = unpack(content)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    inputs_of = {index: op.inputs for op in graph.operators for index in op.outputs}

    def needed(index: int) -> set[int]:
        found, waiting = set(), [index]
        while waiting:
            index = waiting.pop()
            if index >= 0 and index not in found:  # -1: an optional input that is not there
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
