"""A network on a video: rows, their CSV and their summary."""

import numpy as np
import pytest

from keras_seqpar.selective import watching

ROW = dict.fromkeys(watching.COLUMNS)
OURS = {"mode": "positions", "changed": 0.01, "computed": 0.25, "ms": 3.0, "predicted": "cat 0.9"}
THEIRS = {"dense_ms": 8.0, "dense_predicted": "cat 0.8", "agreement": 1.0}


def test_csv_has_a_line_per_frame_and_empty_fields_for_what_was_not_run():
    rows = [{**ROW, "frame": 0, **OURS, **THEIRS}, {**ROW, "frame": 1, **OURS, "ms": 1 / 3}]
    assert watching.format_csv(rows) == (
        "frame,mode,changed,computed,ms,predicted,dense_ms,dense_predicted,agreement\n"
        "0,positions,0.01,0.25,3,cat 0.9,8,cat 0.8,1\n"
        "1,positions,0.01,0.25,0.33333,cat 0.9,,,\n"
    )


def test_a_summary_has_what_was_run():
    both = [{**ROW, **OURS, **THEIRS}, {**ROW, **OURS, **THEIRS, "ms": 5.0, "agreement": 0.5}]
    assert watching.summarize(both) == (
        "2 frames.\n"
        "Selective: 4.0 ms, 1.0% changed, 25.0% computed (medians).\n"
        "Dense: 8.0 ms (median).\n"
        "Agreement: 75.00% (mean)."
    )
    assert watching.summarize([{**ROW, **OURS}]).count("\n") == 1


@pytest.mark.parametrize("expected", [0, 2, 5])
def test_progress_passes_all_frames_on_whatever_was_expected(expected):
    assert list(watching.show_progress(iter("abc"), expected)) == ["a", "b", "c"]


class Fake:
    """Says 1 where the frame has a 1."""

    def selective(self, frame):
        change = np.zeros((50, 60), bool)
        change[45:] = True
        return watching.Prediction(frame[0, 0], 2.0, "positions", 0.1, 0.2, change)

    def dense(self, frame):
        return watching.Prediction(frame[0, 0], 4.0)

    def describe(self, prediction):
        return f"red {prediction.output[0]}"

    def draw(self, frame, prediction):
        return frame

    def agreement(self, ours, theirs):
        return float((ours.output == theirs.output).all())


def test_frames_are_annotated_side_by_side():
    pytest.importorskip("cv2")
    frames = [np.full((50, 60, 3), value, "uint8") for value in (90, 200)]
    (row, panel), _ = watching.view_frames(Fake(), frames, "both")
    assert row == {
        "frame": 0, "mode": "positions", "changed": 0.1, "computed": 0.2, "ms": 2.0,
        "predicted": "red 90", "dense_ms": 4.0, "dense_predicted": "red 90", "agreement": 1.0,
    }  # fmt: skip
    assert panel.shape == (50, 120, 3)
    assert panel[48, 10].tolist() == [189, 60, 60]  # changed: red over it
    assert panel[40, 10].tolist() == panel[48, 70].tolist() == [90, 90, 90]
    assert panel[37, 70].max() < 90  # dark behind the text
    for mode, missing in (("selective", "dense_ms"), ("dense", "ms")):
        row, panel = next(watching.view_frames(Fake(), frames, mode))
        assert row[missing] is None and row["agreement"] is None and panel.shape == (50, 60, 3)
