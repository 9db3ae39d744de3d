"""Stored maps in TensorFlow: variables that are written in place.

The three files `*_maps.py` define the same functions, one file per backend.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_seqpar.selective.planning.boxes import Box

ONE_PROGRAM = True  # runs crops of all sizes


def compiled(function: Callable, variables: Sequence) -> Callable:
    """A function of lists of tensors, compiled once for indices of all sizes."""
    made: list[Callable] = []

    def call(*args):
        args = tf.nest.map_structure(tf.convert_to_tensor, args)
        if not made:
            specs = tf.nest.map_structure(_spec, args)
            made.append(tf.function(function, autograph=False).get_concrete_function(*specs))
        return made[0](*args)

    return call


def _spec(x: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec([None] if x.shape.rank == 1 else x.shape, x.dtype)


def rounded(count: int, most: int) -> int:
    """The number of rows, or columns, to compute for `count` of them."""
    return count


def keep(values) -> tf.Variable:
    """A stored map."""
    return tf.Variable(values)


def write(map_: tf.Variable, box: Box, values) -> tf.Variable:
    """A stored map with other values in a box."""
    top, left, bottom, right = box
    map_[:, top:bottom, left:right].assign(tf.cast(values, map_.dtype))
    return map_


def update(map_: tf.Variable, values) -> tf.Variable:
    """A stored map with other values everywhere."""
    map_.assign(tf.reshape(tf.cast(values, map_.dtype), map_.shape))
    return map_
