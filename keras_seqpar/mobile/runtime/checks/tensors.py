"""Checks the tensors of a .tflite file: shapes, sizes, scales. Needs NumPy only."""

import dataclasses
import math

import numpy as np

from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader

MOST_BYTES = 2**31  # of one tensor
MOST_DIMENSIONS = 8
_SMALLEST, _LARGEST = 2.0**-100, 2.0**100  # of scales: their products and quotients are floats, too
# Numbers of `TensorType` in schema.fbs.
INT32, INT64, INT8, UINT8, INT16, INT4, BOOL = 2, 4, 9, 3, 7, 17, 6
_BITS = {
    **{0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128},
    **{12: 64, 15: 32, 16: 16, 17: 4, 18: 16, 19: 2, 20: 4, 21: 8, 22: 8},
}
_ZEROS = {INT8: (-128, 127), UINT8: (0, 255), INT16: (-32768, 32767), INT4: (-8, 7), INT32: (0, 0)}


@dataclasses.dataclass(frozen=True, eq=False)
class TensorFacts:
    """What a file says about a tensor.

    Args:
        name: its name, quoted, with its number, for messages.
        shape: its dimensions.
        type: number of its `TensorType`.
        fixed: the shape is known before the graph runs.
        scales: of its integers; empty for floats.
        zero_points: as many as scales.
        data: start and length of its constant data; length 0 where it has none.
        variable: it keeps its value between runs.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    fixed: bool
    scales: np.ndarray
    zero_points: np.ndarray
    data: tuple[int, int]
    variable: bool

    @property
    def elements(self) -> int:
        """Number of its values."""
        return math.prod(self.shape)


class TensorReader:
    """Reads and checks the tensors of a model.

    Args:
        flat: the model.
    """

    def __init__(self, flat: FlatbufferReader):
        self._flat = flat
        self._checked: dict[tuple, np.ndarray] = {}  # vectors that several tensors share
        self._left = 4 * len(flat.data) + 1000  # bytes of vectors that may be read
        self.buffers = [self._buffer(buffer) for buffer in flat.tables(flat.root, 4)]

    def read(self, table: int, number: int) -> TensorFacts:
        """Reads a tensor.

        Raises:
            ValueError: its shape, data or scales are such that no interpreter can use it.
        """
        flat = self._flat
        name = f"tensor {number} ({flat.text(table, 3)[:80]!r})"
        shape = flat.integers(table, 0, MOST_DIMENSIONS)
        signature = flat.integers(table, 7, MOST_DIMENSIONS)
        kind = flat.value("<b", table, 1)
        bits, elements = _BITS.get(kind, 0), math.prod(shape)
        if min(shape, default=0) < 0 or elements * bits > 8 * MOST_BYTES:
            raise ValueError(f"{name} has the shape {shape}")
        index = flat.value("<I", table, 2)
        if index >= len(self.buffers):
            raise ValueError(f"{name} has the buffer {index} of {len(self.buffers)}")
        data = self.buffers[index]
        sparse = flat.field(table, 6) is not None
        if data[1] and bits and not sparse and data[1] != -(-elements * bits // 8):
            raise ValueError(f"{name} of the shape {shape} has {data[1]:,} bytes of data")
        scales, zero_points = self._quantization(table, name, kind, shape)
        return TensorFacts(
            name,
            shape,
            kind,
            -1 not in signature,
            scales,
            zero_points,
            data,
            bool(flat.value("<b", table, 5)),
        )

    def _buffer(self, table: int) -> tuple[int, int]:
        """Start and length of a buffer's data, which may follow the flatbuffer."""
        flat = self._flat
        start, length = flat.vector(table, 0, 1)
        offset = flat.value("<Q", table, 1)
        if offset > 1:  # 0 and 1: no data after the flatbuffer
            start, length = offset, flat.value("<Q", table, 2)
            if start + length > len(flat.data):
                raise IndexError
        return start, length

    def _quantization(self, table: int, name: str, kind: int, shape: tuple[int, ...]):
        """Scales and zero points of a tensor; empty where it has none."""
        flat, none = self._flat, np.zeros(0)
        found = flat.field(table, 4)
        if found is None:
            return none, none
        for index, width in enumerate((4, 4, 4, 8)):  # min, max, scale, zero point
            flat.vector(found, index, width)
        if kind not in _ZEROS or flat.value("<b", found, 4):  # floats, or blocks with own scales
            return none, none
        scales, zeros = self._vector(found, 2, "<f4"), self._vector(found, 3, "<i8")
        if not len(scales):
            return none, none
        wrong = ~((scales >= _SMALLEST) & (scales <= _LARGEST))
        if wrong.any():
            raise ValueError(f"{name} has the scale {scales[wrong][0]}")
        axis = flat.value("<i", found, 6)
        if len(scales) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scales)):
            raise ValueError(f"{name} of the shape {shape} has {len(scales)} scales on axis {axis}")
        if len(zeros) not in (0, 1, len(scales)):
            raise ValueError(f"{name} has {len(scales)} scales and {len(zeros)} zero points")
        low, high = _ZEROS[kind]
        wrong = (zeros < low) | (zeros > high)
        if wrong.any():
            raise ValueError(f"{name} has the zero point {zeros[wrong][0]}")
        return scales, zeros

    def _vector(self, table: int, index: int, form: str) -> np.ndarray:
        kind = np.dtype(form)
        start, length = self._flat.vector(table, index, kind.itemsize)
        key = (start, length, form)
        if key not in self._checked:
            self._left -= length * kind.itemsize
            if self._left < 0:
                raise ValueError("it describes more numbers than it has bytes")
            self._checked[key] = np.frombuffer(self._flat.data, kind, length, start)
        return self._checked[key]
