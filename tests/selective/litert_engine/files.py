"""Writes small .tflite files operation by operation, and runs them densely.

Written by hand they take no converter, and they have what converters rarely write: every padding,
stride and dilation, zero points that are not 0, operations in odd places.
"""

import json

import numpy as np

from keras_seqpar.mobile.runtime.flatbuffer_writer import Scalar, write
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.selective.litert_engine.tables import OPERATION_NAMES, TYPES

SAME, VALID = 0, 1
NUMBERS = {np.dtype(name): number for number, name in TYPES.items()}


def integer(value):
    return Scalar("<i", int(value))


def byte(value):
    return Scalar("<b", int(value))


class File:
    """A file of one graph. Tensors are numbers; every operation returns that of its output.

    With int8, all maps have the same scale, and weights keep the values' spread about the same.
    """

    SCALE = 0.04

    def __init__(self, shape, kind="float32", seed=0, zero=3):
        self.kind, self.zero = kind, zero
        self.rng = np.random.default_rng(seed)
        self.tensors, self.operations, self.codes = [], [], []
        self.buffers: list[dict] = [{}]
        self.shapes, self.about = [], None
        self.frame = self.tensor(shape)
        self.inputs, self.outputs, self.signature = [self.frame], [], None

    def tensor(self, shape, data=None, quantized=True, scales=None, zero=None, axis=0, dtype=None):
        """Adds a tensor of the file's kind, or the constant `data`."""
        dtype = np.dtype(dtype or (self.kind if data is None else data.dtype))
        fields = {
            0: np.array(shape, "<i4"),
            1: byte(NUMBERS[dtype]),
            3: b"tensor%d" % len(self.tensors),
        }
        if data is not None:
            fields[2] = Scalar("<I", len(self.buffers))
            self.buffers.append({0: np.frombuffer(np.ascontiguousarray(data).tobytes(), "uint8")})
        if quantized and dtype.kind in "iu" and (data is None or scales is not None):
            scales = np.array([self.SCALE] if scales is None else scales, "<f4")
            zeros = np.full(len(scales), self.zero if zero is None else zero, "<i8")
            fields[4] = {2: scales, 3: zeros, 6: integer(axis)}
        self.tensors.append(fields)
        self.shapes.append(tuple(shape))
        return len(self.tensors) - 1

    def integers(self, values):
        """A constant of int32."""
        values = np.array(values, "int32")
        return self.tensor(values.shape, values, quantized=False)

    def add(self, name, inputs, shape, options=None, zero=None, scales=None, **more):
        """Adds an operation with one output of the file's kind."""
        output = self.tensor(shape, zero=zero, scales=scales, **more)
        code = OPERATION_NAMES.index(name)
        if code not in self.codes:
            self.codes.append(code)
        fields = {
            0: Scalar("<I", self.codes.index(code)),
            1: np.array(inputs, "<i4"),
            2: np.array([output], "<i4"),
        }
        if options is not None:
            fields[3], fields[4] = Scalar("<B", options[0]), options[1]
        self.operations.append(fields)
        return output

    def weights(self, shape, axis):
        """Random weights and a bias; `axis` is that of the output channels."""
        fan_in = np.prod(shape) / shape[axis]
        values = self.rng.normal(size=shape) / np.sqrt(fan_in)
        bias = 0.3 * self.rng.normal(size=shape[axis])
        if self.kind == "float32":
            tensors = (self.tensor(x.shape, x.astype("float32")) for x in (values, bias))
            return tuple(tensors)
        others = tuple(i for i in range(len(shape)) if i != axis)
        scales = np.abs(values).max(others) / 127
        per_channel = scales.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        whole = np.round(values / per_channel).astype("int8")
        of_bias = scales * self.SCALE
        bias = np.round(bias / of_bias).astype("int32")
        return (
            self.tensor(shape, whole, scales=scales, zero=0, axis=axis),
            self.tensor(bias.shape, bias, scales=of_bias, zero=0),
        )

    def conv(self, x, channels, kernel=(3, 3), stride=1, padding=SAME, dilation=1, activation=0):
        _, height, width, depth = self.shapes[x]
        weights, bias = self.weights((channels, *kernel, depth), 0)
        size = self.window((height, width), kernel, stride, padding, dilation)
        fields = {0: byte(padding), 1: integer(stride), 2: integer(stride), 3: byte(activation)}
        fields |= {4: integer(dilation), 5: integer(dilation)}
        return self.add("CONV_2D", [x, weights, bias], (1, *size, channels), (1, fields))

    def depthwise(self, x, kernel=(3, 3), stride=1, padding=SAME, dilation=1):
        _, height, width, depth = self.shapes[x]
        weights, bias = self.weights((1, *kernel, depth), 3)
        size = self.window((height, width), kernel, stride, padding, dilation)
        fields = {0: byte(padding), 1: integer(stride), 2: integer(stride), 3: integer(1)}
        fields |= {4: byte(1), 5: integer(dilation), 6: integer(dilation)}
        inputs = [x, weights, bias]
        return self.add("DEPTHWISE_CONV_2D", inputs, (1, *size, depth), (2, fields))

    def pool(self, x, name, kernel=(2, 2), stride=2, padding=SAME):
        _, height, width, depth = self.shapes[x]
        size = self.window((height, width), kernel, stride, padding, 1)
        fields = {0: byte(padding), 1: integer(stride), 2: integer(stride)}
        fields |= {3: integer(kernel[1]), 4: integer(kernel[0])}
        return self.add(name, [x], (1, *size, depth), (5, fields))

    def transposed(self, x, channels, kernel=(3, 3), stride=2, padding=SAME):
        _, height, width, depth = self.shapes[x]
        weights, _ = self.weights((channels, *kernel, depth), 0)
        extra = [k - stride if padding == VALID else 0 for k in kernel]
        size = [n * stride + max(e, 0) for n, e in zip((height, width), extra, strict=True)]
        fields = {0: byte(padding), 1: integer(stride), 2: integer(stride)}
        inputs = [self.integers([1, *size, channels]), weights, x]
        return self.add("TRANSPOSE_CONV", inputs, (1, *size, channels), (49, fields))

    def pad(self, x, rows=(1, 1), cols=(1, 1), mirror=None):
        _, height, width, depth = self.shapes[x]
        pads = self.integers([[0, 0], rows, cols, [0, 0]])
        shape = (1, height + sum(rows), width + sum(cols), depth)
        if mirror is None:
            return self.add("PAD", [x, pads], shape, (22, {}))
        return self.add("MIRROR_PAD", [x, pads], shape, (77, {0: byte(mirror)}))

    def both(self, name, a, b):
        """ADD, SUB or MUL of two tensors."""
        options = {"ADD": 11, "MUL": 21, "SUB": 28}[name]
        shape = np.broadcast_shapes(self.shapes[a], self.shapes[b])
        return self.add(name, [a, b], shape, (options, {}))

    def concatenate(self, *inputs):
        shape = self.shapes[inputs[0]][:3]
        depth = sum(self.shapes[x][3] for x in inputs)
        fields = {0: integer(3), 1: byte(0)}
        return self.add("CONCATENATION", list(inputs), (*shape, depth), (10, fields))

    def unary(self, name, x):
        leaky = {0: Scalar("<f", 0.2)}
        options: dict = {"HARD_SWISH": (91, {}), "GELU": (116, {}), "LEAKY_RELU": (75, leaky)}
        exact = {"LOGISTIC": (-128, 1 / 256), "TANH": (0, 1 / 128)}.get(name, (None, None))
        zero, scale = exact
        scales = None if scale is None else [scale]
        return self.add(name, [x], self.shapes[x], options.get(name), zero=zero, scales=scales)

    def resize(self, x, size, name="RESIZE_BILINEAR", align=0, half=1):
        fields = {2: byte(align), 3: byte(half)}
        options = (
            (15, fields) if name == "RESIZE_BILINEAR" else (74, {0: byte(align), 1: byte(half)})
        )
        return self.add(name, [x, self.integers(size)], (1, *size, self.shapes[x][3]), options)

    def blocks(self, x, name, block=2):
        _, height, width, depth = self.shapes[x]
        if name == "DEPTH_TO_SPACE":
            shape = (1, height * block, width * block, depth // block**2)
            return self.add(name, [x], shape, (94, {0: integer(block)}))
        shape = (1, height // block, width // block, depth * block**2)
        return self.add(name, [x], shape, (19, {0: integer(block)}))

    def reshape(self, x, shape):
        return self.add("RESHAPE", [x, self.integers(shape)], shape, (17, {}))

    def transpose(self, x, order):
        shape = tuple(self.shapes[x][i] for i in order)
        return self.add("TRANSPOSE", [x, self.integers(order)], shape, (26, {}))

    def shuffle(self, x, groups):
        """Channels of groups in turns, as networks of the ShuffleNet kind have it."""
        _, height, width, depth = shape = self.shapes[x]
        x = self.reshape(x, (1, height, width, groups, depth // groups))
        return self.reshape(self.transpose(x, (0, 1, 2, 4, 3)), shape)

    def repeat(self, x, times=2):
        """Every row several times, as Keras writes it."""
        _, height, width, depth = self.shapes[x]
        x = self.reshape(x, (1, height, 1, width, depth))
        shape = (1, height, times, width, depth)
        x = self.add("TILE", [x, self.integers([1, 1, times, 1, 1])], shape)
        return self.reshape(x, (1, height * times, width, depth))

    def part(self, x, start, step, channels):
        """Every `step`-th row and column from `start` on, of the first channels."""
        _, height, width, _ = self.shapes[x]
        rows, cols = (len(range(start, n, step)) for n in (height, width))
        ends = [self.integers(v) for v in ((0, start, start, 0), (1, height, width, channels))]
        inputs = [x, *ends, self.integers((1, step, step, 1))]
        return self.add("STRIDED_SLICE", inputs, (1, rows, cols, channels), (32, {}))

    def mean(self, x, keep=True):
        depth = self.shapes[x][3]
        shape = (1, 1, 1, depth) if keep else (1, depth)
        return self.add("MEAN", [x, self.integers([1, 2])], shape, (27, {0: byte(keep)}))

    def head(self, x, categories=5):
        """Global mean, a fully connected layer and its scores."""
        x = self.mean(x, keep=False)
        weights, bias = self.weights((categories, self.shapes[x][1]), 0)
        return self.add("FULLY_CONNECTED", [x, weights, bias], (1, categories), (8, {}))

    @staticmethod
    def window(size, kernel, stride, padding, dilation):
        extents = [(k - 1) * dilation + 1 for k in kernel]
        if padding == SAME:
            return [-(-n // stride) for n in size]
        return [(n - e) // stride + 1 for n, e in zip(size, extents, strict=True)]

    def content(self):
        """The file; what nothing reads is an output, where none was named."""
        read = {i for x in self.operations for i in x[1].tolist()}
        made = [int(x[2][0]) for x in self.operations]
        outputs = self.outputs or [i for i in made if i not in read]
        graph = {
            0: self.tensors,
            1: np.array(self.inputs, "<i4"),
            2: np.array(outputs, "<i4"),
            3: self.operations,
        }
        model = {
            0: Scalar("<I", 3),
            1: [{0: byte(min(c, 127)), 2: integer(1), 3: integer(c)} for c in self.codes],
            2: [graph],
            3: json.dumps(self.about).encode() if self.about else b"a test",
            4: self.buffers,
        }
        return write(model, b"TFL3")

    def save(self, path):
        path.write_bytes(self.content())
        return path


class Dense:
    """The whole file in an interpreter."""

    def __init__(self, path, threads=1):
        _, engine = find_interpreter()
        self.engine = engine(model_path=str(path), num_threads=threads)
        self.engine.allocate_tensors()
        self.inputs = self.engine.get_input_details()

    def __call__(self, *inputs):
        for detail, x in zip(self.inputs, inputs, strict=True):
            self.engine.set_tensor(detail["index"], x.reshape(detail["shape"]))
        self.engine.invoke()
        return [self.engine.get_tensor(x["index"]).copy() for x in self.engine.get_output_details()]


def noise(shape, kind, rng):
    """Values as frames of a file of this kind have them."""
    values = rng.normal(size=shape)
    if kind == "float32":
        return values.astype("float32")
    return np.clip(np.round(values * 40), -128, 127).astype(kind)


def change(frame, rng, boxes=1, most=0.5):
    """A copy of a frame with new values in boxes at random places."""
    frame = frame.copy()
    for _ in range(boxes):
        sides = [int(rng.integers(1, max(2, int(n * most) + 1))) for n in frame.shape[:2]]
        y, x = (
            int(rng.integers(0, n - s + 1)) for n, s in zip(frame.shape[:2], sides, strict=True)
        )
        part = (slice(y, y + sides[0]), slice(x, x + sides[1]))
        frame[part] = noise((*sides, frame.shape[2]), str(frame.dtype), rng)
    return frame


def outputs_of(result):
    """The outputs of a stream in the order of the file."""
    output = result.output
    return list(output.values()) if isinstance(output, dict) else [output]
