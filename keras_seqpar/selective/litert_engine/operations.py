"""What the operations of TFLite do to positions; see `planning.effects`."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from keras_seqpar.selective.litert_engine.tables import Graph, Operation
from keras_seqpar.selective.planning.effects import (
    GLOBAL,
    UNKNOWN,
    Barrier,
    Copied,
    Effect,
    Followed,
    Grown,
    Pointwise,
    Relabeled,
    Transposed,
    Window,
    Windowed,
    copied,
    joined,
    nearest,
    resized,
    windowed,
    windows,
)

SAME, VALID = 0, 1  # Padding of schema.fbs

# One input with positions.
_OF_ONE = {
    *("ABS", "CAST", "DEQUANTIZE", "ELU", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC"),
    *("NEG", "QUANTIZE", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SQRT"),
    *("SQUARE", "TANH", "FLOOR", "CEIL", "ROUND", "LOG", "SIN", "COS", "SIGN"),
}
# Several inputs of which each has positions or one value for all.
_OF_SEVERAL = {
    *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "PRELU", "SQUARED_DIFFERENCE", "ADD_N"),
    *("POW", "FLOOR_DIV", "FLOOR_MOD", "SELECT_V2", "LESS", "LESS_EQUAL", "GREATER"),
    *("GREATER_EQUAL", "EQUAL", "NOT_EQUAL", "LOGICAL_AND", "LOGICAL_OR"),
}
WITH_WEIGHTS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
_OVER_CHANNELS = {"SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION"}
_REDUCTIONS = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"}
Shape = tuple[int, ...]
DYNAMIC_RANGE = "it scales its input by the range of the whole map (dynamic range)"


def effect_of(graph: Graph, operation: Operation) -> Effect:
    """What an operation that reads the frame, or what was made of it, does to positions."""
    if len(operation.outputs) != 1 and operation.name != "SPLIT":
        return Barrier(UNKNOWN)
    name = operation.name
    tensors = [graph.tensors[i] for i in operation.inputs if i >= 0]
    shapes = [x.map_shape for x in tensors if x.data is None or x.positions is None]
    made = graph.tensors[operation.outputs[0]].map_shape
    if not shapes:
        return Barrier(UNKNOWN)
    if not all(graph.tensors[i].is_known for i in (operation.inputs[0], *operation.outputs)):
        return Barrier("its values are of a type that NumPy has not")
    if name == "SHAPE":
        return Barrier("it finds sizes while running; convert the network for a batch of 1")
    if name in _REDUCTIONS:
        return _reduction(graph, operation)
    if name == "RESHAPE":
        return _reshape(tensors[0].map_shape, made)
    by_rows = graph.tensors[operation.outputs[0]].positions is not None
    if any(x.positions for x in tensors) and not by_rows:
        return Barrier("it reads rows as one axis")
    if len(made) != 4 or made[0] != 1 or 0 in made:
        return Barrier("its output is no map of rows, columns and channels")
    if name in _OF_ONE:
        return Pointwise() if shapes[0] == made else Barrier(UNKNOWN)
    if name in _OF_SEVERAL:
        same = all(((1,) * (4 - len(x)) + x)[:3] in (made[:3], (1, 1, 1)) for x in shapes)
        return Pointwise() if same else Barrier("it combines maps of different sizes")
    if name in _OVER_CHANNELS:
        return Pointwise()
    if name == "CONCATENATION":
        axis = graph.option(operation, 0, "<i") % 4
        return Pointwise() if axis == 3 else Barrier("it joins maps along rows or columns")
    if name == "SPLIT":
        axes = graph.constant(operation, 0)
        same = axes is not None and int(axes.ravel()[0]) % 4 == 3
        return Pointwise() if same else Barrier("it splits rows or columns")
    if name not in _RULES or (len(shapes[0]) != 4 and name != "TRANSPOSE_CONV"):
        return Barrier(UNKNOWN)
    effect = _RULES[name](graph, operation, shapes[0], made)
    copies = isinstance(effect, Copied) or (isinstance(effect, Windowed) and effect.pads)
    if copies and not _same_values(graph, operation):
        return Barrier("it scales the values that it copies")
    return effect


def macs_of(graph: Graph, operation: Operation) -> int:
    """Multiply-accumulates of an operation on whole maps; convolutions and dense layers only."""
    if operation.name not in WITH_WEIGHTS:
        return 0
    weights = graph.tensors[operation.inputs[1]].shape
    made = math.prod(graph.tensors[operation.outputs[0]].shape)
    if operation.name == "CONV_2D":
        return made * math.prod(weights[1:])
    if operation.name == "DEPTHWISE_CONV_2D":
        return made * math.prod(weights[1:3])
    if operation.name == "FULLY_CONNECTED":
        return made * weights[-1]
    return math.prod(graph.tensors[operation.inputs[2]].shape[:3]) * math.prod(weights)


def _is_dynamic_range(graph: Graph, operation: Operation) -> bool:
    """Whether an operation quantizes its float input by the range of all its values."""
    data = operation.inputs[2 if operation.name == "TRANSPOSE_CONV" else 0]
    types = [graph.tensors[i].type for i in (data, operation.inputs[1])]
    return types[0] == 0 and types[1] not in (0, 1)  # float values; weights that are no floats


def _same_values(graph: Graph, operation: Operation) -> bool:
    """Whether an operation gives values of the type and the scale that it takes."""
    old, new = (graph.tensors[x[0]] for x in (operation.inputs, operation.outputs))
    return (
        old.type == new.type
        and np.array_equal(old.scales, new.scales)
        and np.array_equal(old.zeros, new.zeros)
    )


def _reduction(graph: Graph, operation: Operation) -> Effect:
    axes = graph.constant(operation, 1)
    rank = len(graph.tensors[operation.inputs[0]].shape)
    over = set() if axes is None else {int(i) % rank for i in axes.ravel()}
    keeps = rank == 4 and over == {3} and graph.option(operation, 0)
    return Pointwise() if keeps else Barrier(GLOBAL)


def _reshape(old: Shape, new: Shape) -> Effect:
    if len(old) == len(new) == 4 and old[:2] == new[:2] == (1, old[1]) and old[2] and new[2]:
        if old[2] % new[2] == 0 or new[2] % old[2] == 0:
            return Relabeled(Window(), joined(old[2], new[2]))
    return Barrier("it puts values at other positions")


def _window(graph: Graph, operation: Operation, old: Shape, new: Shape, kernel, dilation=(1, 1)):
    """Windows along rows and columns, and whether anything is padded; `None` if sizes differ."""
    strides = graph.option(operation, 2, "<i"), graph.option(operation, 1, "<i")
    same = graph.option(operation, 0) == SAME
    found = rows, cols, _ = windows(old, kernel, strides, dilation, same=same)
    for n, made, x in zip(old[1:3], new[1:3], (rows, cols), strict=True):
        read = 1 if same else x.extent  # with padding, one output begins at every stride
        if x.extent < 1 or made != (n - read) // x.stride + 1:
            return None
    return found


def _convolution(graph: Graph, operation: Operation, old: Shape, new: Shape) -> Effect:
    weights = graph.tensors[operation.inputs[1]].shape
    first = 4 if operation.name == "CONV_2D" else 5  # where the options have the dilation
    dilation = graph.option(operation, first + 1, "<i", 1), graph.option(operation, first, "<i", 1)
    found = _window(graph, operation, old, new, weights[1:3], dilation)
    if found is None or _is_dynamic_range(graph, operation):
        return Barrier(UNKNOWN if found is None else DYNAMIC_RANGE)
    rows, cols, padded = found
    return windowed(rows, cols, _zero(graph, operation), padded=padded)


def _zero(graph: Graph, operation: Operation) -> int:
    """The value that stands for 0 in the input of an operation."""
    source = graph.tensors[operation.inputs[0]]
    return 0 if source.dtype.kind == "f" else source.zero


def _pool(graph: Graph, operation: Operation, old: Shape, new: Shape) -> Effect:
    kernel = graph.option(operation, 4, "<i"), graph.option(operation, 3, "<i")
    found = _window(graph, operation, old, new, kernel)
    if found is None:
        return Barrier(UNKNOWN)
    rows, cols, padded = found
    if padded and operation.name == "AVERAGE_POOL_2D":  # means at the border are of fewer values
        if rows.stride != 1 or cols.stride != 1:
            return Followed(rows, cols)
        same = (Transposed(x.extent, 1, x.extent - 1 - x.before, x.before) for x in (rows, cols))
        return Grown(*same)
    dtype = graph.tensors[operation.inputs[0]].dtype
    lowest = -np.inf if dtype.kind == "f" else np.iinfo(dtype).min
    return windowed(rows, cols, float(lowest), padded=padded)


def _pad(graph: Graph, operation: Operation, old: Shape, new: Shape) -> Effect:
    pads = graph.constant(operation, 1)
    if pads is None or pads.shape != (4, 2) or pads.min() < 0:
        return Barrier(UNKNOWN)
    if new != tuple((np.array(old) + pads.sum(1)).tolist()):
        return Barrier(UNKNOWN)
    if operation.name == "MIRROR_PAD":
        if pads[[0, 3]].any():
            return Barrier(UNKNOWN)
        mode: Any = "symmetric" if graph.option(operation, 0) == 1 else "reflect"
        read = [np.pad(np.arange(old[i]), tuple(pads[i].tolist()), mode) for i in (1, 2)]
        return Copied(copied(read[0]), copied(read[1]))
    if pads[0].any():
        return Barrier("it pads the batch")
    if pads[3].any():
        return Barrier("it pads channels and positions") if pads[1:3].any() else Pointwise()
    border: float = _zero(graph, operation)
    if operation.name == "PADV2":
        value = graph.constant(operation, 2)
        if value is None:
            return Barrier(UNKNOWN)
        border = float(value.ravel()[0])
    rows, cols = (Window(before=int(pads[axis, 0])) for axis in (1, 2))
    return Windowed(rows, cols, border, pads=True)


def _resize(graph: Graph, operation: Operation, old: Shape, new: Shape) -> Effect:
    size = graph.constant(operation, 1)
    if size is None:
        return Barrier("the size of its output is computed")
    if tuple(size.tolist()) != new[1:3] or old[3] != new[3]:
        return Barrier(UNKNOWN)
    if operation.name == "RESIZE_BILINEAR":
        corners = bool(graph.option(operation, 2))
        return Followed(*(resized(old[i], new[i], corners=corners) for i in (1, 2)))
    corners, half = (bool(graph.option(operation, field)) for field in (0, 1))
    rows, cols = (nearest(old[i], new[i], corners=corners, half=half) for i in (1, 2))
    return Copied(rows, cols)


def _blocks(graph: Graph, operation: Operation, old: Shape, new: Shape) -> Effect:
    block = graph.option(operation, 0, "<i")
    few, many = (old, new) if operation.name == "DEPTH_TO_SPACE" else (new, old)
    if many[1:3] != (few[1] * block, few[2] * block):
        return Barrier(UNKNOWN)
    if operation.name == "SPACE_TO_DEPTH":
        return Windowed(Window(block, block), Window(block, block), 0, padded=False)
    return Grown(Transposed(block, block), Transposed(block, block))


def _transposed(graph: Graph, operation: Operation, old: Shape, new: Shape) -> Effect:
    if graph.constant(operation, 0) is None:
        return Barrier("the size of its output is computed")
    if _is_dynamic_range(graph, operation):
        return Barrier(DYNAMIC_RANGE)
    weights = graph.tensors[operation.inputs[1]].shape
    old = graph.tensors[operation.inputs[2]].shape
    strides = graph.option(operation, 2, "<i"), graph.option(operation, 1, "<i")
    is_same = graph.option(operation, 0) == SAME
    axes, on_crops = [], True
    for axis in (0, 1):
        extent, stride = weights[1 + axis], strides[axis]
        cut = (old[1 + axis] - 1) * stride + extent - new[1 + axis]
        total = max(cut, 0) if is_same else 0
        on_crops = on_crops and cut == total  # otherwise outputs at the end read nothing
        axes.append(Transposed(extent, stride, total // 2, total - total // 2))
    return Grown(*axes) if on_crops else Followed(*axes)


def _fully_connected(graph: Graph, operation: Operation, old: Shape, new: Shape) -> Effect:
    if _is_dynamic_range(graph, operation):
        return Barrier(DYNAMIC_RANGE)
    return Pointwise() if graph.option(operation, 2) and old[:3] == new[:3] else Barrier(GLOBAL)


def _slice(graph: Graph, operation: Operation, old: Shape, new: Shape) -> Effect:
    parts = _parts(graph, operation)
    if parts is None:
        return Barrier(UNKNOWN)
    read = [np.arange(n)[part] for n, part in zip(old, parts, strict=True)]
    if new != tuple(map(len, read)):
        return Barrier(UNKNOWN)
    rows, cols = (copied(read[i], Fraction(parts[i].step or 1)) for i in (1, 2))
    first, channels = int(read[3][0]), len(read[3])
    if int(read[3][-1]) - first + 1 != channels:
        return Followed(rows, cols)
    return Copied(rows, cols, first)


def _parts(graph: Graph, operation: Operation) -> list[slice] | None:
    """What a slice takes of every axis."""
    begin, last = graph.constant(operation, 1), graph.constant(operation, 2)
    if begin is None or last is None or begin.size != 4 or last.size != 4:
        return None
    if operation.name == "SLICE":
        ends = (None if n < 0 else int(b + n) for b, n in zip(begin, last, strict=True))
        return [slice(int(b), end) for b, end in zip(begin, ends, strict=True)]
    step = graph.constant(operation, 3)
    masks = [graph.option(operation, field, "<i") for field in range(5)]
    if step is None or step.size != 4 or (step < 1).any() or any(masks[2:]):
        return None
    if graph.option(operation, 5):  # ends count from the beginnings
        return None
    return [
        slice(
            None if masks[0] >> i & 1 else int(begin[i]),
            None if masks[1] >> i & 1 else int(last[i]),
            int(step[i]),
        )
        for i in range(4)
    ]


def _gather(graph: Graph, operation: Operation, old: Shape, new: Shape) -> Effect:
    read = graph.constant(operation, 1)
    axis = graph.option(operation, 0, "<i") % 4
    if read is None or read.ndim != 1 or graph.option(operation, 1, "<i"):
        return Barrier(UNKNOWN)
    if new != (*old[:axis], len(read), *old[axis + 1 :]) or read.min() < 0:
        return Barrier(UNKNOWN)
    if axis == 3:
        return Pointwise()
    axes = [np.arange(old[1]), np.arange(old[2])]
    axes[axis - 1] = read.astype(int)
    return Copied(copied(axes[0]), copied(axes[1]))


_RULES = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _convolution),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _pool),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _pad),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
    **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), _blocks),
    **dict.fromkeys(("SLICE", "STRIDED_SLICE"), _slice),
    "TRANSPOSE_CONV": _transposed,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
}
