"""The benchmark of streams runs, compares with the dense network and refuses bad flags."""

import json

import keras
import pytest

from tests import commands

pytest.importorskip("absl")

STREAMS = "benchmarks/streams.py"


def test_the_benchmark_prints_a_table_and_writes_a_figure(capsys, tmp_path):
    flags = ["--network=resnet18", "--width=0.125", "--size=32", "--shares=0.02", "--runs=2"]
    flags += ["--mode=positions"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert commands.call(STREAMS, *flags, f"--output={first}") == 0
    printed = capsys.readouterr().out
    assert "resnet18 at 32 pixels" in printed
    assert "the stream keeps 0." in printed
    row = printed.splitlines()[-1].split()
    assert row[0] == "2.0%"
    assert float(row[5]) < 1e-5
    assert row[6] == "positions"
    written = json.loads((first / "selective.json").read_text("utf-8"))
    assert written["flags"]["size"] == 32 and written["backend"] == keras.backend.backend()
    assert written["flags"]["freeze"] is True
    assert [found["mode"] for found in written["rows"]] == ["positions"]
    assert commands.call(STREAMS, *flags, f"--output={second}", f"--beside={first}") == 0
    for figure in (first / "selective.png", second / "selective.png"):
        assert figure.stat().st_size > 1000


def test_bad_flags(capsys):
    for flags, words in (
        (["--shares=0,1"], "above 0 and up to 1"),
        (["--network=alexnet"], "alexnet"),
        (["--beside=nowhere"], "nowhere has no selective.json"),
    ):
        assert commands.call(STREAMS, *flags) == 1
        assert words in capsys.readouterr().err
