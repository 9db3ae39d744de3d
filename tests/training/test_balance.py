"""Unbalanced categories: sentences with their counts, and weights with the right sums."""

import numpy as np
import pytest

from keras_seqpar.training import balance


def test_weights_make_all_categories_count_the_same():
    counts = np.array([300, 6, 94, 0])
    weights = balance.balanced_weights(counts)
    assert sorted(weights) == [0, 1, 2]  # no weight of a category without images
    sums = [weights[i] * counts[i] for i in weights]
    assert sums == pytest.approx([400 / 3] * 3)  # the mean over the images is 1
    assert balance.balanced_weights(np.array([7, 7])) == {0: 1.0, 1: 1.0}


def test_the_sentence_states_the_counts():
    note = balance.unbalanced_note("training", ["cat", "dog"], np.array([6, 300]))
    assert note.startswith("The training images are unbalanced: 300 of dog, 6 of cat.")
    for words in ("balanced accuracy", "--class_weight balanced", "--best_by balanced_accuracy"):
        assert words in note
    weighted = balance.unbalanced_note("training", ["cat", "dog"], np.array([6, 300]), "balanced")
    assert "300 of dog, 6 of cat" in weighted and "--best_by" not in weighted
    labels, counts = ["cat", "dog"], np.array([6, 300])
    sampled = balance.unbalanced_note("training", labels, counts, sampling="balanced")
    assert "--sampling balanced trains on each" in sampled and "--class_weight" not in sampled
    assert balance.unbalanced_note("training", ["cat", "dog"], np.array([60, 110])) is None


def test_the_sentence_shows_the_ends_of_many_categories():
    labels = [f"c{i}" for i in range(100)]
    note = balance.unbalanced_note("validation", labels, np.arange(1, 101))
    assert "100 of c99, 99 of c98, 98 of c97, 97 of c96, 96 of c95, ..., 5 of c4" in note
    assert "1 of c0." in note


def test_categories_at_zero_are_named():
    assert balance.missed_note([], "best.keras") is None
    text = "best.keras has 0 % of the images of this category right: dog."
    assert balance.missed_note(["dog"], "best.keras") == text
    many = balance.missed_note([f"c{i}" for i in range(12)], "best.keras")
    assert "these 12 categories right: c0, c1," in many and many.endswith("c9, ....")


def test_balanced_accuracy_is_the_mean_over_the_categories():
    assert balance.balanced_accuracy([1.0, 0.0, None]) == 0.5
    assert balance.balanced_accuracy([None]) is None
