import keras
import numpy as np
import pytest

from keras_seqpar.mobile.checking.datasets import images_of, load_dataset
from tests import harness


def test_images_are_those_of_the_networks_categories(trained):
    digits = load_dataset("digits", trained.cutout)
    images, labels = images_of(digits, "validation", trained.cutout)
    assert np.array_equal(images, trained.images)
    assert np.array_equal(labels, trained.labels)
    some, labels = images_of(digits, "train", trained.cutout, 30)
    assert some.shape == (30, 32, 32, 3) and set(labels) == {0, 1, 2}
    letters = harness.network(["3", "x"], include_preprocessing=True)
    with pytest.raises(ValueError, match="categories x are not in the data set 'digits'"):
        images_of(digits, "train", letters)
    other = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()], name="other")
    with pytest.raises(ValueError, match="'other' has no labels, .* Give one, as recipes"):
        images_of(digits, "train", other)
    with pytest.raises(ValueError, match="32 x 48; wanted is a square"):
        load_dataset("digits", keras.Sequential([keras.Input((32, 48, 3)), keras.layers.Flatten()]))
