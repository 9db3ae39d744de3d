"""A network that is cut into runs, whatever it was read from."""

import abc
import contextlib
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.planning.effects import Effect


@dataclasses.dataclass(frozen=True)
class Tensor(abc.ABC):
    """A tensor of a graph.

    Args:
        name: its name.
        shape: its size along every axis, with the batch of 1.
        data: its values where it is constant, in a form of the engine's own; else `None`.
        positions: `(1, rows, columns, channels)` of a map whose rows are stored as one axis, and
            of constants that go with it; `None` for others.
    """

    name: str
    shape: tuple[int, ...]
    data: Any
    positions: tuple[int, ...] | None = dataclasses.field(default=None, kw_only=True)

    @property
    @abc.abstractmethod
    def dtype(self) -> np.dtype:
        """NumPy's type of its values."""

    @property
    def is_known(self) -> bool:
        """Whether NumPy has the type of its values."""
        return True

    @property
    def zero(self) -> int:
        """The stored value that stands for 0."""
        return 0

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
        return math.prod(self.shape) * (self.dtype.itemsize if self.is_known else 1)

    def values(self) -> np.ndarray:
        """The values of a constant."""
        assert self.data is not None
        return np.asarray(self.data)


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of a graph.

    Args:
        name: what it does, such as `"CONV_2D"` or `"Conv2D"`.
        inputs: numbers of the tensors that it reads; -1 where an optional one is missing.
        outputs: numbers of the tensors that it makes.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Graph(abc.ABC):
    """A network.

    Args:
        tensors: the tensors.
        operations: in the order of computation.
        inputs: number of a tensor -> name of the input.
        outputs: number of a tensor -> name of the output.
    """

    tensors: Sequence[Tensor]
    operations: Sequence[Operation]
    inputs: dict[int, str]
    outputs: dict[int, str]

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What messages call the network."""

    @property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Equal for equal networks only."""

    @abc.abstractmethod
    def effect_of(self, operation: Any) -> Effect:
        """What an operation that reads the frame, or what was made of it, does to positions."""

    @abc.abstractmethod
    def macs_of(self, operation: Any) -> int:
        """Multiply-accumulates of an operation on whole maps."""

    @abc.abstractmethod
    def has_weights(self, operation: Any) -> bool:
        """Whether an operation has weights among its inputs, which must be constant."""

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
        """What the network gives, by name.

        Args:
            outputs: number of an output -> its values.
        """
        return {name: outputs[i] for i, name in self.outputs.items()}
