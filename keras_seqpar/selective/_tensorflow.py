"""Stored maps in TensorFlow: variables, read by gathering rows and changed by scattering them.

A segment is one graph, traced once per mode for frames of any change. Variables come in as
arguments, so that the streams of a network share the graphs. A sparse write makes the next
read of a whole variable copy it, so whole maps are gathered as well.

Beside `keras_seqpar.mobile`, these three files are the only place with code of one backend.
"""

import itertools

import numpy as np
import tensorflow as tf

_NONE = np.zeros(0, np.int32)


def new(array):
    """A stored map."""
    return tf.Variable(array, trainable=False)


def numpy(buffer):
    """A stored map as an array."""
    return buffer.numpy()


def fit(count: int, most: int) -> int:
    """The size in which `count` positions are computed: any will do."""
    return count


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
        # Few arguments: TensorFlow checks each of them anew, which together takes milliseconds.
        flat = [x for pair in places for x in pair]
        results = self._functions[key](
            tf.constant(np.concatenate([*flat, _NONE])),
            tf.constant([len(x) for x in flat], tf.int32),
            tf.constant(block),
            tf.stack([buffers[i].handle for i in self._engine.touched[index]]),
            *map(tf.constant, extras if limit is None else [*extras, limit]),
        )
        return [x.numpy() for x in results], buffers

    def _trace(self, index, mode, exact):
        engine = self._engine
        shapes, (frame, *others) = engine.program.shapes, engine.program.inputs
        count = 0 if mode == "dense" else 2 * len(engine.segments[index].maps)
        size = shapes[frame][:2] if mode == "dense" and index == 0 else (None, None)
        signature = [
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([count], tf.int32),
            tf.TensorSpec([None, *size, shapes[frame][2]], tf.float32),
            tf.TensorSpec([len(engine.touched[index])], tf.resource),
            *(tf.TensorSpec([1, *shapes[i]], tf.float32) for i in others),
            *([] if exact else [tf.TensorSpec([], tf.float32)]),
        ]

        @tf.function(autograph=False)
        def run(flat, sizes, block, handles, *rest):
            self.traces += 1
            ends = tf.unstack(tf.cumsum(sizes), count)
            parts = [flat[a:b] for a, b in itertools.pairwise([0, *ends])]
            places = list(zip(parts[::2], parts[1::2], strict=True))
            buffers = dict(zip(engine.touched[index], tf.unstack(handles), strict=True))
            extras, limit = rest[: len(others)], None if exact else rest[-1]
            results, _ = engine.walk(
                index, mode, places, block, extras, buffers, limit, engine.do_step
            )
            return results

        return run.get_concrete_function(*signature)


class Caller:
    """A whole network on pictures of any size, one graph for all of them; see `whole`."""

    def __init__(self, walk, channels: int):
        self.traces = 0

        @tf.function(
            input_signature=[tf.TensorSpec([1, None, None, channels], tf.float32)], autograph=False
        )
        def run(picture):
            self.traces += 1
            return walk(picture)

        self._run = run

    def __call__(self, picture):
        """Runs it on `(1, height, width, channels)`."""
        return self._run(tf.constant(picture)).numpy()


def enlarge(x, factors):
    """Bilinear upsampling; Keras's needs sizes that are known when a graph is made."""
    return tf.image.resize(x, tf.shape(x)[1:3] * factors, "bilinear")
