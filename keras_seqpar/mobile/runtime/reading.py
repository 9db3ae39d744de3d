"""Reads a .tflite file without an interpreter: is it whole, what does it say about itself?

A flatbuffer as in TensorFlow's schema.fbs; its metadata is one more as in TFLite's
metadata_schema.fbs, and the files that belong to it follow as a zip archive. Needs the standard
library only: the interpreters of small devices bring no flatbuffers.
"""

import dataclasses
import io
import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

METADATA = b"TFLITE_METADATA"  # name of the buffer that holds it
AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a file says about itself.

    Args:
        about: what `convert` wrote as the model's description; empty for other files.
        labels: one per score in order, from its metadata, or `None`; of the first signature.
        files: name -> content of the files that its metadata names.
        signatures: key of a signature -> its labels, in the order of the graphs.
    """

    about: dict
    labels: tuple[str, ...] | None
    files: Mapping[str, bytes]
    signatures: Mapping[str, tuple[str, ...] | None] = dataclasses.field(default_factory=dict)


def read(path: Path) -> Contents:
    """Checks that a file is complete, and reads what it says about itself.

    tflite-runtime crashes the whole process on a truncated file, hence this check. It follows
    every table and vector that holds names, shapes, scales or weights and makes sure that they
    end inside the file, and that the files which the metadata names are there.

    Args:
        path: a .tflite file.

    Returns:
        What it says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, damaged or no .tflite file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise ValueError(
            f"{str(path)!r} is no .tflite file: it begins with {data[:8]!r}. Make one with "
            "keras_seqpar.mobile.convert or tflite/convert.py."
        )
    try:
        flat = _Flat(data)
        metadata, keys = _walk(flat)
        names, label_files = _associated(_Flat(metadata)) if metadata else ([], [])
        files = _unzip(data, names) if names else {}
        labels = [lines(files[name]) if name else None for name in label_files]
        text = flat.content(flat.root, 3)
    except (struct.error, zipfile.BadZipFile, KeyError, EOFError, UnicodeDecodeError):
        raise ValueError(
            f"{str(path)!r} is truncated or damaged: it has {len(data):,} bytes and refers to "
            "more. Copy or convert it again."
        ) from None
    try:
        about = json.loads(text.decode())
    except ValueError:  # a file from elsewhere: free text
        about = {}
    signatures = {key: labels[i] if i < len(labels) else None for i, key in keys}
    first = labels[0] if labels else None
    return Contents(about if isinstance(about, dict) else {}, first, files, signatures)


def lines(content: bytes) -> tuple[str, ...]:
    """The lines of a label file."""
    return tuple(content.decode().replace("\r\n", "\n").removesuffix("\n").split("\n"))


class _Flat:
    """A flatbuffer. What lies outside of it raises struct.error."""

    def __init__(self, data: bytes):
        self.data = data
        self.root = self.number("<I", 0)

    def number(self, form: str, at: int) -> int:
        if at < 0:
            raise struct.error
        return struct.unpack_from(form, self.data, at)[0]

    def slot(self, table: int, index: int) -> int | None:
        """Where the table's field lies; `None` where it has its default."""
        vtable = table - self.number("<i", table)
        if 4 + 2 * index >= self.number("<H", vtable):
            return None
        offset = self.number("<H", vtable + 4 + 2 * index)
        return table + offset if offset else None

    def field(self, table: int, index: int) -> int | None:
        """Where what the table's field points to begins."""
        slot = self.slot(table, index)
        return None if slot is None else slot + self.number("<I", slot)

    def vector(self, table: int, index: int, width: int) -> tuple[int, int]:
        """First byte and length of a vector; nothing of it lies beyond the end."""
        start = self.field(table, index)
        if start is None:
            return 0, 0
        length = self.number("<I", start)
        if start + 4 + width * length > len(self.data):
            raise struct.error
        return start + 4, length

    def content(self, table: int, index: int) -> bytes:
        start, length = self.vector(table, index, 1)
        return self.data[start : start + length]

    def tables(self, table: int, index: int) -> list[int]:
        start, length = self.vector(table, index, 4)
        return [at + self.number("<I", at) for at in range(start, start + 4 * length, 4)]


def _walk(flat: _Flat) -> tuple[bytes, list[tuple[int, str]]]:
    """Follows a model's tables.

    Returns:
        Its metadata, if any, and the graph and key of every signature, in the order of the graphs.
    """
    model = flat.root
    for code in flat.tables(model, 1):
        flat.vector(code, 1, 1)  # custom code
    for graph in flat.tables(model, 2):
        for tensor in flat.tables(graph, 0):
            flat.vector(tensor, 0, 4)  # shape
            flat.vector(tensor, 3, 1)  # name
            scales = flat.field(tensor, 4)
            if scales is not None:
                for index, width in enumerate((4, 4, 4, 8)):
                    flat.vector(scales, index, width)  # min, max, scale, zero point
        for operator in flat.tables(graph, 3):
            flat.vector(operator, 1, 4)  # inputs
            flat.vector(operator, 2, 4)  # outputs
            flat.field(operator, 4)  # options
    buffers = flat.tables(model, 4)
    for buffer in buffers:
        flat.vector(buffer, 0, 1)
    found = b""
    for entry in flat.tables(model, 6):
        slot = flat.slot(entry, 1)
        index = 0 if slot is None else flat.number("<I", slot)
        if flat.content(entry, 0) == METADATA and index < len(buffers):
            found = flat.content(buffers[index], 0)
    keys = []
    for signature in flat.tables(model, 7):
        slot = flat.slot(signature, 4)
        graph = 0 if slot is None else flat.number("<I", slot)
        keys.append((graph, flat.content(signature, 2).decode()))
    return found, sorted(keys)


def _associated(flat: _Flat) -> tuple[list[str], list[str | None]]:
    """The files that metadata names, and which has the labels of every graph's first output."""

    def files(table: int, index: int) -> Iterator[tuple[str, int]]:
        for entry in flat.tables(table, index):
            slot = flat.slot(entry, 2)
            kind = 0 if slot is None else flat.number("<b", slot)
            yield flat.content(entry, 0).decode(), kind

    names = [name for name, _ in files(flat.root, 6)]
    labels: list[str | None] = []
    for graph in flat.tables(flat.root, 3):
        names += [name for name, _ in files(graph, 4)]
        outputs, found = flat.tables(graph, 3), None
        for tensor in (*flat.tables(graph, 2), *outputs):
            for name, kind in files(tensor, 6):
                names.append(name)
                if found is None and kind == AXIS_LABELS and tensor == outputs[0]:
                    found = name
        labels.append(found or None)
    return [name for name in names if name], labels


def _unzip(data: bytes, names: list[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in names}
