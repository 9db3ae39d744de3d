"""Finds maps whose rows are stored as one axis: `(1, rows, columns * channels)`.

Files of this package normalize images row by row, because XNNPACK computes along the last axis,
which has only three values in an image.
"""

import dataclasses
from typing import TypeVar

from keras_seqpar.selective.litert_engine.tables import Operation, Tables

SomeTables = TypeVar("SomeTables", bound=Tables)
_ELEMENTWISE = {"ADD", "SUB", "MUL", "DIV", "QUANTIZE", "DEQUANTIZE", "CAST", "RELU", "RELU6"}


def mark_rows(graph: SomeTables) -> SomeTables:
    """The graph with `positions` set for maps of that kind, and for constants that go with them."""
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


def _positions(graph: Tables, operation: Operation, found: dict) -> tuple[int, ...] | None:
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
