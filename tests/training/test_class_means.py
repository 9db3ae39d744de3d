"""Means over the images of each category, in the network's order."""

import numpy as np
import pytest

from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.training.class_means import class_means
from tests import harness

LABELS = ("cat", "dog", "car")


@pytest.fixture(scope="module")
def drawn():
    """Five images whose categories are in another order than the network's."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype("uint8")
    split = Split(tuple("abcde"), np.array([0, 1, 2, 0, 1]), lambda rows: pixels[rows])
    return Dataset("drawn", ("car", "dog", "cat"), {"validation": split}), pixels


def test_means_are_those_of_each_category(drawn):
    dataset, pixels = drawn
    network = harness.network(LABELS, include_preprocessing=True)
    x, truth = pixels.astype("float32"), np.array([2, 1, 0, 2, 1])
    scores = harness.predict(network, x)
    features = harness.predict(network.get_layer("trunk"), x).mean((1, 2))
    shares = np.eye(3)[scores.argmax(-1)]
    for by, values in (("scores", scores), ("features", features), ("confusion", shares)):
        means, top1 = class_means(network, dataset, by, batch_size=2)
        wanted = [values[truth == i].mean(0) for i in range(3)]
        np.testing.assert_allclose(means, wanted, rtol=1e-4, atol=1e-5)
        right = (scores.argmax(-1) == truth).mean()
        assert top1 == (None if by == "features" else pytest.approx(right))


def test_what_cannot_be_averaged(drawn):
    with pytest.raises(ValueError, match="Unknown kind of comparison 'color'"):
        class_means(harness.network(LABELS), drawn[0], "color")
    with pytest.raises(ValueError, match="only one of them has bird, car"):
        class_means(harness.network(["cat", "dog", "bird"]), drawn[0], "scores")
