"""Makes a .tflite file of some operations of a graph."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader
from keras_seqpar.mobile.runtime.flatbuffer_writer import CopiedTable, Scalar, write
from keras_seqpar.selective.litert_engine.graph import RESHAPE_OPTIONS, read_buffer
from keras_seqpar.selective.litert_engine.operations import VALID
from keras_seqpar.selective.litert_engine.tables import Graph, Operation, Tensor
from keras_seqpar.selective.planning.effects import Transposed
from keras_seqpar.selective.planning.plan import CropRun, Plan, WholeRun

_WINDOWED = ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D")


def of_crop_run(plan: Plan, run: CropRun, grid: tuple[int, int]) -> bytes:
    """The file of a run on crops: windows do not pad, and sources are inputs of their own.

    Its shapes are those for `grid` rows and columns of outputs: the whole grid where maps grow.
    """
    file, graph = _File(plan.graph), plan.graph
    places = [file.add(graph.tensors[x.reader], shape_of_crop(plan, x, grid)) for x in run.sources]
    crops: set[int] = set()
    for number in run.operations if grid != run.grid else ():
        operation = graph.operations[number]
        reads = any((number, place) in run.reads for place in range(len(operation.inputs)))
        if reads or crops.intersection(operation.inputs):
            crops.update(operation.outputs)
            for i in operation.outputs:
                file.add(graph.tensors[i], _part_shape(graph.tensors[i], *grid), number=i)
    file.inputs = [*places, *(file.number(i) for i in run.vectors)]
    for number in run.operations:
        read = {place: i for (reader, place), i in run.reads.items() if reader == number}
        grows = any(isinstance(run.sources[i].rows, Transposed) for i in read.values())
        file.append(number, {place: places[i] for place, i in read.items()}, valid=not grows)
    return file.content([file.number(i) for i in run.outputs])


def of_everything(plan: Plan) -> tuple[bytes, Plan]:
    """The file that makes all stored maps.

    Returns:
        The file, and the plan with its constants in the bytes of this file, so that those of the
        file that was read can go.
    """
    file, run = _File(plan.graph), plan.full
    content = file.of_operations(run.operations, run.inputs, run.outputs)
    return content, dataclasses.replace(plan, graph=file.moved(content))


def of_whole_run(plan: Plan, run: WholeRun) -> bytes:
    """The file of a run on whole maps."""
    return _File(plan.graph).of_operations(run.operations, run.inputs, run.outputs)


def of_square(graph: Graph, number: int, side: int, scale: int) -> bytes:
    """The file of an operation that enlarges a square, as many times as it enlarges its map."""
    operation, tensors = graph.operations[number], list(graph.tensors)
    source, size = operation.inputs
    output = operation.outputs[0]
    for i, n in ((source, side), (output, scale * side)):
        tensors[i] = dataclasses.replace(tensors[i], shape=(1, n, n, tensors[i].shape[3]))
    values = memoryview(np.array([scale * side] * 2, "int32").tobytes())
    tensors[size] = dataclasses.replace(tensors[size], data=values)
    square = dataclasses.replace(graph, tensors=tuple(tensors))
    return _File(square).of_operations([number], [source], [output])


def shape_of_crop(plan: Plan, source, grid: tuple[int, int]) -> tuple[int, ...]:
    """The shape that a run reads of a source for outputs of a size."""
    rows, cols = source.rows.length(grid[0]), source.cols.length(grid[1])
    return _part_shape(plan.graph.tensors[source.reader], rows, cols)


def _part_shape(tensor: Tensor, rows: int, cols: int) -> tuple[int, ...]:
    """The shape of some rows and columns of a map, as the file shapes maps."""
    rank, channels = len(tensor.shape), tensor.map_shape[-1]
    if tensor.positions is not None:
        return (1, rows, cols * channels)[-rank:]
    return (1, rows, cols, channels)[-rank:]


class _File:
    """A .tflite file of one graph, built tensor by tensor."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.inputs: list[int] = []
        self._numbers: dict[int, int] = {}  # number in the graph -> number here
        self._codes: dict[int, int] = {}
        self._tensors: list[dict] = []
        self._operations: list[dict] = []
        self._buffers: list[dict] = [{}]  # the first one is empty

    def add(self, tensor: Tensor, shape: Sequence[int], data=None, number: int = -1) -> int:
        """Adds a tensor, perhaps that of a number in the graph, and returns its number here."""
        fields: dict[int, Any] = {
            0: np.array(shape, "<i4"),
            1: Scalar("<b", tensor.type),
            # Converters repeat names, but interpreters tell inputs and outputs apart by them.
            3: f"{tensor.name}:{len(self._tensors)}".encode(),
        }
        if data is not None:
            fields[2] = Scalar("<I", len(self._buffers))
            self._buffers.append({0: np.frombuffer(data, "uint8")})
        if len(tensor.scales) or len(tensor.zeros):
            fields[4] = {2: tensor.scales, 3: tensor.zeros, 6: Scalar("<i", tensor.axis)}
        self._tensors.append(fields)
        if number >= 0:
            self._numbers[number] = len(self._tensors) - 1
        return len(self._tensors) - 1

    def number(self, i: int) -> int:
        """The number of a tensor of the graph, which is added where it is not there yet."""
        if i < 0:
            return -1
        if i not in self._numbers:
            tensor = self.graph.tensors[i]
            self.add(tensor, tensor.shape, tensor.data, i)
        return self._numbers[i]

    def append(self, number: int, replaced: Mapping[int, int], *, valid: bool = False) -> None:
        """Adds an operation.

        Args:
            number: its number in the graph.
            replaced: place among its inputs -> number here of what it reads there instead.
            valid: its windows do not pad.
        """
        operation = self.graph.operations[number]
        inputs = [
            replaced[place] if place in replaced else self.number(i)
            for place, i in enumerate(operation.inputs)
        ]
        fields: dict[int, Any] = {
            0: Scalar("<I", self._codes.setdefault(operation.code, len(self._codes))),
            1: np.array(inputs, "<i4"),
            2: np.array([self.number(i) for i in operation.outputs], "<i4"),
        }
        if operation.options is not None:
            fields[3] = Scalar("<B", operation.options_type)
            fields[4] = self._options(operation, valid)
        if operation.custom:
            fields[5] = np.frombuffer(operation.custom, "uint8")
        self._operations.append(fields)

    def _options(self, operation: Operation, valid: bool):
        options = operation.options
        if operation.options_type == RESHAPE_OPTIONS:
            return {0: np.array(self.graph.tensors[operation.outputs[0]].shape, "<i4")}
        if valid and operation.name in _WINDOWED and isinstance(options, CopiedTable):
            return options.with_byte(0, VALID)
        return options

    def of_operations(
        self, operations: Iterable[int], inputs: Iterable[int], outputs: Iterable[int]
    ) -> bytes:
        """The file of some operations, by their numbers and those of its inputs and outputs."""
        self.inputs = [self.number(i) for i in inputs]
        for number in operations:
            self.append(number, {})
        return self.content([self.number(i) for i in outputs])

    def moved(self, content: bytes) -> Graph:
        """The graph with its constants in the bytes of this file."""
        flat = FlatbufferReader(content)
        buffers = flat.tables(flat.root, 4)

        def data(i: int, tensor: Tensor):
            fields = self._tensors[self._numbers[i]] if i in self._numbers else {}
            if 2 in fields:
                return read_buffer(flat, buffers[fields[2].value])
            return None if tensor.data is None else memoryview(bytes(tensor.data))

        tensors = enumerate(self.graph.tensors)
        moved = (dataclasses.replace(x, data=data(i, x)) for i, x in tensors)
        return dataclasses.replace(self.graph, tensors=tuple(moved))

    def content(self, outputs: Sequence[int]) -> bytes:
        """The file."""
        codes = [self.graph.codes[i] for i in self._codes]
        graph = {
            0: self._tensors,
            1: np.array(self.inputs, "<i4"),
            2: np.array(outputs, "<i4"),
            3: self._operations,
            4: b"main",
        }
        model = {
            0: Scalar("<I", 3),
            1: [
                {
                    0: Scalar("<b", min(code.builtin, 127)),
                    **({1: code.custom} if code.custom else {}),
                    2: Scalar("<i", code.version),
                    3: Scalar("<i", code.builtin),
                }
                for code in codes
            ],
            2: [graph],
            3: b"run of a stream",
            4: self._buffers,
        }
        return write(model, b"TFL3")
