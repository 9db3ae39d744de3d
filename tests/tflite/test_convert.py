"""tflite/convert.py and tflite/verify.py as users call them."""

import dataclasses
import os
import subprocess
import sys

import pytest

from keras_seqpar import mobile
from tests import commands
from tests.conftest import ROOT

pytestmark = pytest.mark.only_backend("tensorflow")


def test_convert_then_verify(call, network, tmp_path):
    options = ("--categories", "3,5,8", "--dataset", "digits")
    integers = ("--quantization", "int8", "--input_dtype", "uint8")
    code, out, err = call("convert.py", network, *options, *integers, "--images", 100)
    assert code == 0, err
    name = "best-c3-c5-c8-int8"
    assert sorted(os.listdir(tmp_path / "out")) == [f"{name}.labels.txt", f"{name}.tflite"]
    assert f"{name}.tflite (int8) in ai-edge-litert" in out
    assert "accuracy" in out and f"labels in {name}.labels.txt" in out
    file = tmp_path / "out" / f"{name}.tflite"
    assert mobile.Runner(file).labels == ("3", "5", "8")
    code, out, err = call("verify.py", file, network, *options, "--images", 50)
    assert code == 0, err
    assert "beside Keras on 50 images" in out


def test_it_runs_on_tensorflow_whatever_the_backend_is(network, tmp_path):
    command = [sys.executable, str(ROOT / "tflite/convert.py"), str(network)]
    done = subprocess.run(
        [*command, "--dataset", "digits", "--images", "60"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "out")) == [
        "best-dynamic.labels.txt",
        "best-dynamic.tflite",
    ]


def test_a_disagreement_leaves_no_file(call, network, tmp_path):
    code, out, err = call(
        "convert.py",
        network,
        *("--dataset", "digits", "--output", "out/net.tflite", "--max_error", 1e-9),
        *("--images", 60),
    )
    assert code == 1
    assert "top-1 agreement" in out  # the table is shown all the same
    assert "error: net.tflite disagrees with Keras: the largest error" in err
    assert "is above 1e-09. No file was written." in err
    assert os.listdir(tmp_path / "out") == []


def test_a_drop_of_accuracy_leaves_no_file(call, network, tmp_path, monkeypatch):
    verify = mobile.verify
    monkeypatch.setattr(
        mobile, "verify", lambda *a, **k: dataclasses.replace(verify(*a, **k), accuracy=0.5)
    )
    options = ("--dataset", "digits", "--images", 60, "--max_accuracy_drop", "0.01")
    options += ("--quantizer", "litert")
    code, _, err = call("convert.py", network, *options)
    assert code == 1
    assert "error: best-dynamic.tflite disagrees with Keras: the accuracy, 50.00%" in err
    assert "is more than 1.00% below Keras's" in err and "No file" in err
    assert os.listdir(tmp_path / "out") == []
    code, out, _ = call("convert.py", "--help")
    assert "--max_accuracy_drop" in out and "--license" in out


def test_networks_that_cannot_be_read(call, network, tmp_path):
    def refused(file, *options):
        code, _, err = call("verify.py", "no.tflite", file, "--dataset", "digits", *options)
        assert code == 1
        return err

    assert "error: There is no file nowhere.keras." in refused("nowhere.keras")
    content = network.read_bytes()
    for damaged in (b"no zip file", b"", content[: len(content) // 2], content[:-10]):
        (tmp_path / "damaged.keras").write_bytes(damaged)
        assert "damaged.keras is no readable .keras file" in refused("damaged.keras")
    assert "Unknown category" in (said := refused(network, "--categories", "3,9"))
    assert "'9'" in said and "0, 1, 3, 5, 8" in said


def test_signatures_are_read():
    parse_signatures = commands.load("tflite/convert.py").parse_signatures
    found = parse_signatures(["low=0, 1", "all", "odd="])
    assert found == {"low": ["0", "1"], "all": None, "odd": []}
    with pytest.raises(ValueError, match="--signature names 'a' twice"):
        parse_signatures(["a=0", "a"])


def test_several_signatures(call, network, tmp_path):
    code, out, err = call(
        "convert.py",
        network,
        *("--dataset", "digits", "--images", 60),
        *("--signature", "low=0, 1", "--signature", "all"),
    )
    assert code == 0, err
    assert os.listdir(tmp_path / "out") == ["best-low-all-dynamic.tflite"]
    for key in ("low", "all"):
        assert f"best-low-all-dynamic.tflite, signature {key} (dynamic) in" in out
    assert out.count("beside Keras on 60 images") == 2
