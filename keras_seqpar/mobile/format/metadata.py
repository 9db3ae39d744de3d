"""TFLite metadata: labels, normalization and more for other tools, inside a .tflite file.

A flatbuffer as in metadata_schema.fbs of TFLite (MediaPipe has the same one), stored in the
model's buffer `TFLITE_METADATA`; the files that it names, labels among them, follow the model as
a zip archive, not compressed. MediaPipe Tasks and Android's tools read names and normalization
from it. https://ai.google.dev/edge/litert/models/metadata
"""

import io
import json
import zipfile
from collections.abc import Collection, Mapping, Sequence

import flatbuffers

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.mobile.runtime.runner import NONE

LABELS = "labels.txt"
GAINS_LABELS = "gains.txt"
NONE_LABELS = "none_of_these.txt"
HIERARCHY = "hierarchy.json"

# Numbers of metadata_schema.fbs.
_DESCRIPTIONS, _AXIS_LABELS = 1, 2  # AssociatedFileType
_FEATURE, _IMAGE = 1, 2  # ContentProperties
_COLORS = {1: 2, 3: 1}  # channels -> ColorSpaceType: GRAYSCALE, RGB
_NORMALIZATION = 1  # ProcessUnitOptions


def file_name(name: str, signature: str = "") -> str:
    """The name of an associated file, with the signature before it in a file of several."""
    return f"{signature}.{name}" if signature else name


def associated_files(
    *,
    labels: Sequence[str] = (),
    gains: Sequence[str] = (),
    none: bool = False,
    hierarchy: Hierarchy | None = None,
) -> dict[str, bytes]:
    """The files that travel in a .tflite file of one signature.

    Args:
        labels: in the order of the scores; none for a file without labels.
        gains: labels of the nodes in the order of a gains input.
        none: the file has the output `none_of_these`.
        hierarchy: of the network.

    Returns:
        Name -> content.
    """
    files = {}
    if labels:
        files[LABELS] = _lines(labels)
    if gains:
        files[GAINS_LABELS] = _lines(gains)
    if none:
        files[NONE_LABELS] = _lines(["none of these"])
    if hierarchy:
        text = json.dumps(hierarchy.get_config(), indent=1, ensure_ascii=False)
        files[HIERARCHY] = text.encode() + b"\n"
    return files


def metadata(
    files: Mapping[str, bytes],
    *,
    name: str,
    description: str,
    author: str | None,
    license: str | None,
    channels: int,
    normalization: tuple[Sequence[float], Sequence[float]] | None,
    graphs: Mapping[str, Collection[str]],
) -> bytes:
    """Describes a .tflite file with the input `image` and the output `scores`.

    Args:
        files: from `associated_files`, with names from `file_name`.
        name: of the network.
        description: free text.
        author: free text.
        license: free text; an SPDX identifier is best.
        channels: of the images.
        normalization: `(mean, std)` per channel in pixels, if known.
        graphs: signature -> which of `gains` (input) and `none_of_these` (output) it also has; the
            key is "" in a file of one signature.

    Returns:
        The content of the buffer `TFLITE_METADATA`.
    """
    b = flatbuffers.Builder(1024)

    def file(name: str, kind: int, description: str) -> int | None:
        if name not in files:
            return None
        return _table(b, {0: _text(b, name), 1: _text(b, description), 2: bytes([kind])})

    def tensor(name, description, content, unit=None, labels=None) -> int:
        slots = {0: _text(b, name), 1: _text(b, description), 3: content}
        slots[4] = _vector(b, [unit])
        slots[6] = _vector(b, [labels])
        return _table(b, slots)

    def feature() -> int:
        return _table(b, {0: bytes([_FEATURE]), 1: _table(b, {})})

    def hierarchy(signature: str) -> int | None:
        name = file_name(HIERARCHY, signature)
        return _vector(b, [file(name, _DESCRIPTIONS, "Superclasses and categories, as a tree.")])

    def graph(signature: str, beside: Collection[str]) -> int:
        def named(name: str, description: str) -> int | None:
            return file(file_name(name, signature), _AXIS_LABELS, description)

        image, unit = None, None
        if channels in _COLORS:
            properties = _table(b, {0: bytes([_COLORS[channels]])})
            image = _table(b, {0: bytes([_IMAGE]), 1: properties})
        if normalization:
            options = _table(b, {i: _floats(b, values) for i, values in enumerate(normalization)})
            unit = _table(b, {0: bytes([_NORMALIZATION]), 1: options})
        inputs = [tensor("image", "The image.", image, unit)]
        if "gains" in beside:
            labels = named(GAINS_LABELS, "The node of every gain.")
            text = "What multiplies the features of every node; 1 is neutral."
            inputs.append(tensor("gains", text, feature(), labels=labels))
        labels = named(LABELS, "The category of every score.")
        outputs = [tensor("scores", "One score per category.", feature(), labels=labels)]
        if NONE in beside:
            labels = named(NONE_LABELS, "What the output says.")
            text = "1 where the image shows none of the categories, else 0."
            outputs.append(tensor(NONE, text, feature(), labels=labels))
        slots = {2: _vector(b, inputs), 3: _vector(b, outputs)}
        if signature:
            slots |= {0: _text(b, signature), 4: hierarchy(signature)}
        return _table(b, slots)

    slots = {
        0: _text(b, name),
        1: _text(b, description),
        3: _vector(b, [graph(key, beside) for key, beside in graphs.items()]),
        4: _text(b, author),
        5: _text(b, license),
        6: hierarchy(""),
        7: _text(b, "1.0.0"),  # of the parser: the first knows all that is used here
    }
    b.Finish(_table(b, slots), b"M001")
    return bytes(b.Output())


def append(content: bytes, files: Mapping[str, bytes]) -> bytes:
    """Appends files to a model as a zip archive; equal files give equal bytes.

    Args:
        content: of a .tflite file.
        files: name -> content.

    Returns:
        The content with files.
    """
    if not files:
        return content
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a") as archive:  # stored: readers map it into memory
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), data)  # dated 1980
    return stream.getvalue()


def _lines(names: Sequence[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()


def _table(b: flatbuffers.Builder, slots: Mapping[int, int | bytes | None]) -> int:
    """A table of offsets and of enumerations of one byte; slots with `None` are left out."""
    b.StartObject(max(slots, default=-1) + 1)
    for slot, value in slots.items():
        if isinstance(value, bytes):
            b.PrependUint8Slot(slot, value[0], 0)
        elif value is not None:
            b.PrependUOffsetTRelativeSlot(slot, value, 0)
    return b.EndObject()


def _text(b: flatbuffers.Builder, text: str | None) -> int | None:
    return None if text is None else b.CreateString(text)


def _vector(b: flatbuffers.Builder, offsets: Sequence[int | None]) -> int | None:
    kept = [offset for offset in offsets if offset is not None]
    if not kept:
        return None
    b.StartVector(4, len(kept), 4)
    for offset in reversed(kept):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def _floats(b: flatbuffers.Builder, values: Sequence[float]) -> int:
    # One value if it is the same in all channels: MediaPipe 1.2.2 takes no other form.
    values = values[:1] if len(set(values)) == 1 else values
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        b.PrependFloat32(value)
    return b.EndVector()
