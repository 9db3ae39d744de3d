"""Stored maps in JAX: arrays whose memory a compiled update takes over.

The three files `*_maps.py` define the same functions, one file per backend.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import keras
import numpy as np

from keras_seqpar.selective.planning.boxes import Box

ONE_PROGRAM = False  # every size is compiled when it is needed


def compiled(function: Callable, variables: Sequence) -> Callable:
    """A function of lists of tensors, compiled for each of their sizes."""

    @jax.jit
    def stateless(values, *args):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*args)

    return lambda *args: stateless([variable.value for variable in variables], *args)


def rounded(count: int, most: int) -> int:
    """The number of rows, or columns, to compute for `count` of them: every size is compiled."""
    return min(1 << (count - 1).bit_length(), most)


def keep(values) -> jax.Array:
    """A stored map."""
    return jnp.array(values)


def write(map_: jax.Array, box: Box, values) -> jax.Array:
    """A stored map with other values in a box; rows and columns are repeated up to a round size."""
    rows, cols = (
        np.minimum(first + np.arange(rounded(end - first, size)), end - 1)
        for first, end, size in zip(box[:2], box[2:], map_.shape[1:3], strict=True)
    )
    if isinstance(values, np.ndarray):
        values = values[:, rows - box[0]][:, :, cols - box[1]]
    return _write(map_, rows, cols, values)


def update(map_: jax.Array, values) -> jax.Array:
    """A stored map with other values everywhere."""
    return jnp.reshape(values, map_.shape).astype(map_.dtype)


@functools.partial(jax.jit, donate_argnums=0)
def _write(map_, rows, cols, values):
    return map_.at[:, rows[:, None], cols].set(values.astype(map_.dtype))
