"""A network on a video: rows, their CSV and their summary."""

import numpy as np
import pytest

from keras_seqpar.selective import watching

ROW = dict.fromkeys(watching.COLUMNS)
OURS = {
    "mode": "positions",
    "changed": 0.01,
    "computed": 0.25,
    "ms": 3.0,
    "warm_up_ms": 250.0,
    "predicted": "cat 0.9",
}
THEIRS = {"dense_ms": 8.0, "dense_predicted": "cat 0.8", "agreement": 1.0}


def test_csv_has_a_line_per_frame_and_empty_fields_for_what_was_not_run(tmp_path):
    path = tmp_path / "watch.csv"
    head = (
        "frame,time_ms,mode,changed,computed,ms,warm_up_ms,predicted,"
        "dense_ms,dense_predicted,agreement\n"
    )
    path.write_text("of the run before")
    with watching.CsvWriter(path) as lines:
        assert path.read_text() == "of the run before"  # until there is a frame
        lines.write({**ROW, "frame": 0, "time_ms": 0.0, **OURS, **THEIRS})
        first = head + "0,0.0,positions,0.01,0.25,3,250,cat 0.9,8,cat 0.8,1\n"
        assert path.read_text() == first  # at once
        row = {**ROW, "frame": 1, "time_ms": 123456.78, **OURS, "ms": 1 / 3, "predicted": "a, b"}
        lines.write(row)
    last = '1,123456.8,positions,0.01,0.25,0.33333,250,"a, b",,,\n'
    assert path.read_text() == first + last
    with (
        pytest.raises(OSError, match=r"missing.watch\.csv"),
        watching.CsvWriter(tmp_path / "missing" / "watch.csv") as lines,
    ):
        lines.write(row)


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
        return watching.Prediction(frame[0, 0], 2.0, "positions", 0.1, 0.2, change, 7.0)

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
    timed = [(0, frames[0]), (40.5, frames[1])]
    (row, panel), (later, _) = watching.view_frames(Fake(), timed, "both")
    assert later["time_ms"] == 40.5
    assert row == {
        "frame": 0, "time_ms": 0.0, "warm_up_ms": 7.0, "mode": "positions",
        "changed": 0.1, "computed": 0.2, "ms": 2.0,
        "predicted": "red 90", "dense_ms": 4.0, "dense_predicted": "red 90", "agreement": 1.0,
    }  # fmt: skip
    assert panel.shape == (50, 120, 3)
    assert panel[48, 10].tolist() == [189, 60, 60]  # changed: red over it
    assert panel[40, 10].tolist() == panel[48, 70].tolist() == [90, 90, 90]
    assert panel[37, 70].max() < 90  # dark behind the text
    for mode, missing in (("selective", "dense_ms"), ("dense", "ms")):
        row, panel = next(watching.view_frames(Fake(), timed, mode))
        assert row[missing] is None and row["agreement"] is None and panel.shape == (50, 60, 3)
