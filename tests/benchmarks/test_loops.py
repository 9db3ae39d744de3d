"""The published demonstration: loops, the stream and Keras compute the same."""

import pytest

from tests import commands

pytest.importorskip("absl")
pytest.importorskip("sklearn")

LOOPS = "benchmarks/loops.py"


def test_loops_and_the_stream_compute_what_keras_computes(capsys):
    assert commands.call(LOOPS, "--frames=2", "--filters=2") == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[1:]] == ["dense", "stream", "loops"]
    assert all(float(line.split()[-1]) < 1e-5 for line in printed[1:])
    assert commands.call(LOOPS, "--digit=10") == 1
    assert "--digit must be 0 to 9, got 10" in capsys.readouterr().err


def test_the_loops_do_only_what_changed():
    benchmark = commands.load(LOOPS)
    loops, frames = benchmark.Loops(benchmark.make_network(1, 0)), benchmark.moving_digit(0)
    first = next(frames)
    before = loops(first).copy()
    loops.maps[-1][:] = 7  # what is not computed again stays
    assert (loops(first.copy()) == 7).all()
    moved = first.copy()
    moved[5, 5] += 1
    assert (loops(moved) != 7).sum() == 25
    assert before.shape == (64, 64, 1)
