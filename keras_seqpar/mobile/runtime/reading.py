"""Reads a .tflite file without an interpreter: checks that it is complete, and reads its metadata.

A .tflite file is a flatbuffer as in TensorFlow's schema.fbs. Its metadata is another flatbuffer, as
in TFLite's metadata_schema.fbs, and the files that belong to it follow as a zip archive.
"""

import dataclasses
import io
import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader
from keras_seqpar.mobile.runtime.labels import read_labels

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


def read_tflite(path: Path) -> Contents:
    """Checks that a file is complete, and reads its description, labels and signatures.

    tflite-runtime crashes the whole process on a truncated file, so this check comes first. It
    follows every table and vector that holds names, shapes, scales or weights and checks that they
    end inside the file, and that the files which the metadata names are there.

    Args:
        path: a .tflite file.

    Returns:
        What the file says about itself.

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
        flat = FlatbufferReader(data)
        metadata, keys = _walk(flat)
        names, label_files = _associated(FlatbufferReader(metadata)) if metadata else ([], [])
        files = _unzip(data, names) if names else {}
        labels = [
            read_labels(files[name], f"{name} in {path.name}") if name else None
            for name in label_files
        ]
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


def _walk(flat: FlatbufferReader) -> tuple[bytes, list[tuple[int, str]]]:
    """Follows all tables of a model.

    Returns:
        Its metadata, empty where it has none, and `(graph, key)` of every signature, by graph.
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


def _associated(flat: FlatbufferReader) -> tuple[list[str], list[str | None]]:
    """The files that metadata names, and for every graph the one with its first output's labels."""

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
