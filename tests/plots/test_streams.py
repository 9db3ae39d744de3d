"""Figures of streams show the numbers that they are given."""

import os

from keras_seqpar import plots


def test_a_timeline_leaves_out_what_was_not_run():
    row = {"ms": 5.0, "dense_ms": 9.0, "changed": 0.01, "computed": 0.2}
    top, bottom = plots.stream_timeline([row, row]).axes
    assert [line.get_ydata().tolist() for line in top.lines] == [[5, 5], [9, 9]]
    assert [line.get_ydata().tolist() for line in bottom.lines] == [[1, 1], [20, 20]]
    dense = dict.fromkeys(row) | {"dense_ms": 9.0}
    top, bottom = plots.stream_timeline([dense]).axes
    assert [line.get_label() for line in top.lines] == ["dense"] and not bottom.lines


def test_costs_over_frames_and_over_the_computed_share(tmp_path):
    frames = {"ms": [1.0, 2.0], "computed": [0.1, 0.2]}
    one = {"categories": 1, "dense": 4.0, "whole": 9.0, "per_frame": frames}
    figure = plots.stream_costs([{**one, "categories": 5}, one], tmp_path / "a.png")
    by_frame, by_share = figure.axes
    assert by_frame.lines[0].get_ydata().tolist() == [1, 2]
    assert set(by_frame.lines[1].get_ydata()) == {4} and set(by_frame.lines[4].get_ydata()) == {9}
    assert by_share.lines[1].get_xydata().tolist() == [[10, 1], [20, 2]]
    assert [line.get_label() for line in by_share.lines] == ["5 categories", "1 category"]
    assert os.listdir(tmp_path) == ["a.png"]
