"""Figures of streams show the numbers that they are given."""

import os

from keras_seqpar import plots


def test_speedups_and_bounds_over_the_changed_share(tmp_path):
    rows = [
        {"share": 0.01, "dense ms": 60.0, "selective ms": 12.0, "bound": 9.0},
        {"share": 1.0, "dense ms": 60.0, "selective ms": 80.0, "bound": 1.0},
    ]
    figure = plots.stream_speedups([("net_{", rows), ("again", rows)], tmp_path / "a.png")
    axes = figure.axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[1, 5], [100, 0.75]]
    assert axes.lines[1].get_ydata().tolist() == [9, 1]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["net_{", "bound by counted MACs", "again", "bound by counted MACs"]
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_timeline_leaves_out_what_was_not_run():
    row = {"ms": 5.0, "dense_ms": 9.0, "changed": 0.01, "computed": 0.2}
    top, bottom = plots.stream_timeline([row, row]).axes
    assert [line.get_ydata().tolist() for line in top.lines] == [[5, 5], [9, 9]]
    assert [line.get_ydata().tolist() for line in bottom.lines] == [[1, 1], [20, 20]]
    dense = dict.fromkeys(row) | {"dense_ms": 9.0}
    top, bottom = plots.stream_timeline([dense]).axes
    assert [line.get_label() for line in top.lines] == ["dense"] and not bottom.lines


def test_costs_over_frames_and_over_the_computed_share():
    one = {"categories": 1, "macs": [1e6, 2e6], "macs_dense": 9e6, "trunk": [0.1, 0.2]}
    by_frame, by_share = plots.stream_costs([{**one, "categories": 5}, one]).axes
    assert by_frame.lines[0].get_xydata().tolist() == [[1, 1], [2, 2]]
    assert set(by_frame.lines[1].get_ydata()) == {9}
    assert by_share.lines[1].get_xydata().tolist() == [[10, 1], [20, 2]]
    assert [line.get_label() for line in by_share.lines] == ["5 categories", "1 category"]
