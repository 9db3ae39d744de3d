"""Reads flatbuffers: never beyond their end, and never more than they can hold.

The interpreters of small devices bring no flatbuffers package, and the classes that are generated
from a schema do not check offsets. Standard library only.
"""

import struct


class FlatbufferReader:
    """The tables and vectors of a flatbuffer.

    Offsets may point to the same place again and again, so that a file of a few KB describes
    millions of tables. Writers of models store every table once, in 8 bytes or more, so a
    reader stops after as many tables as the file has bytes.

    Args:
        data: the flatbuffer.

    Attributes:
        root: position of the root table.

    Raises:
        struct.error: everywhere, an offset beyond the end.
        ValueError: from `tables`, more tables than the file can hold.
    """

    def __init__(self, data: bytes):
        self.data = data
        self.root = self.number("<I", 0)
        self._left = len(data) + 100

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

    def value(self, form: str, table: int, index: int, default: int = 0) -> int:
        """The number in a table's field; `form` as for `struct.unpack`."""
        slot = self.slot(table, index)
        return default if slot is None else self.number(form, slot)

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

    def text(self, table: int, index: int, most: int = 10_000) -> str:
        """A field's text, of at most `most` bytes."""
        start, length = self.vector(table, index, 1)
        if length > most:
            raise ValueError(f"a name has {length:,} bytes, more than {most:,}")
        return self.data[start : start + length].decode()

    def integers(self, table: int, index: int, most: int) -> tuple[int, ...]:
        """A field's vector of 32-bit integers, at most `most` of them."""
        start, length = self.vector(table, index, 4)
        if length > most:
            raise ValueError(f"a list has {length:,} numbers, more than {most:,}")
        return struct.unpack_from(f"<{length}i", self.data, start)

    def tables(self, table: int, index: int) -> list[int]:
        """Positions of the tables in a field's vector."""
        start, length = self.vector(table, index, 4)
        self._left -= length
        if self._left < 0:
            raise ValueError("it describes more tables than it has bytes")
        return [at + self.number("<I", at) for at in range(start, start + 4 * length, 4)]
