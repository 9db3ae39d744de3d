"""The explorer's command: a network and a data set become the page's data, in int8."""

import json
import shutil

import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.explorer import server
from tests import commands
from tests.references import digits_nets

pytest.importorskip("absl")
pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.only_backend("tensorflow")


def test_digits_become_static_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # the command sets it; so it is set back
    monkeypatch.setattr(server, "install", lambda page: None)
    monkeypatch.setattr(server, "export", lambda page, data, to: shutil.copytree(data, to))
    path, out = tmp_path / "two.keras", tmp_path / "static"
    sp.cutout(digits_nets.load("mobile"), ["3", "8"]).save(path)
    arguments = [path, "--images=20", "--calibration=20", "--gains=1,2", f"--export={out}"]
    assert commands.call("recipes/explore.py", *arguments) == 0
    assert f"Static files: {out}" in capsys.readouterr().out
    facts = json.loads((out / "explorer.json").read_text("utf-8"))
    assert (facts["title"], facts["quantization"], facts["validation"]) == ("two", "int8", True)
    assert [each["caption"] for each in facts["examples"]] == ["3", "8"]
    assert mobile.read_manifest(out / "pack").quantization == "int8"
    results = json.loads((out / "validation.json").read_text("utf-8"))
    assert (results["categories"], len(results["truth"])) == (["3", "8"], 20)


def test_what_is_no_network_is_named(tmp_path, capsys):
    assert commands.call("recipes/explore.py", tmp_path / "none.keras") == 1
    assert "There is no file" in capsys.readouterr().err
