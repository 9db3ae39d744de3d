"""Stored maps in TensorFlow: variables, read by gathering rows and changed by scattering them.

A segment is one graph, traced once per mode for frames of any change. Variables come in as
arguments, so that the streams of a network share the graphs. After a sparse write every read of a
whole variable copies it, so that only what is wanted whole is read that way.

Beside `keras_seqpar.mobile`, these three files are the only place with code of one backend.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

_FEW_ROWS, _MANY_ROWS = 4, 96  # up to, and from which products take weights in one order

# Operations that hold such, or may, in functions of their own.
_CONTROL_FLOW = ("Case", "If", "PartitionedCall", "StatefulPartitionedCall", "StatelessCase",
                 "StatelessIf", "StatelessWhile", "While")  # fmt: skip


def new(array):
    """A stored map."""
    return tf.Variable(array, trainable=False)


def numpy(buffer):
    """A stored map as an array."""
    return buffer.numpy()


def wait(buffers) -> None:
    """Returns when stored maps are complete, which they always are."""


def fit(count: int, most: int, of: str) -> int:
    """The size in which so many are computed.

    Sizes come in classes: oneDNN prepares a convolution or product anew for each size that it
    has not seen, or not lately, which takes longer than a small convolution itself (0.6 ms
    against 0.5 ms for 3x3 taps and 64 channels on 12x12 positions; 2 cores). There are 16 to an
    octave: ResNet-50 at 512 pixels took 2 to 3 % longer with 8, and no less with 32. Crops go
    through small networks, where new sizes cost most of the time: there are 4 of them.

    Lists of positions, but the shortest, have at least as many as oneDNN's products of many rows:
    those of fewer want the weights in another order, a graph keeps them in the order that its
    first call wanted, and every call that wants the other one has them reordered (512 x 2048
    weights, 160 rows: 1.8 ms instead of 1.3; 2 cores).

    Args:
        count: of positions, tiles, or rows or columns of rectangles (sides) or crops.
        most: how many there are.
        of: `"positions"`, `"tiles"`, `"sides"` or `"crops"`.
    """
    if of == "positions" and most >= _MANY_ROWS and count > _FEW_ROWS:
        count = max(count, _MANY_ROWS)
    step = 1 << max(count.bit_length() - (3 if of == "crops" else 5), 0)
    return min(-(-count // step) * step, most)


def take(table, index):
    """Rows of a tensor."""
    return tf.gather(table, index)


def read(buffer, index, channels: int):
    """Rows of a stored map."""
    rows = tf.raw_ops.ResourceGather(resource=buffer, indices=index, dtype=tf.float32)
    return tf.ensure_shape(rows, (None, channels))


def read_all(buffer, channels: int):
    """All rows of a stored map."""
    rows = tf.raw_ops.ReadVariableOp(resource=buffer, dtype=tf.float32)
    return tf.ensure_shape(rows, (None, channels))


def write(buffer, index, rows):
    """Puts rows into a stored map."""
    tf.raw_ops.ResourceScatterUpdate(resource=buffer, indices=index, updates=rows)
    return buffer


def replace(buffer, rows):
    """Puts all rows, border included, into a stored map."""
    tf.raw_ops.AssignVariableOp(resource=buffer, value=rows)
    return buffer


class Runner:
    """Segments of an engine, one graph per segment and mode."""

    def __init__(self, engine):
        self._engine = engine
        self._operations: dict[tuple, Callable] = {}
        self.traces = 0

    def __call__(self, index, mode, places, block, extras, buffers, limit):
        """Runs a segment; see `Engine.walk`."""
        key = index, mode, limit is None
        if key not in self._operations:
            self._operations[key] = _operation(self._trace(*key))
        flat = [x for pair in places for x in pair]
        sizes = np.array([len(x) for x in flat], np.int32)
        arrays = [np.concatenate([*flat, sizes]), *([block] if index == 0 else []), *extras]
        arrays += [] if limit is None else [np.asarray(limit, np.float32)]
        handles = [buffers[i].handle for i in self._engine.touched[index]]
        return self._operations[key]([*arrays, *handles]), buffers

    def _trace(self, index, mode, exact):
        engine = self._engine
        shapes, (frame, *others) = engine.program.shapes, engine.program.inputs
        count = 0 if mode == "dense" else 2 * len(engine.segments[index].maps)
        size = shapes[frame][:2] if mode == "dense" else (None, None)
        signature = [
            tf.TensorSpec([None], tf.int32),
            *([tf.TensorSpec([None, *size, shapes[frame][2]], tf.float32)] if index == 0 else []),
            *(tf.TensorSpec([1, *shapes[i]], tf.float32) for i in others),
            *([] if exact else [tf.TensorSpec([], tf.float32)]),
            *(tf.TensorSpec([], tf.resource) for _ in engine.touched[index]),
        ]

        @tf.function(autograph=False)
        def run(flat, *rest):
            self.traces += 1
            left = iter(rest)  # as in the signature
            block = next(left) if index == 0 else None
            extras = [next(left) for _ in others]
            limit = None if exact else next(left)
            places = []
            if count:
                parts = tf.split(flat[:-count], flat[-count:], num=count)
                places = list(zip(parts[::2], parts[1::2], strict=True))
            buffers = dict(zip(engine.touched[index], left, strict=True))
            results, _ = engine.walk(
                index, mode, places, block, extras, buffers, limit, engine.do_step
            )
            return results

        return run.get_concrete_function(*signature)


class Caller:
    """A whole network on images of any size, one graph for all of them; see `whole`."""

    def __init__(self, walk, channels: int):
        self._walk, self._channels = walk, channels
        self.traces = 0

    def __call__(self, image):
        """Runs it on `(1, height, width, channels)`."""
        return self._operation([image])[0]

    @functools.cached_property
    def _operation(self):
        @tf.function(autograph=False)
        def run(image):
            self.traces += 1
            return self._walk(image)

        signature = tf.TensorSpec([1, None, None, self._channels], tf.float32)
        return _operation(run.get_concrete_function(signature))


def _operation(function) -> Callable:
    """A traced function as an operation, from a list of tensors or arrays to a list of arrays.

    Calling the function itself checks every argument anew, which takes 0.25 ms (2 cores). Its
    operations follow each other: most are spread over all cores themselves, and run beside each
    other they took 4 % longer (ResNet-50 at 512 pixels, 2 cores). Loops and conditions cannot be
    run that way.
    """
    types = [x.dtype for x in function.outputs]
    branches = any(op.type in _CONTROL_FLOW for op in function.graph.get_operations())
    executor = "" if branches else "SINGLE_THREADED_EXECUTOR"

    def call(tensors):
        results = tf.raw_ops.StatefulPartitionedCall(
            args=[*tensors, *function.captured_inputs],
            Tout=types,
            f=function,
            executor_type=executor,
        )
        return [x.numpy() for x in results]

    return call


def enlarge(x, factors):
    """Bilinear upsampling; Keras's needs sizes that are known when a graph is made."""
    return tf.image.resize(x, tf.shape(x)[1:3] * factors, "bilinear")
