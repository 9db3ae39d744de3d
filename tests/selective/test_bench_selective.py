"""The benchmark runs, compares with the dense network and refuses bad flags."""

import pathlib
import sys

import numpy as np
import pytest

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "recipes"
sys.path.insert(0, str(RECIPES))
pytest.importorskip("absl")

import bench_selective  # noqa: E402


def test_the_benchmark_prints_a_table(capsys):
    flags = ["--network=published", "--size=32", "--shares=0.02", "--runs=2", "--mode=positions"]
    assert bench_selective.main(flags) == 0
    printed = capsys.readouterr().out
    assert "published at 32 pixels" in printed
    assert "the stream keeps 0." in printed
    row = printed.splitlines()[-1].split()
    assert row[0] == "2.0%"
    assert float(row[5]) < 1e-5
    assert row[6] == "positions"


def test_squares_have_the_share_and_change():
    frame = np.zeros((64, 64, 1), "float32")
    new = bench_selective.change(frame, 0.25, 1, np.random.default_rng(0))
    assert (new != frame).mean() == 0.25
    assert not frame.any()


def test_bad_flags(capsys):
    for flags, words in (
        (["--shares=0,1"], "above 0 and up to 1"),
        (["--network=alexnet"], "alexnet"),
    ):
        assert bench_selective.main(flags) == 1
        assert words in capsys.readouterr().err
