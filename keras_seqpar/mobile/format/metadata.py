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

import numpy as np

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.mobile.runtime.flatbuffer_writer import Scalar, write
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

    def file(name: str, kind: int, description: str) -> dict | None:
        return _table(name, description, Scalar("<B", kind)) if name in files else None

    def tensor(name, description, content, unit=None, labels=None) -> dict:
        return _table(name, description, None, content, _list(unit), None, _list(labels))

    def graph(signature: str, beside: Collection[str]) -> dict:
        def named(name: str, description: str) -> dict | None:
            return file(file_name(name, signature), _AXIS_LABELS, description)

        feature = _table(Scalar("<B", _FEATURE), {})
        image, unit = None, None
        if channels in _COLORS:
            image = _table(Scalar("<B", _IMAGE), _table(Scalar("<B", _COLORS[channels])))
        if normalization:
            unit = _table(Scalar("<B", _NORMALIZATION), _table(*map(_floats, normalization)))
        inputs = [tensor("image", "The image.", image, unit)]
        if "gains" in beside:
            labels = named(GAINS_LABELS, "The node of every gain.")
            text = "What multiplies the features of every node; 1 is neutral."
            inputs.append(tensor("gains", text, feature, labels=labels))
        labels = named(LABELS, "The category of every score.")
        outputs = [tensor("scores", "One score per category.", feature, labels=labels)]
        if NONE in beside:
            labels = named(NONE_LABELS, "What the output says.")
            text = "1 where the image shows none of the categories, else 0."
            outputs.append(tensor(NONE, text, feature, labels=labels))
        tree = hierarchy(signature) if signature else None
        return _table(signature or None, None, inputs, outputs, tree)

    def hierarchy(signature: str) -> list | None:
        name = file_name(HIERARCHY, signature)
        return _list(file(name, _DESCRIPTIONS, "Superclasses and categories, as a tree."))

    graphs_ = [graph(key, beside) for key, beside in graphs.items()]
    tree, parser = hierarchy(""), "1.0.0"  # the first parser that knows all that is used here
    root = _table(name, description, None, graphs_, author, license, tree, parser)
    return write(root, b"M001")


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


def _table(*fields) -> dict:
    """A table of these fields in order; those that are `None` are left out."""
    given = ((i, x.encode() if isinstance(x, str) else x) for i, x in enumerate(fields))
    return {i: x for i, x in given if x is not None}


def _list(table: dict | None) -> list[dict] | None:
    return None if table is None else [table]


def _floats(values: Sequence[float]) -> np.ndarray:
    # One value if it is the same in all channels: MediaPipe 1.2.2 takes no other form.
    return np.array(values[:1] if len(set(values)) == 1 else values, "<f4")
