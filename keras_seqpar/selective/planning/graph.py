"""A network that is cut into runs, whatever it was read from."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of a graph."""

    name: str  # its name
    shape: tuple[int, ...]  # its size along every axis, with the batch of 1
    dtype: np.dtype  # NumPy's type of its values; a void one where NumPy has none
    data: memoryview | None = None  # its bytes where it is constant, else `None`
    # `(1, rows, columns, channels)` of a map whose rows are stored as one axis, and of
    # constants that go with it; `None` for others
    positions: tuple[int, ...] | None = dataclasses.field(default=None, kw_only=True)

    @property
    def is_known(self) -> bool:
        """Whether NumPy has the type of its values."""
        return self.dtype.kind != "V"

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of a map."""
        _, rows, cols, _ = self.map_shape
        return rows, cols

    @property
    def map_shape(self) -> tuple[int, ...]:
        """`(1, rows, columns, channels)` of a map."""
        return self.positions or self.shape

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def values(self) -> np.ndarray:
        """The values of a constant."""
        assert self.data is not None
        return np.frombuffer(self.data, self.dtype).reshape(self.shape)


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of a graph."""

    name: str  # what it does, such as `"CONV_2D"` or `"Conv2D"`
    # numbers of the tensors that it reads; -1 where an optional one is missing
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]  # numbers of the tensors that it makes


@dataclasses.dataclass(frozen=True)
class Graph:
    """A network."""

    tensors: Sequence[Any]  # the tensors
    operations: Sequence[Any]  # in the order of computation
    inputs: dict[int, str]  # number of a tensor -> name of the input
    outputs: dict[int, str]  # number of a tensor -> name of the output
    # the module that knows the operations. Of a graph and one of its operations it tells what
    # the operation does to positions (`effect_of`), and its multiply-accumulates on whole maps
    # (`macs_of`); those named in `WITH_WEIGHTS` have weights among their inputs
    rules: Any
    name: str  # what messages call the network
    fingerprint: str  # equal for equal networks only

    @functools.cached_property
    def live(self) -> tuple[int, ...]:
        """Numbers of the operations that an output depends on, in order."""
        needed, found = set(self.outputs), []
        for number in reversed(range(len(self.operations))):
            operation = self.operations[number]
            if needed.intersection(operation.outputs):
                needed |= set(operation.inputs)
                found.append(number)
        return tuple(reversed(found))

    def refusing_damage(self) -> contextlib.AbstractContextManager[None]:
        """Turns errors of reading what is damaged into a `ValueError` that names the network."""
        return contextlib.nullcontext()

    def named(self, outputs: Mapping[int, np.ndarray]) -> dict[str, np.ndarray]:
        """What the network gives, by name, from the values of its outputs."""
        return {name: outputs[i] for i, name in self.outputs.items()}
