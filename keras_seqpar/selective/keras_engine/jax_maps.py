"""Stored maps in JAX: equal steps are compiled once per size class, and buffers are donated.

The three files `*_maps.py` define the same functions, one file per backend.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

COMPILES_EACH_SIZE = True  # whether a mode compiles again for every size of a change


def new(array):
    """A buffer for a stored map, from an array."""
    return jnp.array(array)


def numpy(buffer):
    """A copy of a buffer as an array."""
    return np.array(buffer)


def wait(buffers) -> None:
    """Waits until buffers are computed: JAX computes while Python goes on."""
    jax.block_until_ready(buffers)


def size_class(count: int, limit: int, kind: str) -> int:
    """Rounds a number up to 1, 2, 3, 4, 6, 8, 12, 16, ..., since every size is compiled.

    Args:
        count: number of positions, tiles, rows or columns.
        limit: the largest result.
        kind: what is counted; all kinds are rounded in the same way.
    """
    size = 1
    while size < count:
        size = size * 3 // 2 if size > 1 and size & (size - 1) == 0 else -(-size * 4 // 3)
    return min(size, limit)


def take(table, index):
    """Gathers rows of a tensor."""
    return jnp.take(table, index, axis=0, mode="clip")


def read(buffer, index, channels: int):
    """Gathers rows of a buffer."""
    return jnp.take(buffer, index, axis=0, mode="clip")


def read_all(buffer, channels: int):
    """All rows of a buffer: a copy, since the buffer is donated to a later step."""
    return jnp.array(buffer)


def write(buffer, index, rows):
    """Scatters rows into a buffer and returns the buffer."""
    return buffer.at[index].set(rows, mode="promise_in_bounds")


def replace(buffer, rows):
    """Replaces all rows of a buffer, border included, and returns the buffer."""
    return buffer.at[:].set(rows)  # not just `rows`, so that the donated memory is reused


class Runner:
    """Computes the runs of an engine; each group of equal steps is compiled once per mode."""

    def __init__(self, engine):
        self._engine = engine
        self._compiled = {}
        self.traces = 0

    def __call__(self, index, mode, regions, block, extras, buffers, limit):
        """Computes a run; see `Engine.compute_steps`."""
        block = None if block is None else jnp.asarray(block)
        results, buffers = self._engine.compute_steps(
            index, mode, regions, block, list(extras), buffers, limit, self._do
        )
        return [np.asarray(x) for x in results], buffers

    def _do(self, index, mode, weights, where, sources, stores, limit):
        index = index if index < 0 else self._engine.equal_steps[index]
        if (index, mode) not in self._compiled:
            self._compiled[index, mode] = jax.jit(
                functools.partial(self._trace, index, mode), donate_argnums=3
            )
        return self._compiled[index, mode](weights, where, sources, stores, limit)

    def _trace(self, *arguments):
        self.traces += 1
        return self._engine.do_step(*arguments)


class DenseRunner:
    """Runs a full network on images of any size, compiled for each size; see `DensePath`."""

    def __init__(self, compute, channels: int):
        self.traces = 0

        def run(image):
            self.traces += 1  # only when it is compiled
            return compute(image)

        self._run = jax.jit(run)

    def __call__(self, image):
        """Runs the network on an image `(1, height, width, channels)`."""
        return np.asarray(self._run(jnp.asarray(image)))


def upsample_bilinear(x, factors):
    """Bilinear upsampling."""
    size = x.shape[1] * factors[0], x.shape[2] * factors[1]
    return jax.image.resize(x, (x.shape[0], *size, x.shape[3]), "bilinear")
