"""Makes a .tflite file of some operations of a graph."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.litert_engine.flatbuffer_writer import CopiedTable, Scalar, write
from keras_seqpar.selective.litert_engine.graph import (
    RESHAPE_OPTIONS,
    SQUEEZE_OPTIONS,
    Graph,
    Operation,
    Tensor,
)
from keras_seqpar.selective.litert_engine.operations import VALID
from keras_seqpar.selective.planning import graph as planning
from keras_seqpar.selective.planning.axes import Transposed
from keras_seqpar.selective.planning.plan import CropRun, Plan, WholeRun

_WINDOWED = ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D")


def of_crop_run(plan: Plan, run: CropRun) -> bytes:
    """The file of a run on crops: windows do not pad, and sources are inputs of their own.

    Its shapes are those of the whole grid.
    """
    file = _File(plan.graph)
    places = []
    for source in run.sources:
        tensor = plan.graph.tensors[source.reader]
        places.append(file.add(tensor, shape_of_crop(plan, source, run.grid)))
    file.inputs = [*places, *(file.number(i) for i in run.vectors)]
    grown = {
        number
        for (number, _), i in run.reads.items()
        if isinstance(run.sources[i].rows, Transposed)
    }
    for number in run.operations:
        replaced = {
            place: places[i] for (reader, place), i in run.reads.items() if reader == number
        }
        file.append(number, replaced, valid=number not in grown)
    return file.content([file.number(i) for i in run.outputs])


def of_whole_run(plan: Plan, run: WholeRun) -> bytes:
    """The file of a run on whole maps."""
    return of_operations(plan.graph, run.operations, run.inputs, run.outputs)


def of_operations(
    graph: Graph, operations: Iterable[int], inputs: Iterable[int], outputs: Iterable[int]
) -> bytes:
    """The file of some operations.

    Args:
        graph: their graph.
        operations: their numbers, in order.
        inputs: numbers of the tensors that they read.
        outputs: numbers of the tensors that they give.
    """
    file = _File(graph)
    file.inputs = [file.number(i) for i in inputs]
    for number in operations:
        file.append(number, {})
    return file.content([file.number(i) for i in outputs])


def shape_of_crop(plan: Plan, source, grid: tuple[int, int]) -> tuple[int, ...]:
    """The shape that a run reads of a source for outputs of a size."""
    rows, cols = source.rows.length(grid[0]), source.cols.length(grid[1])
    return shape_of_part(plan.graph.tensors[source.reader], rows, cols)


def shape_of_part(tensor: planning.Tensor, rows: int, cols: int) -> tuple[int, ...]:
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

    def add(self, tensor: Tensor, shape: Sequence[int], data=None) -> int:
        """Adds a tensor and returns its number."""
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
        return len(self._tensors) - 1

    def number(self, i: int) -> int:
        """The number of a tensor of the graph, which is added where it is not there yet."""
        if i < 0:
            return -1
        if i not in self._numbers:
            tensor = self.graph.tensors[i]
            self._numbers[i] = self.add(tensor, tensor.shape, tensor.data)
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
        assert operation.options is not None
        reader = operation.reader
        if operation.options_type == RESHAPE_OPTIONS:
            return {0: np.array(self.graph.tensors[operation.outputs[0]].shape, "<i4")}
        if operation.options_type == SQUEEZE_OPTIONS:
            start, length = reader.vector(operation.options, 0, 4)
            return {0: np.frombuffer(reader.data, "<i4", length, start)} if length else {}
        options = CopiedTable.read(reader, operation.options)
        if valid and operation.name in _WINDOWED:
            return options.with_byte(0, VALID)
        return options

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
