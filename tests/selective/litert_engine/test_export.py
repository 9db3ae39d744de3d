"""Folders of streams for apps; what apps compute with them is tested in tflite/android."""

import base64
import hashlib
import json

import numpy as np
import pytest

from keras_seqpar import selective
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from tests.selective.litert_engine.files import File

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend


def network(kind="int8"):
    """A strided block with a constant per position, a barrier and a head."""
    file = File((1, 21, 19, 3), kind)
    x = file.conv(file.frame, 8, stride=2, activation=1)
    x = file.both("ADD", file.conv(x, 8), x)
    if kind == "float32":
        each = file.rng.normal(size=file.shapes[x]).astype("float32")
        x = file.both("ADD", x, file.tensor(each.shape, each))
    x = file.both("MUL", x, file.mean(x))
    file.outputs = [file.head(x)]
    return file


def read(folder):
    return json.loads((folder / "manifest.json").read_text("utf-8"))


def files_of(manifest):
    steps = [*manifest["steps"], manifest["dense"], manifest["of_extras"], manifest["full"]]
    return [step for step in steps if step and "file" in step]


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_every_run_is_a_file_that_the_manifest_describes(tmp_path, kind):
    path = network(kind).save(tmp_path / "net.tflite")
    folder = selective.export_stream(path, tmp_path / "net.stream")
    manifest = read(folder)
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    steps = files_of(manifest)
    assert {x["kind"] for x in steps} == {"crop", "whole"}
    assert {x.name for x in folder.iterdir()} == {"manifest.json", *(x["file"] for x in steps)}
    _, engine = find_interpreter()
    for step in steps:
        content = (folder / step["file"]).read_bytes()
        assert step["sha256"] == hashlib.sha256(content).hexdigest()
        assert step["bytes"] == len(content)
        loaded = engine(model_content=content)
        loaded.allocate_tensors()
        ends = loaded.get_input_details() + loaded.get_output_details()
        read_there = [x["tensor"] for x in step.get("sources", [])] + step.get("inputs", [])
        numbers = [*read_there, *step.get("vectors", []), *step["outputs"]]
        assert len({x["name"] for x in ends}) == len(ends) == len(numbers)
        for i, end in zip(numbers, ends, strict=True):
            assert np.dtype(end["dtype"]).name == manifest["tensors"][i]["dtype"]


def test_constants_with_positions_are_stored(tmp_path):
    path = network("float32").save(tmp_path / "net.tflite")
    tensors = read(selective.export_stream(path, tmp_path / "net.stream"))["tensors"]
    (constant,) = [x for x in tensors if "data" in x]
    values = np.frombuffer(base64.b64decode(constant["data"]), "<f4")
    assert values.size == np.prod(constant["shape"]) and values.std() > 0.5


def test_labels_beside_the_file_are_taken(tmp_path):
    path = network().save(tmp_path / "net.tflite")
    labels = path.with_name("net.labels.txt")
    labels.write_text("a\nb\nc\nd\nh\u00e9\n", "utf-8")
    folder = selective.export_stream(path, tmp_path / "net.stream")
    assert read(folder)["labels"] == ["a", "b", "c", "d", "h\u00e9"]
    labels.write_text("a\nb\n", "utf-8")
    with pytest.raises(ValueError, match="2 labels"):
        selective.export_stream(path, tmp_path / "other.stream")
    assert not (tmp_path / "other.stream").exists()


def test_what_cannot_be_exported_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        selective.export_stream(tmp_path / "gone.tflite", tmp_path / "net.stream")
    path = network().save(tmp_path / "net.tflite")
    selective.export_stream(path, tmp_path / "net.stream")
    with pytest.raises(ValueError, match="exists already"):
        selective.export_stream(path, tmp_path / "net.stream")
    with pytest.raises(ValueError, match="signature"):
        selective.export_stream(path, tmp_path / "other.stream", signature="pets")
    file = network()
    shape = file.shapes[file.frame]
    file.outputs.append(file.add("CAST", [file.frame], shape, quantized=False, dtype="int32"))
    with pytest.raises(ValueError, match="int32 at 'tensor.*Apps read float32, uint8, int8"):
        selective.export_stream(file.save(tmp_path / "other.tflite"), tmp_path / "other.stream")
