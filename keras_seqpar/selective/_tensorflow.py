"""Stored maps in TensorFlow: variables, read by gathering rows and changed by scattering them.

A segment is one graph, traced once per mode for frames of any change. Variables come in as
arguments, so that the streams of a network share the graphs. A sparse write makes the next
read of a whole variable copy it, so whole maps are gathered as well.

Beside `keras_seqpar.mobile`, these three files are the only place with code of one backend.
"""

import functools

import numpy as np
import tensorflow as tf


def new(array):
    """A stored map."""
    return tf.Variable(array, trainable=False)


def numpy(buffer):
    """A stored map as an array."""
    return buffer.numpy()


def fit(count: int, most: int) -> int:
    """The size in which `count` positions, rows, columns or tiles are computed.

    One of four per octave: oneDNN prepares a convolution or product anew for each size that it
    has not seen, or not lately, which takes longer than a small convolution itself (0.6 ms
    against 0.5 ms for 3x3 taps and 64 channels on 12x12 positions; 2 cores).
    """
    step = 1 << max(count.bit_length() - 3, 0)
    return min(-(-count // step) * step, most)


def take(table, index):
    """Rows of a tensor."""
    return tf.gather(table, index)


def read(buffer, index, channels: int):
    """Rows of a stored map."""
    rows = tf.raw_ops.ResourceGather(resource=buffer, indices=index, dtype=tf.float32)
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
        self._functions: dict[tuple, tf.types.experimental.ConcreteFunction] = {}
        self.traces = 0

    def __call__(self, index, mode, places, block, extras, buffers, limit):
        """Runs a segment; see `Engine.walk`."""
        key = index, mode, limit is None
        if key not in self._functions:
            self._functions[key] = self._trace(*key)
        function = self._functions[key]
        flat = [x for pair in places for x in pair]
        sizes = np.array([len(x) for x in flat], np.int32)
        given: list = [np.concatenate([*flat, sizes])]
        given += [block] if index == 0 else []
        given += extras if limit is None else [*extras, np.float32(limit)]
        handles = [buffers[i].handle for i in self._engine.touched[index]]
        return _call(function, [*map(tf.constant, given), *handles]), buffers

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
    """A whole network on pictures of any size, one graph for all of them; see `whole`."""

    def __init__(self, walk, channels: int):
        self._walk, self._channels = walk, channels
        self.traces = 0

    def __call__(self, picture):
        """Runs it on `(1, height, width, channels)`."""
        return _call(self._function, [tf.constant(picture)])[0]

    @functools.cached_property
    def _function(self):
        @tf.function(autograph=False)
        def run(picture):
            self.traces += 1
            return self._walk(picture)

        signature = tf.TensorSpec([1, None, None, self._channels], tf.float32)
        return run.get_concrete_function(signature)


def _call(function, tensors: list) -> list[np.ndarray]:
    """Calls a traced function as an operation.

    Calling the function itself checks every argument anew, which takes 0.25 ms (2 cores).
    """
    results = tf.raw_ops.StatefulPartitionedCall(
        args=[*tensors, *function.captured_inputs],
        Tout=[x.dtype for x in function.outputs],
        f=function,
    )
    return [x.numpy() for x in results]


def enlarge(x, factors):
    """Bilinear upsampling; Keras's needs sizes that are known when a graph is made."""
    return tf.image.resize(x, tf.shape(x)[1:3] * factors, "bilinear")
