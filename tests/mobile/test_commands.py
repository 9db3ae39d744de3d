"""tflite/convert.py and tflite/verify.py as people call them."""

import os
import subprocess
import sys

import pytest

from keras_seqpar import mobile

pytestmark = pytest.mark.only_backend("tensorflow")


def call(root, script, *arguments, folder, backend="tensorflow"):
    return subprocess.run(
        [sys.executable, str(root / "tflite" / script), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
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
    done = call(root, "verify.py", file, best, *options, "--pictures", 50, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "beside Keras on 50 pictures" in done.stdout


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.keras"], "There is no file nowhere.keras"),
        (["broken.keras"], "broken.keras is no readable .keras file"),
        (["cut.keras"], "cut.keras is no readable .keras file"),
        (["best.keras", "--categories", "3,9"], "Unknown category '9'"),
    ],
)
def test_errors(root, best, tmp_path, arguments, message):
    (tmp_path / "broken.keras").write_bytes(b"no zip file")
    content = best.read_bytes()
    (tmp_path / "cut.keras").write_bytes(content[: len(content) // 2])
    (tmp_path / "best.keras").write_bytes(content)
    before = sorted(os.listdir(tmp_path))
    done = call(root, "convert.py", *arguments, "--dataset", "digits", folder=tmp_path)
    assert done.returncode == 1
    assert f"Error: {message}" in done.stderr and "No file was written." in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == before
