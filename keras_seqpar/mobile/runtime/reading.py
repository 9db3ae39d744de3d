"""Reads a .tflite file without an interpreter: checks that it is complete, and reads its metadata.

A .tflite file is a flatbuffer as in TensorFlow's schema.fbs. Its metadata is another flatbuffer, as
in TFLite's metadata_schema.fbs, and the files that belong to it follow as a zip archive.
"""

import dataclasses
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from keras_seqpar.mobile.runtime.checks.archive import read_archive
from keras_seqpar.mobile.runtime.checks.checksum import check_checksum
from keras_seqpar.mobile.runtime.checks.facts import check_facts
from keras_seqpar.mobile.runtime.checks.graphs import check_graphs
from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader
from keras_seqpar.mobile.runtime.labels import read_labels

METADATA = b"TFLITE_METADATA"  # name of the buffer that holds it
AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS
MOST_BYTES = 2**31  # of a file; offsets in it have 32 bits


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
    """Checks that a file is complete and sound, and reads its description, labels and signatures.

    Interpreters crash the whole process on truncated and damaged files, so this check comes first.
    It follows every table and vector and checks that they end inside the file, that the files
    which the metadata names are there, and that shapes, scales, indices and options are such that
    an interpreter can compute with them. A file that `convert` wrote also has the SHA-256 that it
    was written with.

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
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{str(path)!r} has more than {MOST_BYTES:,} bytes: no .tflite file has.")
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise ValueError(
            f"{str(path)!r} is no .tflite file: it begins with {data[:8]!r}. Make one with "
            "keras_seqpar.mobile.convert or tflite/convert.py."
        )
    try:
        return _read(data, path.name)
    except (struct.error, IndexError):
        why = f"it has {len(data):,} bytes and refers to more"
    except UnicodeDecodeError:
        why = "a name in it is no UTF-8"
    except RecursionError:
        why = "its description is nested too deeply"
    except ValueError as error:
        why = str(error).rstrip(".")
    raise ValueError(f"{str(path)!r} is truncated or damaged: {why}. Copy or convert it again.")


def _read(data: bytes, name: str) -> Contents:
    flat = FlatbufferReader(data)
    entries = _metadata(flat)
    check_checksum(data, entries)
    check_graphs(flat)
    keys = sorted(
        (flat.value("<I", signature, 4), flat.text(signature, 2))
        for signature in flat.tables(flat.root, 7)
    )
    start, length = entries.get(METADATA, (0, 0))
    found = FlatbufferReader(data[start : start + length]) if length else None
    names, label_files = _associated(found) if found else ([], [])
    files = read_archive(data, names)
    labels = [read_labels(files[x], f"{x} in {name}") if x else None for x in label_files]
    signatures = {key: labels[i] if i < len(labels) else None for i, key in keys}
    first = labels[0] if labels else None
    return Contents(_about(flat.content(flat.root, 3)), first, files, signatures)


def _metadata(flat: FlatbufferReader) -> dict[bytes, tuple[int, int]]:
    """Name of an entry of the model's metadata -> start and length of its content."""
    buffers, found = flat.tables(flat.root, 4), {}
    for entry in flat.tables(flat.root, 6):
        index = flat.value("<I", entry, 1)
        if index < len(buffers):
            found[flat.content(entry, 0)] = flat.vector(buffers[index], 0, 1)
    return found


def _about(text: bytes) -> dict:
    """What `convert` wrote as the model's description; empty for other descriptions."""
    try:
        about = json.loads(text)
    except ValueError:  # a file from elsewhere: free text
        return {}
    if not isinstance(about, dict) or "quantization" not in about:
        return {}
    check_facts(about)
    return about


def _associated(flat: FlatbufferReader) -> tuple[list[str], list[str | None]]:
    """The files that metadata names, and for every graph the one with its first output's labels."""

    def files(table: int, index: int) -> Iterator[tuple[str, int]]:
        for entry in flat.tables(table, index):
            yield flat.text(entry, 0), flat.value("<b", entry, 2)

    names = [name for name, _ in files(flat.root, 6)]
    labels: list[str | None] = []
    for graph in flat.tables(flat.root, 3):
        names += [name for name, _ in files(graph, 4)]
        outputs, found = flat.tables(graph, 3), None
        for tensor in (*flat.tables(graph, 2), *outputs):
            for name, kind in files(tensor, 6):
                names.append(name)
                if found is None and kind == AXIS_LABELS and outputs and tensor == outputs[0]:
                    found = name
        labels.append(found or None)
    return [name for name in names if name], labels
