"""The benchmark runs, compares with the dense network and refuses bad flags."""

import json
import pathlib
import sys

import keras
import numpy as np
import pytest

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "recipes"
sys.path.insert(0, str(RECIPES))
pytest.importorskip("absl")

import bench_loops  # noqa: E402
import bench_selective  # noqa: E402


def test_the_benchmark_prints_a_table_and_writes_a_figure(capsys, tmp_path):
    flags = ["--network=resnet18", "--width=0.125", "--size=32", "--shares=0.02", "--runs=2"]
    folder = tmp_path / "first"
    assert bench_selective.main([*flags, "--mode=positions", f"--output={folder}"]) == 0
    printed = capsys.readouterr().out
    assert "resnet18 at 32 pixels" in printed
    assert "the stream keeps 0." in printed
    row = printed.splitlines()[-1].split()
    assert row[0] == "2.0%"
    assert float(row[5]) < 1e-5
    assert row[6] == "positions"
    written = json.loads((folder / "selective.json").read_text("utf-8"))
    assert written["flags"]["size"] == 32 and written["backend"] == keras.backend.backend()
    assert [found["mode"] for found in written["rows"]] == ["positions"]
    bench_selective.draw([written, *bench_selective.earlier([folder])], tmp_path / "both.png")
    for figure in (folder / "selective.png", tmp_path / "both.png"):
        assert figure.stat().st_size > 1000


def test_squares_have_the_share_and_change():
    frame = np.zeros((64, 64, 1), "float32")
    new = bench_selective.change(frame, 0.25, 1, np.random.default_rng(0))
    assert (new != frame).mean() == 0.25
    assert not frame.any()


def test_bad_flags(capsys):
    for flags, words in (
        (["--shares=0,1"], "above 0 and up to 1"),
        (["--network=alexnet"], "alexnet"),
        (["--beside=nowhere"], "nowhere has no selective.json"),
    ):
        assert bench_selective.main(flags) == 1
        assert words in capsys.readouterr().err


def test_loops_and_the_stream_compute_what_keras_computes(capsys):
    pytest.importorskip("sklearn")
    assert bench_loops.main(["--frames=2", "--filters=2"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[1:]] == ["dense", "stream", "loops"]
    assert all(float(line.split()[-1]) < 1e-5 for line in printed[1:])
    assert bench_loops.main(["--digit=10"]) == 1
    assert "--digit must be 0 to 9, got 10" in capsys.readouterr().err


def test_the_loops_do_only_what_changed():
    model = bench_loops.make_network(1, 0)
    loops, frames = bench_loops.Loops(model), bench_loops.moving_digit(0)
    first = next(frames)
    before = loops(first).copy()
    loops.maps[-1][:] = 7  # what is not computed again stays
    assert (loops(first.copy()) == 7).all()
    moved = first.copy()
    moved[5, 5] += 1
    assert (loops(moved) != 7).sum() == 25
    assert before.shape == (64, 64, 1)
