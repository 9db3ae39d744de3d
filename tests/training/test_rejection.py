"""Thresholds for none of these: every figure against one that is counted by hand."""

import numpy as np
import pytest

from keras_seqpar.surgery.unknowns import SCORES, Threshold, known_score
from keras_seqpar.training import rejection

metrics = pytest.importorskip("sklearn.metrics")


def test_halves_are_equal_repeatable_and_apart():
    labels = np.repeat([0, 1, 2], [4, 7, 1])
    fits = rejection.split_halves(labels, 3)
    assert [int(fits[labels == i].sum()) for i in range(3)] == [2, 3, 0]
    assert np.array_equal(fits, rejection.split_halves(labels, 3))
    assert not np.array_equal(fits, rejection.split_halves(labels, 4))


@pytest.mark.parametrize("score", SCORES)
def test_figures(score):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 3)) * 3
    truth = np.where(rng.random(60) < 0.7, logits.argmax(-1), rng.integers(0, 3, 60))
    truth[40:] = -1
    threshold = Threshold(2.0, score)
    figures, curve = rejection.measure_threshold(logits, truth, threshold)
    kept = known_score(logits, score) >= 2.0
    own, right = truth >= 0, logits.argmax(-1) == truth
    auroc = metrics.roc_auc_score(own, known_score(logits, score))
    assert figures["auroc"] == curve.area == pytest.approx(auroc)
    assert figures["out_of_distribution_kept_at_0.95"] == curve.out_of_distribution_at(0.95)
    assert (figures["in_distribution"], figures["out_of_distribution"]) == (40, 20)
    assert figures["in_distribution_kept"] == kept[:40].mean()
    assert figures["out_of_distribution_rejected"] == 1 - kept[40:].mean()
    assert figures["top1"] == right[:40].mean()
    assert figures["top1_kept"] == (right & kept)[:40].mean()
    assert figures["accuracy_without"] == right[:40].sum() / 60
    decided = (right & kept)[:40].sum() + (~kept)[40:].sum()
    assert figures["accuracy"] == pytest.approx(decided / 60)
    assert threshold.get_config() == figures["threshold"]
