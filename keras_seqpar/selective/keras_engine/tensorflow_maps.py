"""Stored maps in TensorFlow: variables, which are read by gathering and changed by scattering rows.

A run is one graph per mode, traced once for changes of any size. Variables are arguments of the
graph, so that all streams of a network share it. After a sparse write, reading a full variable
copies it, so full variables are read only where all of their rows are needed.

The three files `*_maps.py` define the same functions, one file per backend.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

# oneDNN's matrix products order the weights in one way up to the first and from the second number
# of rows, and in another way in between; see `size_class`.
_FEW_ROWS, _MANY_ROWS = 4, 96

# Control flow, and calls of functions that may contain control flow.
_CONTROL_FLOW = ("Case", "If", "PartitionedCall", "StatefulPartitionedCall", "StatelessCase",
                 "StatelessIf", "StatelessWhile", "While")  # fmt: skip

COMPILES_EACH_SIZE = False  # whether a mode compiles again for every size of a change


def new(array):
    """A buffer for a stored map, from an array."""
    return tf.Variable(array, trainable=False)


def numpy(buffer):
    """A buffer as an array."""
    return buffer.numpy()


def wait(buffers) -> None:
    """Waits until buffers are computed; here they always are."""


def size_class(count: int, limit: int, kind: str) -> int:
    """Rounds a number up to a size class.

    oneDNN prepares a convolution or matrix product anew for every size that it has not seen
    recently. This takes longer than a small convolution itself (0.6 ms against 0.5 ms for a 3x3
    kernel with 64 channels on 12x12 positions, 2 cores). So there are 16 sizes per power of two:
    with 8 sizes ResNet-50 at 512 pixels took 2 to 3 % longer, with 32 as long. There are 4 for
    crops, since segmentation networks are small, and preparing new sizes takes most of the time.

    Lists of more than 4 positions are padded to at least 96. For fewer rows, oneDNN's matrix
    products need the weights in another order. A graph keeps them in the order of its first call,
    and calls that need the other order reorder them every time (512 x 2048 weights and 160 rows:
    1.8 ms instead of 1.3 ms, 2 cores).

    Args:
        count: number of positions, of tiles, or of rows or columns of a rectangle or crop.
        limit: the largest result.
        kind: `"positions"`, `"tiles"`, `"sides"` (of a rectangle) or `"crops"` (sides of a crop).
    """
    if kind == "positions" and limit >= _MANY_ROWS and count > _FEW_ROWS:
        count = max(count, _MANY_ROWS)
    step = 1 << max(count.bit_length() - (3 if kind == "crops" else 5), 0)
    return min(-(-count // step) * step, limit)


def take(table, index):
    """Gathers rows of a tensor."""
    return tf.gather(table, index)


def read(buffer, index, channels: int):
    """Gathers rows of a buffer."""
    rows = tf.raw_ops.ResourceGather(resource=buffer, indices=index, dtype=tf.float32)
    return tf.ensure_shape(rows, (None, channels))


def read_all(buffer, channels: int):
    """All rows of a buffer."""
    rows = tf.raw_ops.ReadVariableOp(resource=buffer, dtype=tf.float32)
    return tf.ensure_shape(rows, (None, channels))


def write(buffer, index, rows):
    """Scatters rows into a buffer and returns the buffer."""
    tf.raw_ops.ResourceScatterUpdate(resource=buffer, indices=index, updates=rows)
    return buffer


def replace(buffer, rows):
    """Replaces all rows of a buffer, border included, and returns the buffer."""
    tf.raw_ops.AssignVariableOp(resource=buffer, value=rows)
    return buffer


class Runner:
    """Computes the runs of an engine with one graph per run and mode."""

    def __init__(self, engine):
        self._engine = engine
        self._operations: dict[tuple, Callable] = {}
        self.traces = 0

    def __call__(self, index, mode, regions, block, extras, buffers, limit):
        """Computes a run; see `Engine.compute_steps`."""
        key = index, mode, limit is None
        if key not in self._operations:
            self._operations[key] = _operation(self._trace(*key))
        flat = [x for pair in regions for x in pair]
        sizes = np.array([len(x) for x in flat], np.int32)
        arrays = [np.concatenate([*flat, sizes]), *([block] if index == 0 else []), *extras]
        arrays += [] if limit is None else [np.asarray(limit, np.float32)]
        handles = [buffers[i].handle for i in self._engine.used_buffers[index]]
        return self._operations[key]([*arrays, *handles]), buffers

    def _trace(self, index, mode, exact):
        engine = self._engine
        shapes, (frame, *others) = engine.program.shapes, engine.program.inputs
        count = 0 if mode == "dense" else 2 * len(engine.runs[index].maps)
        size = shapes[frame][:2] if mode == "dense" else (None, None)
        signature = [
            tf.TensorSpec([None], tf.int32),
            *([tf.TensorSpec([None, *size, shapes[frame][2]], tf.float32)] if index == 0 else []),
            *(tf.TensorSpec([1, *shapes[i]], tf.float32) for i in others),
            *([] if exact else [tf.TensorSpec([], tf.float32)]),
            *(tf.TensorSpec([], tf.resource) for _ in engine.used_buffers[index]),
        ]

        @tf.function(autograph=False)
        def run(flat, *rest):
            self.traces += 1
            left = iter(rest)  # in the order of the signature
            block = next(left) if index == 0 else None
            extras = [next(left) for _ in others]
            limit = None if exact else next(left)
            regions = []
            if count:
                parts = tf.split(flat[:-count], flat[-count:], num=count)
                regions = list(zip(parts[::2], parts[1::2], strict=True))
            buffers = dict(zip(engine.used_buffers[index], left, strict=True))
            results, _ = engine.compute_steps(
                index, mode, regions, block, extras, buffers, limit, engine.do_step
            )
            return results

        return run.get_concrete_function(*signature)


class DenseRunner:
    """Runs a full network on images of any size with one graph; see `DensePath`."""

    def __init__(self, compute, channels: int):
        self._compute, self._channels = compute, channels
        self.traces = 0

    def __call__(self, image):
        """Runs the network on an image `(1, height, width, channels)`."""
        return self._operation([image])[0]

    @functools.cached_property
    def _operation(self):
        @tf.function(autograph=False)
        def run(image):
            self.traces += 1
            return self._compute(image)

        signature = tf.TensorSpec([1, None, None, self._channels], tf.float32)
        return _operation(run.get_concrete_function(signature))


def _operation(function) -> Callable:
    """A traced function as a function from a list of tensors or arrays to a list of arrays.

    A call of the traced function itself checks every argument again, which takes 0.25 ms (2 cores).
    The operations of the graph are executed one after the other: most of them use all cores
    themselves, and executed in parallel they took 4 % longer (ResNet-50 at 512 pixels, 2 cores).
    The single-threaded executor has no control flow, so graphs with control flow use the default.
    """
    types = [x.dtype for x in function.outputs]
    control_flow = any(op.type in _CONTROL_FLOW for op in function.graph.get_operations())
    executor = "" if control_flow else "SINGLE_THREADED_EXECUTOR"

    def call(tensors):
        results = tf.raw_ops.StatefulPartitionedCall(
            args=[*tensors, *function.captured_inputs],
            Tout=types,
            f=function,
            executor_type=executor,
        )
        return [x.numpy() for x in results]

    return call


def upsample_bilinear(x, factors):
    """Bilinear upsampling. Keras's needs sizes that are known when the graph is traced."""
    return tf.image.resize(x, tf.shape(x)[1:3] * factors, "bilinear")
