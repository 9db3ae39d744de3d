"""Rivals on frames in which squares change: places, values, and what is counted as wrong."""

from types import SimpleNamespace

import numpy as np

from keras_seqpar.benchmarking.rivals import Rival, Scale
from keras_seqpar.benchmarking.shares import change_squares, measure_shares
from keras_seqpar.benchmarking.tables import share_table


def test_squares_have_the_share_and_the_proportions_of_the_frame():
    frame, rng = np.full((40, 80, 3), 7, "uint8"), np.random.default_rng(0)
    for _ in range(10):
        changed = (change_squares(frame, 0.25, 1, rng) != frame).any(-1)
        assert changed.any(1).sum() == 20 and changed.any(0).sum() == 40
    assert (change_squares(frame, 0, 1, rng) == frame).all()
    assert (frame == 7).all()
    assert 0.1 < (change_squares(frame, 0.25, 4, rng) != frame).any(-1).mean() <= 0.25


def test_frames_have_the_same_values_in_all_types():
    steps = np.arange(256, dtype="uint8").reshape(16, 16, 1)
    scale = Scale(-1.0, 2 / 255)
    assert (scale.values(steps, np.dtype("uint8")) == steps).all()
    assert scale.values(steps, np.dtype("int8")).ravel()[[0, 255]].tolist() == [-128, 127]
    floats = scale.values(steps, np.dtype("float32"))
    assert floats.dtype == "float32" and np.allclose(floats.ravel()[[0, 255]], [-1, 1])


def test_wrong_frames_are_counted():
    seen = []

    def stream(frame):
        seen.append(1)
        stats = SimpleNamespace(macs=25, macs_dense=100, mode="boxes")
        return SimpleNamespace(output=frame + (len(seen) == 3), stats=stats)

    rivals = {
        "dense float32": Rival(lambda frame: [frame], np.dtype("float32")),
        "stream float32": Rival(stream, np.dtype("float32"), "dense float32"),
    }
    (row,) = measure_shares(rivals, Scale(0, 1), (8, 8, 3), shares=[0.1], runs=5, turn=2)
    assert row["wrong"] == {"stream float32": 1} and row["bound"] == {"stream float32": 4}
    assert len(seen) == 1 + 3 + 5 and 0 < row["error"]["stream float32"] < 1
    lines = share_table([row]).splitlines()
    assert lines[0].startswith("| changed | dense float32 ms | stream float32 ms | faster | bound")
    assert lines[2].endswith("| 4.00 | boxes | 1 |") and lines[2].startswith("| 10 % |")
