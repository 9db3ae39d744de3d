"""A network on a video: rows, and frames with what it predicts."""

import numpy as np
import pytest

from keras_seqpar.plots.panels import COLUMNS, view_frames
from keras_seqpar.plots.viewing import Prediction

pytest.importorskip("cv2")


class Fake:
    """Says the first value of a frame."""

    def selective(self, frame):
        change = np.zeros((50, 60), bool)
        change[45:] = True
        return Prediction(frame[0, 0], 2.0, "boxes", 0.1, 0.2, change, 7.0)

    def dense(self, frame):
        return Prediction(frame[0, 0], 4.0)

    def describe(self, prediction):
        return f"red {prediction.output[0]}"

    def draw(self, frame, prediction):
        return frame

    def agreement(self, ours, theirs):
        return float((ours.output == theirs.output).all())


FRAMES = [(40.5 * i, np.full((50, 60, 3), 90 + 10 * i, "uint8")) for i in range(4)]


def test_frames_are_annotated_side_by_side():
    (row, panel), (later, _), *_ = view_frames(Fake(), FRAMES, "both")
    assert later["time_ms"] == 40.5
    assert row == {
        "frame": 0, "time_ms": 0.0, "warm_up_ms": 7.0, "mode": "boxes",
        "changed": 0.1, "computed": 0.2, "ms": 2.0,
        "predicted": "red 90", "dense_ms": 4.0, "dense_predicted": "red 90", "agreement": 1.0,
    }  # fmt: skip
    assert set(row) == set(COLUMNS) and panel.shape == (50, 120, 3)
    assert panel[48, 10].tolist() == [189, 60, 60]  # changed: red over it
    assert panel[40, 10].tolist() == panel[48, 70].tolist() == [90, 90, 90]
    assert panel[37, 70].max() < 90  # dark behind the text
    for mode, missing in (("selective", "dense_ms"), ("dense", "ms")):
        row, panel = next(view_frames(Fake(), FRAMES, mode))
        assert row[missing] is None and row["agreement"] is None and panel.shape == (50, 60, 3)


def test_the_dense_network_may_run_now_and_then():
    rows, panels = zip(*view_frames(Fake(), FRAMES, "both", dense_every=3), strict=True)
    assert [row["dense_ms"] for row in rows] == [4.0, None, None, 4.0]
    assert [row["agreement"] for row in rows] == [1.0, None, None, 1.0]
    assert all(panel.shape == (50, 120, 3) for panel in panels)
