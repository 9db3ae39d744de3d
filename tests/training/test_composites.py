"""Composites of two categories, counted image by image."""

import numpy as np
import pytest

from keras_seqpar.data import Split
from keras_seqpar.training import composites
from tests import harness

TRUTH = np.array([0, 1, 2, 2, 1, 0, 3, 3, 1, 0])


def split_of(images):
    names = tuple(f"{i}" for i in range(len(images)))
    return Split(names, TRUTH[: len(images)], lambda i: images[np.asarray(i)])


def test_composites_are_the_middle_halves_of_two_categories():
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3)).astype("uint8")
    made, pairs = composites.side_by_side(split_of(images), TRUTH, seed=1)
    assert (pairs[:, 0] == TRUTH).all() and (pairs[:, 0] != pairs[:, 1]).all()
    got = made.read([3, 7])
    assert got.shape == (2, 8, 8, 3)
    for image, i in zip(got, (3, 7), strict=True):
        assert (image[:, :4] == images[i][:, 2:6]).all()
        beside = [n for n in range(10) if (image[:, 4:] == images[n][:, 2:6]).all()]
        assert TRUTH[beside] == [pairs[i, 1]]
    again, same = composites.side_by_side(split_of(images), TRUTH, seed=1)
    assert (same == pairs).all() and (again.read([0]) == made.read([0])).all()


def test_images_of_one_category_have_no_partner():
    with pytest.raises(ValueError, match="two categories or more; all are of one"):
        composites.side_by_side(split_of(np.zeros((3, 4, 4, 3))), np.ones(3, int), 0)


def test_rates_are_counted():
    rng = np.random.default_rng(2)
    logits = {1.0: rng.normal(size=(10, 4)), 3.0: rng.normal(size=(10, 4))}
    pairs = np.array([[t, (t + 1 + i % 3) % 4] for i, t in enumerate(TRUTH)])
    found = composites.composite_rates(logits[1.0], logits, pairs)
    for at, gain in enumerate((1.0, 3.0)):
        hits, others, alarms = [], [], []
        for i, pair in enumerate(pairs):
            for cued in range(4):
                row = logits[1.0][i].copy()
                row[cued] = logits[gain][i, cued]
                if cued in pair:
                    hits.append(row.argmax() == cued)
                    others.append(row.argmax() == (set(pair) - {cued}).pop())
                else:
                    alarms.append(row.argmax() == cued)
        rates = found["hits"][at], found["others"][at], found["false_alarms"][at]
        assert rates == pytest.approx([np.mean(each) for each in (hits, others, alarms)])
    assert found["neutral"] == pytest.approx(found["hits"][0] + found["others"][0])
    assert "cued one" in composites.composite_table(found)


def test_gains_reach_the_networks_branches():
    network = harness.build(harness.LABELS[:4], include_preprocessing=True)
    harness.randomize(network)
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3)).astype("uint8")
    found = composites.run_composites(
        network, split_of(images), TRUTH, gains=[0.0, 1.0, 8.0], batch_size=4
    )
    assert found["gains"] == [0.0, 1.0, 8.0]
    assert found["hits"][1] + found["others"][1] == pytest.approx(found["neutral"])
    assert len({*found["hits"], *found["false_alarms"]}) > 2  # the gains change what wins
