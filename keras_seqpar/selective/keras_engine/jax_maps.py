"""Stored maps in JAX: each kind of step is compiled once per size class, and takes over buffers.

Beside `keras_seqpar.mobile`, these three files are the only place with code of one backend.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def new(array):
    """A stored map."""
    return jnp.array(array)


def numpy(buffer):
    """A stored map as an array."""
    return np.array(buffer)


def wait(buffers) -> None:
    """Returns when stored maps are complete: JAX computes while Python goes on."""
    jax.block_until_ready(buffers)


def fit(count: int, most: int, of: str) -> int:
    """The size in which so many positions, tiles, rows or columns are computed.

    1, 2, 3, 4, 6, 8, 12, 16, ... or all: each size is compiled.

    Args:
        count: of them.
        most: how many there are.
        of: what they are; here they are all alike.
    """
    size = 1
    while size < count:
        size = size * 3 // 2 if size > 1 and size & (size - 1) == 0 else -(-size * 4 // 3)
    return min(size, most)


def take(table, index):
    """Rows of a tensor."""
    return jnp.take(table, index, axis=0, mode="clip")


def read(buffer, index, channels: int):
    """Rows of a stored map."""
    return jnp.take(buffer, index, axis=0, mode="clip")


def read_all(buffer, channels: int):
    """All rows of a stored map: a copy, since steps take over their buffers."""
    return jnp.array(buffer)


def write(buffer, index, rows):
    """Puts rows into a stored map."""
    return buffer.at[index].set(rows, mode="promise_in_bounds")


def replace(buffer, rows):
    """Puts all rows, border included, into a stored map."""
    return buffer.at[:].set(rows)  # not just `rows`: the old memory is to be used again


class Runner:
    """Segments of an engine: one compiled function per kind of step and mode."""

    def __init__(self, engine):
        self._engine = engine
        self._compiled = {}
        self.traces = 0

    def __call__(self, index, mode, places, block, extras, buffers, limit):
        """Runs a segment; see `Engine.walk`."""
        block = None if block is None else jnp.asarray(block)
        results, buffers = self._engine.walk(
            index, mode, places, block, list(extras), buffers, limit, self._do
        )
        return [np.asarray(x) for x in results], buffers

    def _do(self, index, mode, weights, where, sources, stores, limit):
        index = index if index < 0 else self._engine.alike[index]
        if (index, mode) not in self._compiled:
            self._compiled[index, mode] = jax.jit(
                functools.partial(self._trace, index, mode), donate_argnums=3
            )
        return self._compiled[index, mode](weights, where, sources, stores, limit)

    def _trace(self, *arguments):
        self.traces += 1
        return self._engine.do_step(*arguments)


class Caller:
    """A whole network on images of any size, compiled for each size; see `whole`."""

    def __init__(self, walk, channels: int):
        self.traces = 0

        def run(image):
            self.traces += 1
            return walk(image)

        self._run = jax.jit(run)

    def __call__(self, image):
        """Runs it on `(1, height, width, channels)`."""
        return np.asarray(self._run(jnp.asarray(image)))


def enlarge(x, factors):
    """Bilinear upsampling."""
    size = x.shape[1] * factors[0], x.shape[2] * factors[1]
    return jax.image.resize(x, (x.shape[0], *size, x.shape[3]), "bilinear")
