"""Sweeps of the gain, against cues that are counted image by image."""

import numpy as np
import pytest

from keras_seqpar.training import cues, gain_sweeps
from tests import harness


@pytest.fixture
def columns():
    """Random logits of 40 images and 5 categories, in two superclasses and beside them."""
    rng = np.random.default_rng(1)
    logits = {gain: rng.normal(size=(40, 5)) for gain in (0.5, 1.0, 2.0)}
    return logits, ["a", "a", "b", "b", None], rng.integers(5, size=40)


def count(logits, gain, nodes, truth, cue) -> np.ndarray:
    """Whether each image is right with a cue on the node `cue(image)`, one by one."""
    found = []
    for i, true in enumerate(truth):
        row = logits[1.0][i].copy()
        for c, node in enumerate(nodes):
            if node is not None and node in cue(i):
                row[c] = logits[gain][i, c]
        found.append(float(row.argmax() == true))
    return np.array(found)


def test_a_sweep_counts_what_cues_do(columns):
    logits, nodes, truth = columns
    report = gain_sweeps.sweep("name", logits, nodes, truth, absent=0, seed=3)
    assert report["gains"] == [0.5, 1.0, 2.0]
    plain = count(logits, 1.0, nodes, truth, lambda i: [])
    right, wrong = [], []
    for gain in report["gains"]:
        right.append(count(logits, gain, nodes, truth, lambda i: [nodes[truth[i]]]))
        hits = [count(logits, gain, nodes, truth, lambda i, n=n: [n]) for n in "ab"]
        others = [[n != nodes[t] for t in truth] for n in "ab"]
        wrong.append(np.average(hits, axis=0, weights=others))
    assert report["neutral"] == pytest.approx(plain.mean())
    assert report["right"] == pytest.approx([hits.mean() for hits in right])
    assert report["wrong"] == pytest.approx([hits.mean() for hits in wrong])
    best = max(hits.mean() for hits in right)
    assert report["peak"]["top1"] == pytest.approx(best)
    assert report["peak"]["top1"] == report["right"][report["gains"].index(report["peak"]["gain"])]
    found = report["calibrated"]
    assert (found["fitted_on"], found["images"]) == (20, 20)
    order = np.random.default_rng(3).permutation(40)
    fit, other = order[:20], order[20:]
    chosen = report["gains"].index(found["gain"])
    assert right[chosen][fit].mean() == max(hits[fit].mean() for hits in right)
    assert found["right"] == pytest.approx(right[chosen][other].mean())
    assert found["wrong"] == pytest.approx(wrong[chosen][other].mean())
    assert found["neutral"] == pytest.approx(plain[other].mean())
    assert "inhibition" not in report
    half = gain_sweeps.sweep("name", logits, nodes, truth, absent=0, seed=3, trust=0.5)
    mixed = [(0.5 * (r + w))[fit].mean() for r, w in zip(right, wrong, strict=True)]
    chosen = report["gains"].index(half["calibrated"]["gain"])
    assert mixed[chosen] == pytest.approx(max(mixed))


def test_absent_categories_are_others_and_as_many_as_asked_for(columns):
    logits, _, truth = columns
    high, low = np.zeros((40, 5)), np.full((40, 5), -2.0)
    high[np.arange(40), truth] = -1  # right where all others are lowered, and it is not
    for absent in (1, 3):
        assert not cues.inhibition_hits(high, low, truth, absent, seed=0).any()
    assert cues.inhibition_hits(high, low, truth, 4, seed=0).all()
    drawn = [cues.inhibition_hits(logits[1.0], low - 9, truth, 2, seed) for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    report = gain_sweeps.sweep("name", logits, list("abcde"), truth, absent=4, seed=0)
    true = np.eye(5, dtype=bool)[truth]
    want = np.where(true, logits[1.0], logits[0.5]).argmax(-1) == truth
    assert report["inhibition"] == {"absent": 4, "gains": [0.5], "top1": [want.mean()]}


def test_peak_ebb_and_break_even():
    truth = np.zeros(100, int)
    margins = np.linspace(-1, 1, 100)  # without gains half are right

    def raised(by):
        return np.stack([margins + by, np.zeros(100)], axis=-1)

    logits = {
        0.5: raised(-0.5),
        1.0: raised(0),
        2.0: raised(0.5),
        2.5: raised(0.5),
        3.0: raised(-0.1),
    }
    report = gain_sweeps.sweep("name", logits, ["a", "b"], truth, absent=1, seed=0)
    assert report["neutral"] == 0.5
    assert report["peak"] == {"gain": 2.0, "top1": 0.75}
    assert report["ebb"] == 3.0
    assert gain_sweeps.break_even(neutral=0.5, right=0.75, wrong=0.25) == 0.5
    assert gain_sweeps.break_even(neutral=0.5, right=0.5, wrong=0.25) is None
    assert gain_sweeps.break_even(neutral=0.5, right=0.75, wrong=0.6) == 0
    text = gain_sweeps.sweep_table(report)
    assert "peak of 75.00 % (+25.00 points) at gain 2; ebbs to 45.00 % at 3, " in text
    assert "no better than without gains from 3 on" in text
    del logits[2.5], logits[3.0]
    risen = gain_sweeps.sweep("name", logits, ["a", "b"], truth, absent=1, seed=0)
    assert "at gain 2, the end of the grid: higher gains may help more." in gain_sweeps.sweep_table(
        risen
    )
    flat = gain_sweeps.sweep(
        "name", {1.0: raised(0), 2.0: raised(-1)}, ["a", "b"], truth, absent=1, seed=0
    )
    assert "no gain of the grid raises it" in gain_sweeps.sweep_table(flat)


def test_a_single_category_has_no_cues():
    settings = gain_sweeps.SweepSettings(gains=[1.0, 2.0], batch_size=4)
    with pytest.raises(ValueError, match="two categories or more"):
        gain_sweeps.run_sweeps(harness.network(["cat"]), None, None, settings)
