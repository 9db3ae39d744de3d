"""Stored maps in PyTorch: tensors that are changed in place. Nothing is compiled.

The three files `*_maps.py` define the same functions, one file per backend.
"""

import keras
import torch

COMPILES_EACH_SIZE = False  # whether a mode compiles again for every size of a change


def new(array):
    """A buffer for a stored map, from an array."""
    return keras.ops.convert_to_tensor(array).clone()


def numpy(buffer):
    """A copy of a buffer as an array."""
    return keras.ops.convert_to_numpy(buffer).copy()


def wait(buffers) -> None:
    """Waits until buffers are computed; here they always are."""


def size_class(count: int, limit: int, kind: str) -> int:
    """Rounds a number up to a size class; here every size is as good, so it stays as it is.

    Args:
        count: number of positions, tiles, rows or columns.
        limit: the largest result.
        kind: what is counted.
    """
    return count


def take(table, index):
    """Gathers rows of a tensor."""
    return torch.index_select(table, 0, index)


def read(buffer, index, channels: int):
    """Gathers rows of a buffer."""
    return torch.index_select(buffer, 0, index)


def read_all(buffer, channels: int):
    """A copy of all rows of a buffer."""
    return buffer.clone()


def write(buffer, index, rows):
    """Scatters rows into a buffer and returns the buffer."""
    return buffer.index_copy_(0, index.long(), rows)


def replace(buffer, rows):
    """Replaces all rows of a buffer, border included, and returns the buffer."""
    return buffer.copy_(rows)


class Runner:
    """Computes the runs of an engine step by step."""

    traces = 0

    def __init__(self, engine):
        self._engine = engine

    @torch.no_grad()
    def __call__(self, index, mode, regions, block, extras, buffers, limit):
        """Computes a run; see `Engine.compute_steps`."""
        tensor = keras.ops.convert_to_tensor
        regions = [(tensor(ys), tensor(xs)) for ys, xs in regions]
        extras = [tensor(x) for x in extras]
        block = None if block is None else tensor(block)
        engine = self._engine
        results, buffers = engine.compute_steps(
            index, mode, regions, block, extras, buffers, limit, engine.do_step
        )
        return [keras.ops.convert_to_numpy(x) for x in results], buffers


class DenseRunner:
    """Runs a full network on images of any size; see `DensePath`."""

    traces = 0

    def __init__(self, compute, channels: int):
        self._compute = compute

    @torch.no_grad()
    def __call__(self, image):
        """Runs the network on an image `(1, height, width, channels)`."""
        return keras.ops.convert_to_numpy(self._compute(keras.ops.convert_to_tensor(image)))


def upsample_bilinear(x, factors):
    """Bilinear upsampling."""
    size = x.shape[1] * factors[0], x.shape[2] * factors[1]
    return keras.ops.image.resize(x, size, data_format="channels_last")
