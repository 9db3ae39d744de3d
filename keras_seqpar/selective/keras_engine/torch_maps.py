"""Stored maps in PyTorch: tensors on Keras's device that are written in place.

The three files `*_maps.py` define the same functions, one file per backend.
"""

from collections.abc import Callable, Sequence

import keras
import torch

from keras_seqpar.selective.planning.boxes import Box

ONE_PROGRAM = False  # nothing is compiled


def compiled(function: Callable, variables: Sequence) -> Callable:
    """A function of lists of tensors; nothing is compiled, and no gradients are kept."""
    return torch.no_grad()(function)


def rounded(count: int, most: int) -> int:
    """The number of rows, or columns, to compute for `count` of them."""
    return count


def keep(values) -> torch.Tensor:
    """A stored map."""
    return keras.ops.convert_to_tensor(values).clone()


def write(map_: torch.Tensor, box: Box, values) -> torch.Tensor:
    """A stored map with other values in a box."""
    top, left, bottom, right = box
    map_[:, top:bottom, left:right] = keras.ops.convert_to_tensor(values)
    return map_


def update(map_: torch.Tensor, values) -> torch.Tensor:
    """A stored map with other values everywhere."""
    return map_.copy_(values.reshape(map_.shape))
