"""tflite/convert.py and tflite/verify.py as people call them."""

import importlib
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_seqpar import mobile
from tests import harness

pytestmark = pytest.mark.only_backend("tensorflow")


def call(root, script, *arguments, folder, backend="tensorflow"):
    return subprocess.run(
        [sys.executable, str(root / "tflite" / script), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def best(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.keras"
    trained.net.save(path)
    return path


def test_convert_then_verify(root, best, tmp_path):
    options = ("--categories", "3,5,8", "--dataset", "digits")
    integers = ("--quantization", "int8", "--input_dtype", "uint8")
    done = call(root, "convert.py", best, *options, *integers, folder=tmp_path, backend="jax")
    assert done.returncode == 0, done.stderr
    name = "best-c3-c5-c8-int8"
    assert sorted(os.listdir(tmp_path / "out")) == [f"{name}.labels.txt", f"{name}.tflite"]
    assert f"{name}.tflite (int8) in ai-edge-litert" in done.stdout
    assert "accuracy" in done.stdout and f"labels in {name}.labels.txt" in done.stdout
    file = tmp_path / "out" / f"{name}.tflite"
    assert mobile.Runner(file).labels == ("3", "5", "8")
    done = call(root, "verify.py", file, best, *options, "--images", 50, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "beside Keras on 50 images" in done.stdout


def test_a_disagreement_leaves_no_file(root, best, tmp_path):
    done = call(
        root,
        "convert.py",
        best,
        *("--dataset", "digits", "--output", "out/net.tflite", "--max_error", 1e-9),
        folder=tmp_path,
    )
    assert done.returncode == 1
    assert "top-1 agreement" in done.stdout  # the table is shown all the same
    assert "Error: net.tflite disagrees with Keras: the largest error" in done.stderr
    assert "is above 1e-09. No file was written." in done.stderr
    assert os.listdir(tmp_path / "out") == []


SPOILED = """
import dataclasses, os, runpy, sys
from keras_seqpar import mobile
verify = mobile.verify
mobile.verify = lambda *a, **k: dataclasses.replace(verify(*a, **k), accuracy=0.5)
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_drop_of_accuracy_leaves_no_file(root, best, tmp_path):
    script = str(root / "tflite" / "convert.py")
    options = ("--dataset", "digits", "--max_accuracy_drop", "0.01", "--quantizer", "ai_edge")
    done = subprocess.run(
        [sys.executable, "-c", SPOILED, script, str(best), *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Error: best-dynamic.tflite disagrees with Keras: the accuracy, 50.00%" in done.stderr
    assert "is more than 1.00% below Keras's" in done.stderr and "No file" in done.stderr
    assert os.listdir(tmp_path / "out") == []
    done = call(root, "convert.py", "--help", folder=tmp_path)
    assert "--max_accuracy_drop" in done.stdout and "--license" in done.stdout


@pytest.fixture
def shared(root, monkeypatch):
    """The module beside the commands."""
    monkeypatch.syspath_prepend(str(root / "tflite"))
    return importlib.import_module("shared")


def test_networks_that_cannot_be_read(shared, best, tmp_path):
    with pytest.raises(ValueError, match=r"There is no file nowhere.keras\."):
        shared.load_network("nowhere.keras", [])
    content = best.read_bytes()
    for damaged in (b"no zip file", b"", content[: len(content) // 2], content[:-10]):
        path = tmp_path / "damaged.keras"
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged.keras is no readable .keras file"):
            shared.load_network(str(path), [])
    with pytest.raises(ValueError, match="Unknown category.*'9'.*0, 1, 3, 5, 8"):
        shared.load_network(str(best), ["3", "9"])


def test_signatures_are_read(shared):
    found = shared.signatures(["low=0, 1", "all", "odd="])
    assert found == {"low": ["0", "1"], "all": None, "odd": []}
    with pytest.raises(ValueError, match="--signature names 'a' twice"):
        shared.signatures(["a=0", "a"])


def test_images_are_those_of_the_networks_categories(shared, trained):
    digits = shared.load_dataset("digits", None, trained.cutout)
    images, labels = shared.images_of(digits, "validation", trained.cutout)
    assert np.array_equal(images, trained.images)
    assert np.array_equal(labels, trained.labels)
    some, labels = shared.images_of(digits, "train", trained.cutout, 30)
    assert some.shape == (30, 32, 32, 3) and set(labels) == {0, 1, 2}
    letters = harness.network(["3", "x"], include_preprocessing=True)
    with pytest.raises(ValueError, match="categories x are not in the data set 'digits'"):
        shared.images_of(digits, "train", letters)
    other = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()], name="other")
    with pytest.raises(ValueError, match="'other' is no network of this package: no labels"):
        shared.images_of(digits, "train", other)
    with pytest.raises(ValueError, match="32 x 48; wanted is a square"):
        shared.load_dataset(
            "digits", None, keras.Sequential([keras.Input((32, 48, 3)), keras.layers.Flatten()])
        )
