"""Stored maps in torch: changed in place, nothing compiled.

Beside `keras_seqpar.mobile`, these three files are the only place with code of one backend.
"""

import keras
import torch


def new(array):
    """A stored map."""
    return keras.ops.convert_to_tensor(array).clone()


def numpy(buffer):
    """A stored map as an array."""
    return keras.ops.convert_to_numpy(buffer).copy()


def wait(buffers) -> None:
    """Returns when stored maps are complete, which they always are."""


def fit(count: int, most: int, of: str) -> int:
    """The size in which so many positions, tiles, rows or columns are computed: any will do.

    Args:
        count: of them.
        most: how many there are.
        of: what they are.
    """
    return count


def take(table, index):
    """Rows of a tensor."""
    return torch.index_select(table, 0, index)


def read(buffer, index, channels: int):
    """Rows of a stored map."""
    return torch.index_select(buffer, 0, index)


def read_all(buffer, channels: int):
    """All rows of a stored map."""
    return buffer.clone()


def write(buffer, index, rows):
    """Puts rows into a stored map."""
    return buffer.index_copy_(0, index.long(), rows)


def replace(buffer, rows):
    """Puts all rows, border included, into a stored map."""
    return buffer.copy_(rows)


class Runner:
    """Segments of an engine, step by step."""

    traces = 0

    def __init__(self, engine):
        self._engine = engine

    @torch.no_grad()
    def __call__(self, index, mode, places, block, extras, buffers, limit):
        """Runs a segment; see `Engine.walk`."""
        tensor = keras.ops.convert_to_tensor
        places = [(tensor(ys), tensor(xs)) for ys, xs in places]
        extras = [tensor(x) for x in extras]
        block = None if block is None else tensor(block)
        engine = self._engine
        results, buffers = engine.walk(
            index, mode, places, block, extras, buffers, limit, engine.do_step
        )
        return [keras.ops.convert_to_numpy(x) for x in results], buffers


class Caller:
    """A whole network on images of any size, nothing compiled; see `whole`."""

    traces = 0

    def __init__(self, walk, channels: int):
        self._walk = walk

    @torch.no_grad()
    def __call__(self, image):
        """Runs it on `(1, height, width, channels)`."""
        return keras.ops.convert_to_numpy(self._walk(keras.ops.convert_to_tensor(image)))


def enlarge(x, factors):
    """Bilinear upsampling."""
    size = x.shape[1] * factors[0], x.shape[2] * factors[1]
    return keras.ops.image.resize(x, size, data_format="channels_last")
