"""Accuracy over all images and over the categories, counted by hand."""

import numpy as np
import pytest

from keras_seqpar.training.tasks.metrics import Accuracy, BalancedAccuracy

TRUTH = np.eye(4, dtype="float32")[[0, 0, 0, 0, 1, 1, 2]]
PREDICTED = np.eye(4, dtype="float32")[[0, 0, 0, 1, 1, 2, 0]] * 3 - 1  # logits


def test_values_by_hand():
    accuracy, balanced = Accuracy(4), BalancedAccuracy(4)
    for rows in (slice(0, 3), slice(3, 7)):  # over batches
        accuracy.update_state(TRUTH[rows], PREDICTED[rows])
        balanced.update_state(TRUTH[rows], PREDICTED[rows])
    assert float(accuracy.result()) == pytest.approx(4 / 7)
    assert balanced.recalls() == [pytest.approx(3 / 4), pytest.approx(1 / 2), 0.0, None]
    assert float(balanced.result()) == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    balanced.reset_state()
    assert float(balanced.result()) == 0 and balanced.recalls() == [None] * 4


@pytest.mark.parametrize("kind", [Accuracy, BalancedAccuracy])
def test_weights_say_which_images_count_and_no_more(kind):
    plain, weighted = kind(4), kind(4)
    plain.update_state(TRUTH[:5], PREDICTED[:5])
    weights = np.array([3, 3, 3, 3, 0.1, 0, 0], "float32")  # the last two fill up a batch
    weighted.update_state(TRUTH, PREDICTED, sample_weight=weights)
    assert float(weighted.result()) == pytest.approx(float(plain.result()))


def test_the_largest_part_of_a_mixed_label_counts():
    metric = BalancedAccuracy(3)
    metric.update_state([[0.6, 0.4, 0.0], [0.3, 0.7, 0.0]], [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert metric.recalls() == [0.0, 1.0, None]
