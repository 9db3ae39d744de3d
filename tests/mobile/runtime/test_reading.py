"""Damaged .tflite files: a ValueError that names the file, before an interpreter sees it."""

import io
import json
import pathlib
import zipfile

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import QuantizationParametersT

from keras_seqpar.mobile.format import files, flatbuffer
from keras_seqpar.mobile.format.metadata import append
from keras_seqpar.mobile.format.schema import pack, unpack
from keras_seqpar.mobile.runtime.checks.checksum import CHECKSUM
from keras_seqpar.mobile.runtime.flatbuffer_reader import FlatbufferReader
from keras_seqpar.mobile.runtime.manifest import Tensor
from keras_seqpar.mobile.runtime.reading import read_tflite
from keras_seqpar.mobile.runtime.runner import Runner

pytestmark = pytest.mark.only_backend("tensorflow")

TINY = pathlib.Path(__file__).with_name("tiny.tflite").read_bytes()
ARCHIVE = TINY.index(b"PK\3\4")


def written(tmp_path, content: bytes) -> pathlib.Path:
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    return path


def refused(tmp_path, content: bytes, why: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=why) as raised:
        Runner(path)
    assert str(path) in str(raised.value)


def changed(change) -> bytes:
    """The file after a change of its tables; its archive stays."""
    model = unpack(TINY)
    change(model, model.subgraphs[0])
    return pack(model) + TINY[ARCHIVE:]


def described(**facts) -> bytes:
    about = {"network": "n", "quantization": "float32", **facts}
    return changed(lambda m, _: setattr(m, "description", json.dumps(about).encode()))


def integers(scale=0.5, zero_point=0, kind=9):
    """Makes the output of the first operation an integer tensor."""

    def change(model, graph):
        tensor = graph.tensors[graph.operators[0].outputs[0]]
        tensor.type = kind
        tensor.quantization = QuantizationParametersT(
            scale=np.array([scale], "float32"), zeroPoint=np.array([zero_point], "int64")
        )

    return changed(change)


def put(holder, field, value, place=0):
    """Changes one number of a vector."""
    vector = np.array(getattr(holder, field))
    vector[place] = value
    setattr(holder, field, vector)


def window(model, graph):
    """The first operation with strides."""
    return next(op for op in graph.operators if hasattr(op.builtinOptions, "strideW"))


def test_the_file_itself_is_read(tmp_path):
    assert Runner(written(tmp_path, TINY)).labels == ("cat", "dog", "car")
    assert Runner(written(tmp_path, changed(lambda m, g: None))).labels == ("cat", "dog", "car")


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 0, -1, 1e-45, 3e38])
def test_scales_that_crash_interpreters(scale, tmp_path):
    refused(tmp_path, integers(scale), "has the scale")


@pytest.mark.parametrize(("kind", "zero_point"), [(9, 128), (9, -129), (3, 256), (3, -1)])
def test_zero_points_outside_the_type(kind, zero_point, tmp_path):
    refused(tmp_path, integers(zero_point=zero_point, kind=kind), "has the zero point")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m, g: put(g.tensors[0], "shape", -2), "has the shape"),
        (lambda m, g: put(g.tensors[0], "shape", 2**30), "has the shape"),
        (lambda m, g: setattr(g.tensors[1], "shape", np.ones(99, "int32")), "99 numbers, more"),
        (lambda m, g: setattr(g.tensors[1], "buffer", 9999), "has the buffer 9999"),
        (lambda m, g: setattr(g.operators[0], "opcodeIndex", 99), "has the code 99"),
        (lambda m, g: put(g.operators[0], "inputs", 9999), "has the tensor 9999"),
        (lambda m, g: put(g.operators[0], "inputs", -1), "lacks its input 0"),
        (lambda m, g: put(g, "outputs", 9999), "begins or ends at tensor 9999"),
        (lambda m, g: g.operators.reverse(), "before it is computed"),
        (lambda m, g: g.operators.append(g.operators[0]), "has a value already"),
        (lambda m, g: setattr(window(m, g).builtinOptions, "strideW", 0), "no valid strides"),
        (lambda m, g: setattr(window(m, g).builtinOptions, "strideH", -1), "no valid strides"),
        (lambda m, g: setattr(window(m, g).builtinOptions, "strideW", 3), "cannot make"),
        (lambda m, g: setattr(window(m, g), "builtinOptions", None), "no valid strides|options"),
    ],
)
def test_graphs_that_cannot_be(change, why, tmp_path):
    refused(tmp_path, changed(change), why)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"mean": [10**400], "std": [1]}, "'mean' as"),
        ({"mean": [float("nan")], "std": [1]}, "'mean' as"),
        ({"mean": ["a"], "std": [1]}, "'mean' as"),
        ({"mean": [1, 2], "std": [1, 2]}, "does not fit images of 3 channels"),
        ({"mean": [0], "std": [0]}, "'std' as"),
        ({"mean": [0]}, "only one of mean and std"),
        ({"max_gain": "2"}, "'max_gain' as"),
        ({"network": 5}, "'network' as"),
    ],
)
def test_descriptions_that_convert_does_not_write(facts, why, tmp_path):
    refused(tmp_path, described(**facts), why)


def test_a_description_of_another_tool_is_free_text(tmp_path):
    for text in (b'{"mean": "x"}', b"[" * 100, b"[1]", b"\xff", b""):
        content = changed(lambda m, _, text=text: setattr(m, "description", text))
        assert Runner(written(tmp_path, content)).about == {}
    deep = changed(lambda m, _: setattr(m, "description", b"[" * 100_000))
    refused(tmp_path, deep, "nested too deeply")


def zipped(way=zipfile.ZIP_STORED, size=0) -> bytes:
    """The model with another archive."""
    stream = io.BytesIO(TINY[:ARCHIVE])
    with zipfile.ZipFile(stream, "a", way) as archive:
        with zipfile.ZipFile(io.BytesIO(TINY)) as old:
            for name in old.namelist():
                archive.writestr(name, b"0" * size if size else old.read(name), way)
    return stream.getvalue()


def test_archives(tmp_path):
    path = written(tmp_path, zipped(zipfile.ZIP_DEFLATED))
    assert Runner(path).labels == ("cat", "dog", "car")
    refused(tmp_path, zipped(zipfile.ZIP_LZMA), "packed in a way")
    refused(tmp_path, zipped(zipfile.ZIP_BZIP2), "packed in a way")
    refused(tmp_path, zipped(zipfile.ZIP_DEFLATED, 40 * 2**20), "unpack to more than")
    end = TINY.rindex(b"PK\5\6")
    encrypted = bytearray(TINY)
    encrypted[TINY.index(b"PK\1\2") + 8] |= 1
    refused(tmp_path, bytes(encrypted), "encrypted")
    refused(tmp_path, TINY[:end], "is missing")
    many = TINY[: end + 10] + b"\xff\xff" + TINY[end + 12 :]
    refused(tmp_path, many, "more than 1,000 files")


def test_tables_that_are_named_again_and_again_are_counted(tmp_path):
    """A model whose vector of graphs names one graph, with its tensors, very often."""
    flat = FlatbufferReader(TINY)
    with pytest.raises(ValueError, match="more tables than it has bytes"):
        for _ in range(len(TINY)):
            (graph,) = flat.tables(flat.root, 2)
            flat.tables(graph, 0)
    repeated = changed(lambda m, g: m.subgraphs.extend([g] * 3))
    assert read_tflite(written(tmp_path, repeated)).labels == ("cat", "dog", "car")


def test_every_flipped_bit_of_a_file_with_a_hash_is_noticed(tmp_path):
    model, _ = flatbuffer.rewrite(TINY[:ARCHIVE], description=unpack(TINY).description.decode())
    with zipfile.ZipFile(io.BytesIO(TINY)) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    content = files.seal(append(model, inside))
    assert Runner(written(tmp_path, content)).labels == ("cat", "dog", "car")
    name = content.index(CHECKSUM)
    places = [*np.random.default_rng(0).integers(0, len(content), 60), name, name + 10]
    for place in [*places, content.rindex(CHECKSUM), content.rindex(CHECKSUM) + 25]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(place) % 8
        path = written(tmp_path, bytes(flipped))
        with pytest.raises(ValueError, match="net.tflite"):
            read_tflite(path)
    digits = content.rindex(CHECKSUM) + len(CHECKSUM) + 1
    upper = content[:digits] + content[digits : digits + 64].upper() + content[digits + 64 :]
    assert read_tflite(written(tmp_path, upper)).labels == ("cat", "dog", "car")
    changed_after = content[:digits] + b"0" * 64 + content[digits + 64 :]
    refused(tmp_path, changed_after, "SHA-256 in its metadata")


def test_tensors_of_manifests():
    good = {"shape": [1, 2], "dtype": "int8", "scale": 0.5, "zero_point": 3}
    assert Tensor.from_config(good) == Tensor((1, 2), "int8", 0.5, 3)
    for wrong in ({"shape": ["a"]}, {"scale": float("nan")}, {"scale": -1}, {"zero_point": 0.5}):
        with pytest.raises(ValueError):
            Tensor.from_config(good | wrong)
