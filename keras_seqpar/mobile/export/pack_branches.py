"""Trunk and branches -> the files of a pack.

In int8 a file passes its integers on as they are, so every branch must be quantized at its input
exactly as the trunk (or the superclass's branch) is at its output. TensorFlow's converter
computes scale and zero point from the smallest and largest value that it sees in calibration.
Hence a branch is calibrated on what the int8 trunk gives, scaled back to floats, and on one
sample more that holds the smallest and the largest value that the trunk can give. Whether the
numbers came out equal, bit for bit, is checked, and other files are refused.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.hierarchy.tree import Hierarchy, Node
from keras_seqpar.mobile.export.compat import to_tflite
from keras_seqpar.mobile.runtime.manifest import Part, Tensor, branch_file
from keras_seqpar.mobile.runtime.pack_runner import PartRunner, load_part
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.parts import Parts, traits
from keras_seqpar.utils.files import write_file
from keras_seqpar.weights import named_weights


def fingerprint(part: keras.Model) -> str:
    """Hashes what a trunk or branch computes: the names, kinds and weights of its layers.

    Args:
        part: a sub-model of a network of this package.

    Returns:
        A SHA-256, hexadecimal. It is the same after saving and reloading.
    """
    digest = hashlib.sha256()
    for layer in leaf_layers(part):
        digest.update(repr((layer.name, type(layer).__name__, traits(layer))).encode())
    for name, variable in named_weights(part).items():
        value = keras.ops.convert_to_numpy(variable)
        digest.update(repr((name, value.shape, value.dtype.str)).encode() + value.tobytes())
    return digest.hexdigest()


def make_branches(
    parts: Parts,
    hierarchy: Hierarchy,
    folder: Path,
    trunk: tuple[Part, PartRunner],
    known: Mapping[str, Part],
    work: Path,
    quantization: str,
    calibration: np.ndarray | None,
) -> dict[str, Part]:
    """Converts branches, parents first.

    Args:
        parts: of the network.
        hierarchy: of the nodes wanted.
        folder: the pack, with the files of `known`.
        trunk: the trunk's file, loaded.
        known: node id -> branch that the pack has already.
        work: where to write.
        quantization: of the pack.
        calibration: images for int8, else `None`.

    Returns:
        Node id -> branch written.
    """
    made: dict[str, Part] = {}

    def make(node: Node, feeder: Part, features: np.ndarray | None) -> None:
        if node.id in known:
            part, runner = known[node.id], load_part(folder, known[node.id])
        else:
            part, runner = _make_branch(parts, node, feeder, features, work, quantization)
            made[node.id] = part
        if node.children:
            if features is not None:
                features = np.concatenate([runner.pass_on(some[None]) for some in features])
            for child in node.children:
                make(child, part, features)

    part, runner = trunk
    features = None
    if calibration is not None:
        images = (runner.encode(image[None]) for image in calibration)
        features = np.concatenate([runner.pass_on(image) for image in images])
    for root in hierarchy.roots:
        make(root, part, features)
    return made


def _make_branch(
    parts: Parts,
    node: Node,
    feeder: Part,
    features: np.ndarray | None,
    work: Path,
    quantization: str,
) -> tuple[Part, PartRunner]:
    """Converts one branch; `features` are what `feeder` gives on the calibration images."""
    dtype = feeder.output.dtype
    branch, file = parts.branches[node.id], branch_file(node.id)
    content = convert_part(
        branch,
        feeder.output.shape,
        quantization,
        lambda: iter(()) if features is None else _feature_samples(features, feeder.output),
        (dtype, "float32" if node.is_category else dtype),
        ("features", "logit" if node.is_category else "features"),
        {
            "node": node.id,
            "label": node.label,
            "quantization": quantization,
            "takes": feeder.sha256,
        },
    )
    part, runner = keep(work, file, content, branch, feeder.sha256)
    if part.input != feeder.output:
        raise ValueError(
            f"The converter made {file} take {part.input}, but {feeder.file} gives "
            f"{feeder.output}: the two do not fit. Pack with quantization='float32', or calibrate "
            "on other images."
        )
    return part, runner


def convert_part(model, shape, quantization, calibration, dtypes, names, about: dict) -> bytes:
    """The content of a .tflite file; `names` and `dtypes` are of input and output."""
    from keras_seqpar.mobile.format.flatbuffer import (
        rewrite,  # needs the [mobile] extra, as TensorFlow
    )

    content = to_tflite(model, shape, quantization, calibration, *dtypes)
    content = _with_input_name(content, names[0])
    return rewrite(content, outputs=names[1:], description=json.dumps(about))[0]


def _with_input_name(content: bytes, name: str) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    model.signatureDefs[0].inputs[0].name = name.encode()
    builder = flatbuffers.Builder(len(content) + 1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def keep(
    work: Path, file: str, content: bytes, part: keras.Model, takes: str | None
) -> tuple[Part, PartRunner]:
    """Writes a file and loads it."""
    write_file(work / file, content)
    runner = PartRunner(work / file)
    record = Part(
        file=file,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        weights=fingerprint(part),
        takes=takes,
        input=runner.input,
        output=runner.output,
    )
    return record, runner


def _feature_samples(features: np.ndarray, tensor: Tensor) -> Iterator[list[np.ndarray]]:
    """Yields int8 features as floats, then a sample with the extremes of what int8 can say."""
    low, high = extremes(tensor)

    def as_floats(some: np.ndarray) -> np.ndarray:
        values = (some.astype("int32") - tensor.zero_point) * np.float32(tensor.scale)
        return np.clip(values.astype("float32"), low, high)  # which differ by rounding

    for some in features:
        yield [as_floats(some[None])]
    sample = as_floats(features[:1])
    sample.reshape(-1)[[0, -1]] = low, high
    yield [sample]


def extremes(tensor: Tensor) -> tuple[np.float32, np.float32]:
    """The smallest and largest value of an int8 tensor, from which its scale can be computed.

    The converter divides their difference by 255 in float32, so where the product of scale and
    integer was rounded, the quotient may be the scale's neighbor. The nearest floats that give
    the scale itself are taken.

    Args:
        tensor: int8.

    Returns:
        Both as float32. Rounding apart, `scale * (-128 - zero_point)` and
        `scale * (127 - zero_point)`.
    """
    scale = np.float32(tensor.scale)
    ends = [np.float32(scale * np.float32(q - tensor.zero_point)) for q in (-128, 127)]
    pairs = itertools.product(*map(_neighbors, ends))
    for low, high in pairs:
        if (high - low) / np.float32(255) == scale:
            return low, high
    return ends[0], ends[1]


def _neighbors(value: np.float32) -> list[np.float32]:
    """A float and those around it, the nearest first; zero stays alone."""
    found = [value]
    if value:
        for direction in (np.float32(np.inf), np.float32(-np.inf)):
            near = value
            for _ in range(3):
                near = np.nextafter(near, direction)
                found.append(near)
    return sorted(found, key=lambda near: abs(float(near) - float(value)))
