"""Reads flatbuffers and never looks beyond their end. Standard library only.

The interpreters of small devices bring no flatbuffers package, and the classes that are generated
from a schema do not check offsets.
"""

import struct


class FlatbufferReader:
    """The tables and vectors of a flatbuffer. An offset beyond its end raises `struct.error`.

    Args:
        data: the flatbuffer.

    Attributes:
        root: position of the root table.
    """

    def __init__(self, data: bytes):
        self.data = data
        self.root = self.number("<I", 0)

    def number(self, form: str, at: int) -> int:
        """The number at a position; `form` as for `struct.unpack`."""
        if at < 0:
            raise struct.error
        return struct.unpack_from(form, self.data, at)[0]

    def slot(self, table: int, index: int) -> int | None:
        """Position of a table's field; `None` where the field has its default."""
        vtable = table - self.number("<i", table)
        if 4 + 2 * index >= self.number("<H", vtable):
            return None
        offset = self.number("<H", vtable + 4 + 2 * index)
        return table + offset if offset else None

    def field(self, table: int, index: int) -> int | None:
        """Position of the object that a table's field points to; `None` where it has none."""
        slot = self.slot(table, index)
        return None if slot is None else slot + self.number("<I", slot)

    def vector(self, table: int, index: int, width: int) -> tuple[int, int]:
        """Position and length of a field's vector of elements of `width` bytes."""
        start = self.field(table, index)
        if start is None:
            return 0, 0
        length = self.number("<I", start)
        if start + 4 + width * length > len(self.data):
            raise struct.error
        return start + 4, length

    def content(self, table: int, index: int) -> bytes:
        """A field's vector of bytes; empty where there is none."""
        start, length = self.vector(table, index, 1)
        return self.data[start : start + length]

    def tables(self, table: int, index: int) -> list[int]:
        """Positions of the tables in a field's vector."""
        start, length = self.vector(table, index, 4)
        return [at + self.number("<I", at) for at in range(start, start + 4 * length, 4)]
