"""tflite/pack.py as users call it."""

import dataclasses

import pytest

from keras_seqpar.mobile.format.pack_files import write_manifest
from keras_seqpar.mobile.runtime.manifest import read_manifest
from keras_seqpar.networks.thresholds import Threshold

pytestmark = pytest.mark.only_backend("tensorflow")


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pack_add_remove(call, network, tmp_path):
    options = ("--dataset", "digits", "--output", "out/digits.pack", "--images", 100)
    code, out, err = call(
        "pack.py",
        *(network, "--categories", "0,3,8", "--input_dtype", "uint8", "--measure"),
        *options,
    )
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("top-1 agreement with Keras: ") and ">= 97.00%" in lines[0]
    assert lines[1].startswith("top-1 agreement with one file: ")
    assert "ratio" in lines[2] and "3 categories" in lines[2]
    assert lines[3].startswith("out/digits.pack: int8, trunk ") and lines[3].endswith(": 0, 3, 8")
    code, out, err = call("pack.py", network, "--add", "5", *options)
    assert code == 0, err
    assert out.splitlines()[-1].endswith(": 0, 3, 8, 5")
    code, out, _ = call("pack.py", "--remove", "3", "--output", "out/digits.pack")
    assert code == 0 and out.splitlines()[-1].endswith(": 0, 8, 5")
    folder = tmp_path / "out" / "digits.pack"
    write_manifest(folder, dataclasses.replace(read_manifest(folder), threshold=Threshold(1.5)))
    before = contents(folder)
    code, _, err = call("pack.py", network, "--add", "1", "--min_agreement", 1.1, *options)
    assert code == 1
    assert "disagrees with Keras: " in err and "Nothing was changed." in err
    assert contents(folder) == before


def test_command_lines_that_cannot_be(call, network):
    for arguments, words in (
        (["--remove", "3", "--add", "5"], "--remove takes no network and no --add"),
        ([], "Name one .keras file, or preset:NAME."),
        ([network], "Name real images with --dataset"),
    ):
        code, _, err = call("pack.py", *arguments, "--output", "out/digits.pack")
        assert code == 1 and words in err
