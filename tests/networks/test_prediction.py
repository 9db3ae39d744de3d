import keras
import numpy as np
import pytest

from keras_seqpar.networks.prediction import predict
from tests import harness


class Rows:
    """Images that are read batch by batch."""

    def __init__(self, images):
        self.images, self.asked = images, []

    def __len__(self):
        return len(self.images)

    def read(self, rows):
        self.asked.append(list(rows))
        return self.images[rows]


@pytest.mark.parametrize("batch_size", [1, 3, 5, 64])
def test_batches_make_no_difference(batch_size):
    model = harness.network(["a", "b"])
    x = harness.images(model, 5)
    found = predict(model, x, batch_size=batch_size)
    assert found.shape == (5, 2)
    assert harness.error(found, harness.predict(model, x)) < 1e-5


def test_what_can_be_read_is_read_in_full_batches_and_prepared():
    model = harness.network(["a", "b"])
    x = harness.images(model, 5)
    rows = Rows(x)
    found = predict(model, rows, batch_size=2, prepare=lambda images: images / 2)
    assert rows.asked == [[0, 1], [2, 3], [4, 4]]
    assert harness.error(found, harness.predict(model, x / 2)) < 1e-5


def test_several_inputs_and_outputs():
    a, b = keras.Input((2,)), keras.Input((2,))
    model = keras.Model([a, b], {"sum": keras.layers.Add()([a, b]), "first": a})
    x, y = np.arange(6.0).reshape(3, 2), np.ones((3, 2))
    found = predict(model, [x, y], batch_size=2)
    assert np.array_equal(found["sum"], x + 1) and np.array_equal(found["first"], x)


def test_what_cannot_be_predicted():
    model = harness.network(["a", "b"])
    x = harness.images(model, 2)
    with pytest.raises(ValueError, match=r"got \[0\] of them"):
        predict(model, x[:0])
    with pytest.raises(ValueError, match=r"got \[1, 2\] of them"):
        predict(model, [x, x[:1]])
    with pytest.raises(ValueError, match="batch_size must be a whole number of 1 or more, got 0"):
        predict(model, x, batch_size=0)
