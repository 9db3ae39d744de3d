"""Writes flatbuffers. Standard library and NumPy only, as the reader beside it.

A table is a dictionary of its fields by their number. A field is a number (`Scalar`), a table, a
vector of tables (a list), a vector of numbers (a NumPy array), text (bytes), or a table that is
copied from another flatbuffer (`CopiedTable`).
"""

import dataclasses
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader

ALIGNMENT = 16  # of vectors; schema.fbs: data:[ubyte] (force_align: 16)


@dataclasses.dataclass(frozen=True)
class Scalar:
    """A number in a table; `form` as for `struct.pack`."""

    form: str
    value: int | float


@dataclasses.dataclass(frozen=True)
class CopiedTable:
    """A table of numbers only, copied byte by byte from another flatbuffer.

    Args:
        content: the bytes of its fields.
        offsets: of each field in `content`, or -1 where the field has its default.
    """

    content: bytes
    offsets: Sequence[int]

    @classmethod
    def read(cls, reader: FlatbufferReader, table: int) -> "CopiedTable":
        """Copies a table that has no fields but numbers."""
        vtable = table - reader.number("<i", table)
        length, size = struct.unpack_from("<HH", reader.data, vtable)
        places = struct.unpack_from(f"<{(length - 4) // 2}H", reader.data, vtable + 4)
        content = bytes(reader.data[table + 4 : table + size])
        if len(content) != size - 4:
            raise struct.error
        return cls(content, tuple(place - 4 if place else -1 for place in places))

    def number(self, form: str, field: int, default):
        """The number in a field; `form` as for `struct.unpack`."""
        if field >= len(self.offsets) or self.offsets[field] < 0:
            return default
        return struct.unpack_from(form, self.content, self.offsets[field])[0]

    def with_byte(self, field: int, value: int) -> "CopiedTable":
        """The same table with another value in a field of one byte."""
        offsets = [*self.offsets, *[-1] * (field + 1 - len(self.offsets))]
        content = bytearray(self.content)
        if offsets[field] < 0:
            offsets[field] = len(content)
            content.append(0)
        content[offsets[field]] = value
        return CopiedTable(bytes(content), offsets)


def write(root: dict[int, Any], identifier: bytes) -> bytes:
    """The bytes of a flatbuffer with a root table; four bytes name the format."""
    data = bytearray(8)
    data[4:8] = identifier
    waiting: list[tuple[int, Any]] = [(0, root)]  # place of an offset, what it points to
    for place, thing in waiting:
        position = _append(data, thing, waiting)
        struct.pack_into("<I", data, place, position - place)
    return bytes(data)


def _append(data: bytearray, thing, waiting: list) -> int:
    """Writes one table or vector, without what it points to, and returns its position."""
    if isinstance(thing, dict):
        return _table(data, thing, waiting)
    if isinstance(thing, CopiedTable):
        return _fields(data, thing.content, thing.offsets)
    if isinstance(thing, list):
        _align(data, 4)
        position = len(data)
        data += struct.pack("<I", len(thing)) + bytes(4 * len(thing))
        waiting += [(position + 4 + 4 * i, each) for i, each in enumerate(thing)]
        return position
    if isinstance(thing, bytes):
        _align(data, 4)
        position = len(data)
        data += struct.pack("<I", len(thing)) + thing + b"\0"
        return position
    data += bytes(-(len(data) + 4) % ALIGNMENT)  # of the vector; its length stands before it
    position = len(data)
    data += struct.pack("<I", thing.size) + np.ascontiguousarray(thing).tobytes()
    return position


def _table(data: bytearray, fields: dict[int, Any], waiting: list) -> int:
    offsets = [-1] * (max(fields, default=-1) + 1)
    content, children = bytearray(), []
    for index, value in fields.items():
        form = value.form if isinstance(value, Scalar) else "<I"
        content += bytes(-(len(content) + 4) % struct.calcsize(form))  # 4: the vtable's offset
        offsets[index] = len(content)
        if isinstance(value, Scalar):
            content += struct.pack(form, value.value)
        else:
            children.append((len(content), value))
            content += bytes(4)
    position = _fields(data, bytes(content), offsets)
    waiting += [(position + 4 + place, value) for place, value in children]
    return position


def _fields(data: bytearray, content: bytes, offsets: Sequence[int]) -> int:
    """Writes a table after its vtable; the table begins at a multiple of 8 bytes."""
    _align(data, 2)
    vtable = len(data)
    data += struct.pack("<HH", 4 + 2 * len(offsets), 4 + len(content))
    data += b"".join(struct.pack("<H", 4 + place if place >= 0 else 0) for place in offsets)
    _align(data, 8)
    position = len(data)
    data += struct.pack("<i", position - vtable) + content
    return position


def _align(data: bytearray, width: int) -> None:
    data += bytes(-len(data) % width)
