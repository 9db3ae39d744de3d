"""Accuracy: frontiers, curves over the gain, confusions, rejection."""

import os

import numpy as np
import pytest

from keras_seqpar import plots
from keras_seqpar.plots import accuracy

SWEEP = {
    "name": "Gain on $x_{",
    "gains": [0.5, 1.0, 2.0, 3.0],
    "neutral": 0.7,
    "right": [0.5, 0.7, 0.8, 0.6],
    "wrong": [0.75, 0.7, 0.5, None],
    "inhibition": {"absent": 2, "gains": [0.5], "top1": [0.72]},
}


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_pareto_joins_what_no_other_beats():
    points = [
        {"name": name, "group": group, "cost": cost, "top1": top1}
        for name, group, cost, top1 in [
            ("dear", "cutouts", 3e9, 0.95),
            ("cheap", "cutouts", 1e9, 0.9),
            ("beaten", "cutouts", 2e9, 0.85),
            ("$plain_{", "plain", 4e9, 0.96),
        ]
    ]
    axes = plots.pareto(points).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[1e9, 90], [3e9, 95]]
    assert len(axes.lines[1].get_xdata()) == 3
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cutouts", "plain"]
    with pytest.raises(ValueError, match="cost, top1 missing"):
        plots.pareto([{"name": "a", "group": "b"}])
    with pytest.raises(ValueError, match="cost must be above 0 and top1 from 0 to 1"):
        plots.pareto([{**points[0], "top1": 96.0}])
    with pytest.raises(ValueError, match="Give at least one point"):
        plots.pareto([])


def test_attention_curves_show_cues_and_the_peak(tmp_path):
    figure = plots.attention([SWEEP, {**SWEEP, "inhibition": None}], tmp_path / "sweep.png")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["right cue"], [50, 70, 80, 60])
    np.testing.assert_allclose(lines["wrong cue"], [75, 70, 50, np.nan])
    np.testing.assert_allclose(lines["2 absent inhibited"], [72])
    assert "peak: 80.0 % at 2" in texts(figure)
    assert plots.attention(SWEEP).axes[0].get_xlabel() == "gain (factor on the features)"
    assert os.listdir(tmp_path) == ["sweep.png"]
    with pytest.raises(ValueError, match="wrong missing"):
        plots.attention({"gains": [1], "neutral": 0.5, "right": [0.5]})


def test_confusion_shows_shares_of_rows():
    figure = plots.confusion([[3, 1, 0], [0, 0, 0], [1, 1, 2]], ["a $", "b", "c"])
    shares = figure.axes[0].images[0].get_array()
    assert shares.tolist() == [[75, 25, 0], [0, 0, 0], [25, 25, 50]]
    assert texts(figure)[:2] == ["75", "25"]
    large = plots.confusion(np.eye(300), [f"c{i}" for i in range(300)])  # numbers, no names
    assert len(large.axes[0].get_xticklabels()) < 20
    for matrix, labels, words in (
        ([[1, 2]], ["a"], r"must be \(categories, categories\), got \(1, 2\)"),
        ([[1]], ["a", "b"], "has 1 categories, got 2 labels"),
        ([[-1]], ["a"], "counts of 0 or more"),
    ):
        with pytest.raises(ValueError, match=words):
            plots.confusion(matrix, labels)


def test_rejection_curves_and_their_points():
    curves = {"energy": ([0, 0.2, 1], [0, 0.9, 1]), "max_logit": ([0, 1], [0, 1])}
    axes = plots.rejection(curves, {"energy": (0.2, 0.9)}).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0, 0], [0.2, 0.9], [1, 1]]
    assert axes.lines[1].get_xydata().tolist() == [[0.2, 0.9]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["energy", "max_logit"]
    assert axes.get_xlabel() == "out-of-distribution images kept"


def test_panels_tell_what_is_predicted_and_what_is_right():
    images = np.zeros((5, 8, 8, 3), "uint8")
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5], [1.0, 0.0]])
    truth = np.array([0, 1, 1, 0, 0])
    figure = accuracy.prediction_panels(images, scores, truth, ["$cat_{", "dog"])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["$cat_{ 90%", "dog 80%", "$cat_{ 60%\nnot dog"]
    assert len(titles) == 8 and titles[5:] == [""] * 3
    colors = [axes.title.get_color() for axes in figure.axes]
    assert colors[0] == colors[1] != colors[2]
    png = accuracy.draw_predictions(images[:1], scores, truth, ["$cat_{", "dog"])
    assert png.startswith(b"\x89PNG")
