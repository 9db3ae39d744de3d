"""What operations of a .tflite file need: options, and shapes that follow from each other.

Interpreters trust a file here: a stride of 0 divides by zero, a scale beyond what they expect ends
the process. Numbers are those of `BuiltinOperator` and `BuiltinOptions` in schema.fbs; operations
that are not named here are left to the interpreter.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_seqpar.mobile.runtime.checks.tensors import (
    BOOL,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    TensorFacts,
)
from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader

# Code -> number of the first input that may be missing: biases, and gates of recurrent layers.
OPTIONAL = {3: 2, 4: 2, 9: 2, 67: 3, 132: 2, 141: 3, 16: 1, 27: 3, 44: 1, 46: 1, 52: 1}
OPTIONAL |= {32: 0, 206: 0}  # CUSTOM and STABLEHLO_COMPOSITE: anything
_MOST = 2**15  # of a stride, a window, a block
_SAME = 0  # Padding
Shape = tuple[int, ...]


def check_operation(flat: FlatbufferReader, op) -> None:
    """Checks the options, shapes and scales of an operation.

    Args:
        flat: the model.
        op: a `graphs.Operation`.

    Raises:
        ValueError: an interpreter could not compute it; the message says why.
    """
    known = _CHECKS.get(op.code)
    if known is None:
        return
    name, check = known
    op_name = f"{op.name} ({name})"
    least, most = _INPUTS.get(op.code, (1, 1000))
    if not least <= len(op.inputs) <= most or (len(op.outputs) != 1 and op.code not in _SPLITS):
        raise ValueError(f"{op_name} has {len(op.inputs)} inputs and {len(op.outputs)} outputs")
    if why := _unscaled(op) or check(flat, op):
        raise ValueError(f"{op_name} {why}")


def _unscaled(op) -> str | None:
    """Names a tensor of 8 or 16 bits that arithmetic needs a scale for, and that has none."""
    if op.code not in _ARITHMETIC:
        return None
    for x in (*op.inputs[:2], op.outputs[0]):
        if x is not None and x.type in (INT8, UINT8, INT16) and not len(x.scales):
            return f"computes with {x.name}, which has no scale"
    return None


def _options(flat: FlatbufferReader, op, kind: int, slots: Sequence[int], default: int = 0):
    """Whole numbers of the options, each of which must be from 1 to `_MOST`."""
    if op.options is None or op.options_type != kind:
        return None
    found = [flat.value("<i", op.options, slot, default) for slot in slots]
    return found if all(1 <= value <= _MOST for value in found) else None


def _known(*tensors: TensorFacts) -> bool:
    """Whether all shapes are known before the graph runs."""
    return all(tensor.fixed and (tensor.shape or tensor.data[1]) for tensor in tensors)


def _window(kind: int, stride: int, dilation: int | None, size: int | None) -> Callable:
    """The check of an operation that moves a window over rows and columns.

    Args:
        kind: of its options.
        stride: slot of its horizontal stride in them; the vertical one follows.
        dilation: likewise; `None` without.
        size: slot of the window's width; `None` where the weights have the size.
    """

    def check(flat: FlatbufferReader, op) -> str | None:
        strides = _options(flat, op, kind, (stride, stride + 1))
        dilations, sizes = [1, 1], None
        if dilation is not None:
            dilations = _options(flat, op, kind, (dilation, dilation + 1), default=1)
        x, y = op.inputs[0], op.outputs[0]
        if kind == 2 and x.type == INT8 and len(op.inputs) < 3:
            return "has no bias, which interpreters read without looking"
        if size is not None:
            sizes = _options(flat, op, kind, (size, size + 1))
        else:
            weights = op.inputs[1]
            if len(weights.shape) != 4 or not weights.elements:
                return f"has weights of the shape {weights.shape}"
            sizes = [weights.shape[2], weights.shape[1]]
            channels = weights.shape[0 if kind == 1 else 3]
            if _known(y) and (len(y.shape) != 4 or y.shape[3] != channels):
                return f"has weights {weights.shape} and an output {y.shape}"
            if len(op.inputs) > 2 and (bias := op.inputs[2]) and bias.elements != channels:
                return f"has {bias.elements} biases for {channels} channels"
        if not (strides and dilations and sizes):
            return "has no valid strides, dilations or window"
        if not _known(x, y):
            return None
        if len(x.shape) != 4 or len(y.shape) != 4 or x.shape[0] != y.shape[0]:
            return _shapes(x, y)
        if size is None and not _channels_fit(kind, x.shape[3], weights.shape):
            return f"has weights {weights.shape} for an input {x.shape}"
        if size is not None and x.shape[3] != y.shape[3]:
            return _shapes(x, y)
        same = flat.value("<b", op.options, 0) == _SAME
        for axis, s, d, k in zip((2, 1), strides, dilations, sizes, strict=True):
            reach = 1 if same else (k - 1) * d + 1
            if y.shape[axis] != -(-(x.shape[axis] - reach + 1) // s):
                return _shapes(x, y)
        return None

    return check


def _channels_fit(kind: int, channels: int, weights: Shape) -> bool:
    """Whether weights fit an input: grouped convolutions have fewer channels in a filter."""
    large, small = (channels, weights[3]) if kind == 1 else (weights[3], channels)
    return small > 0 and large % small == 0


def _transposed(flat: FlatbufferReader, op) -> str | None:
    strides = _options(flat, op, 49, (1, 2))
    weights, x, y = op.inputs[1], op.inputs[2], op.outputs[0]
    if not strides or len(weights.shape) != 4 or not weights.elements:
        return "has no valid strides or weights"
    if not _known(x, y):
        return None
    if len(x.shape) != 4 or len(y.shape) != 4 or x.shape[0] != y.shape[0]:
        return _shapes(x, y)
    if (weights.shape[0], weights.shape[3]) != (y.shape[3], x.shape[3]):
        return f"has weights {weights.shape} from {x.shape} to {y.shape}"
    wanted = _constant(flat, op.inputs[0])
    if wanted is not None and tuple(wanted) != y.shape:
        return f"should give {tuple(wanted)}, but its output is {y.shape}"
    same = flat.value("<b", op.options, 0) == _SAME
    for axis, stride in zip((2, 1), strides, strict=True):
        reach = 1 if same else weights.shape[axis]
        if x.shape[axis] != -(-(y.shape[axis] - reach + 1) // stride):
            return _shapes(x, y)
    return None


def _connected(flat: FlatbufferReader, op) -> str | None:
    x, weights, y = op.inputs[0], op.inputs[1], op.outputs[0]
    if op.options is None or op.options_type != 8 or flat.value("<b", op.options, 1):
        return "has options that no converter writes"
    if len(weights.shape) != 2 or not weights.elements:
        return f"has weights of the shape {weights.shape}"
    outputs, inputs = weights.shape
    if len(op.inputs) > 2 and (bias := op.inputs[2]) and bias.elements != outputs:
        return f"has {bias.elements} biases for {outputs} outputs"
    if _known(x) and x.elements % inputs:
        return f"has weights {weights.shape} for an input {x.shape}"
    if _known(x, y) and y.elements != x.elements // inputs * outputs:
        return _shapes(x, y)
    return None


def _elementwise(flat: FlatbufferReader, op) -> str | None:
    """Two inputs of one shape, or of shapes that can be broadcast."""
    a, b, y = op.inputs[0], op.inputs[1], op.outputs[0]
    if not (all(x.fixed for x in (a, b, y)) and _known(y)):
        return None
    rank = max(len(a.shape), len(b.shape))
    first, second = ((1,) * (rank - len(x.shape)) + x.shape for x in (a, b))
    shape = tuple(m if n == 1 else n for m, n in zip(first, second, strict=True))
    fits = all(m == n or 1 in (m, n) for m, n in zip(first, second, strict=True))
    if not fits or math.prod(shape) != y.elements:
        return f"has the inputs {a.shape} and {b.shape} and the output {y.shape}"
    return None


def _comparison(flat: FlatbufferReader, op) -> str | None:
    if op.outputs[0].type != BOOL:
        return f"gives {op.outputs[0].name}, which holds no truth values"
    return _elementwise(flat, op)


def _sum(flat: FlatbufferReader, op) -> str | None:
    """Addition and subtraction, which scale both inputs to the larger scale."""
    scales = [x.scales[0] for x in (*op.inputs[:2], op.outputs[0]) if len(x.scales)]
    if len(scales) == 3 and 2 * max(scales[:2]) >= 2**20 * scales[2]:
        return f"has the scales {scales[:2]}, too large for the scale {scales[2]} of its output"
    return _elementwise(flat, op)


def _unary(flat: FlatbufferReader, op) -> str | None:
    x, y = op.inputs[0], op.outputs[0]
    return _shapes(x, y) if _known(x, y) and x.elements != y.elements else None


def _softmax(flat: FlatbufferReader, op) -> str | None:
    beta = flat.value("<f", op.options, 0) if op.options and op.options_type == 9 else 0.0
    if not (2.0**-20 < beta < 2.0**20):
        return f"has the factor {beta}"
    return _unary(flat, op)


def _joined(flat: FlatbufferReader, op) -> str | None:
    y = op.outputs[0]
    axis = flat.value("<i", op.options, 0) if op.options and op.options_type == 10 else None
    if axis is None:
        return "has no axis"
    if not _known(y, *op.inputs):
        return None
    rank = len(y.shape)
    if not -rank <= axis < rank:
        return f"has the axis {axis} of {rank}"
    axis %= rank
    for x in op.inputs:
        if x.shape[:axis] + x.shape[axis + 1 :] != y.shape[:axis] + y.shape[axis + 1 :]:
            return _shapes(x, y)
    total = sum(x.shape[axis] for x in op.inputs)
    return None if total == y.shape[axis] else f"joins {total} to {y.shape}"


def _padded(flat: FlatbufferReader, op) -> str | None:
    x, y = op.inputs[0], op.outputs[0]
    pads = _constant(flat, op.inputs[1])
    if pads is None or not _known(x, y):
        return None
    if len(pads) != 2 * len(x.shape) or pads.min(initial=0) < 0:
        return f"adds {pads.tolist()} to {x.shape}"
    made = tuple(int(n) + int(sum(p)) for n, p in zip(x.shape, pads.reshape(-1, 2), strict=True))
    return None if made == y.shape else _shapes(x, y)


def _resized(flat: FlatbufferReader, op) -> str | None:
    x, y = op.inputs[0], op.outputs[0]
    size = _constant(flat, op.inputs[1])
    if size is None or not _known(x, y):
        return None
    shapes = len(x.shape) == len(y.shape) == 4 and x.elements and y.elements
    if not shapes or (x.shape[0], *size, x.shape[3]) != y.shape:
        return f"makes {size.tolist()} of {x.shape}, but its output is {y.shape}"
    return None


def _transpose(flat: FlatbufferReader, op) -> str | None:
    x, y = op.inputs[0], op.outputs[0]
    order = _constant(flat, op.inputs[1])
    if order is None or not _known(x, y):
        return None
    if sorted(order) != list(range(len(x.shape))):
        return f"has the order {order.tolist()} for {x.shape}"
    return None if tuple(x.shape[i] for i in order) == y.shape else _shapes(x, y)


def _reduced(flat: FlatbufferReader, op) -> str | None:
    x, y = op.inputs[0], op.outputs[0]
    axes = _constant(flat, op.inputs[1])
    if axes is None or not (_known(x) and y.fixed):
        return None
    rank = len(x.shape)
    if any(not -rank <= axis < rank for axis in axes):
        return f"has the axes {axes.tolist()} of {rank}"
    gone = {int(axis) % rank for axis in axes}
    left = math.prod(n for i, n in enumerate(x.shape) if i not in gone)
    return None if left == y.elements else _shapes(x, y)


def _sliced(flat: FlatbufferReader, op) -> str | None:
    x, y = op.inputs[0], op.outputs[0]
    steps = _constant(flat, op.inputs[3])
    if steps is not None and (len(steps) > len(x.shape) + 4 or not all(steps)):
        return f"has the steps {steps.tolist()}"
    return _shapes(x, y) if _known(x, y) and y.elements > x.elements else None


def _cut(flat: FlatbufferReader, op) -> str | None:
    """SLICE: begins and sizes."""
    x, y = op.inputs[0], op.outputs[0]
    begins, sizes = _constant(flat, op.inputs[1]), _constant(flat, op.inputs[2])
    if begins is None or sizes is None or not _known(x, y):
        return None
    if not len(begins) == len(sizes) == len(x.shape) == len(y.shape):
        return _shapes(x, y)
    for begin, size, n, left in zip(begins, sizes, x.shape, y.shape, strict=True):
        if not (0 <= begin <= n and left == (n - begin if size == -1 else size) <= n - begin):
            return f"cuts {sizes.tolist()} from {begins.tolist()} out of {x.shape}"
    return None


def _split(flat: FlatbufferReader, op) -> str | None:
    kind, slot = _SPLITS[op.code]
    if op.options is None or op.options_type != kind:
        return "has no options"
    if (count := flat.value("<i", op.options, slot)) != len(op.outputs):
        return f"splits into {count}, but has {len(op.outputs)} outputs"
    x = max((x for x in op.inputs if x), key=lambda x: x.elements)
    if not _known(x, *op.outputs):
        return None
    total = sum(y.elements for y in op.outputs)
    return None if total == x.elements else f"splits {x.elements} values into {total}"


def _blocks(kind: int) -> Callable:
    def check(flat: FlatbufferReader, op) -> str | None:
        if not _options(flat, op, kind, (0,)):
            return "has no valid block size"
        return _unary(flat, op)

    return check


def _batches(flat: FlatbufferReader, op) -> str | None:
    size = _constant(flat, op.inputs[1])
    if size is not None and not all(1 <= n <= _MOST for n in size):
        return f"has the block {size.tolist()}"
    return None


def _repeated(flat: FlatbufferReader, op) -> str | None:
    """TILE: how often; BROADCAST_TO and FILL: the new shape."""
    y = op.outputs[0]
    numbers = _constant(flat, op.inputs[0 if op.code == 94 else 1])
    if numbers is None or not y.fixed:
        return None
    made: int = math.prod(map(int, numbers)) * (op.inputs[0].elements if op.code == 69 else 1)
    if min(numbers, default=0) < 0 or made != y.elements:
        return f"makes {made} values for the output {y.shape}"
    return None


def _constant(flat: FlatbufferReader, tensor: TensorFacts) -> np.ndarray | None:
    """The whole numbers of a short constant; `None` where a tensor has other data."""
    start, length = tensor.data
    form = {INT32: "<i4", INT64: "<i8"}.get(tensor.type)
    if form is None or not length or length > 1000:
        return None
    return np.frombuffer(flat.data, form, length // int(form[-1]), start).astype("int64")


def _shapes(x: TensorFacts, y: TensorFacts) -> str:
    return f"cannot make {y.shape} of {x.shape}"


# Code -> kind of options, and the slot in them with the number of outputs.
_SPLITS = {49: (35, 0), 88: (64, 0), 102: (79, 0)}
_ONE, _TWO = (1, 1), (2, 2)
# Code -> least and largest number of inputs.
_INPUTS = {
    **dict.fromkeys((1, 5, 6, 8, 12, 14, 17, 19, 20, 21, 25, 26, 28, 43, 47, 50, 53, 59, 66), _ONE),
    **dict.fromkeys((73, 75, 76, 88, 98, 101, 104, 108, 111, 114, 116, 117, 150, 152), _ONE),
    **dict.fromkeys((0, 18, 23, 34, 39, 40, 41, 42, 49, 54, 55, 57, 58, 61, 62, 63, 69), _TWO),
    **dict.fromkeys((70, 71, 72, 74, 78, 81, 82, 84, 86, 89, 94, 97, 99, 100, 130), _TWO),
    **dict.fromkeys((3, 4, 9), (2, 3)),
    **dict.fromkeys((37, 38, 60, 65, 102), (3, 3)),
    **{22: (1, 2), 45: (4, 5), 67: (3, 4)},
}
# Operations that compute with the scales of their tensors.
_ARITHMETIC = {0, 3, 4, 6, 9, 14, 18, 25, 28, 41, 42, 47, 50, 54, 67, 73, 75, 76, 98, 99, 101, 111}
_ARITHMETIC |= {114, 117, 150}

_CHECKS: dict[int, tuple[str, Callable[[FlatbufferReader, Any], str | None]]] = {
    1: ("AVERAGE_POOL_2D", _window(5, 1, None, 3)),
    2: ("CONCATENATION", _joined),
    3: ("CONV_2D", _window(1, 1, 4, None)),
    4: ("DEPTHWISE_CONV_2D", _window(2, 1, 5, None)),
    5: ("DEPTH_TO_SPACE", _blocks(94)),
    9: ("FULLY_CONNECTED", _connected),
    12: ("L2_POOL_2D", _window(5, 1, None, 3)),
    17: ("MAX_POOL_2D", _window(5, 1, None, 3)),
    25: ("SOFTMAX", _softmax),
    26: ("SPACE_TO_DEPTH", _blocks(19)),
    37: ("BATCH_TO_SPACE_ND", _batches),
    38: ("SPACE_TO_BATCH_ND", _batches),
    39: ("TRANSPOSE", _transpose),
    45: ("STRIDED_SLICE", _sliced),
    67: ("TRANSPOSE_CONV", _transposed),
    **dict.fromkeys((0, 41), ("ADD or SUB", _sum)),
    **dict.fromkeys((18, 42, 55, 57, 78, 99), ("an operation of two inputs", _elementwise)),
    **dict.fromkeys((23, 97), ("a resize", _resized)),
    **dict.fromkeys((34, 60, 100), ("a padding", _padded)),
    **dict.fromkeys((40, 74, 81, 82, 89), ("a reduction", _reduced)),
    **dict.fromkeys((49, 88, 102), ("a split", _split)),
    **dict.fromkeys((58, 61, 62, 63, 71, 72, 84, 86), ("a comparison", _comparison)),
    65: ("SLICE", _cut),
    **dict.fromkeys((69, 94, 130), ("a repetition", _repeated)),
    **dict.fromkeys(
        (
            *(6, 8, 14, 19, 20, 21, 22, 28, 43, 47, 50, 53, 54, 59, 66, 70, 73, 75, 76),
            *(98, 101, 104, 108, 111, 114, 116, 117, 150, 152),
        ),
        ("an operation of one input", _unary),
    ),
}
