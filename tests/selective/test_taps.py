"""What layers read, as tables of positions."""

import harness
import keras
import numpy as np
from keras import layers

from keras_seqpar.selective.taps import Taps, bilinear, identity, repeat, window


def test_padding_before_a_window_is_border():
    padded = window((8, 10), (3, 3), (2, 2))
    taps = padded.after(((1, 1), (1, 1)))
    assert taps.shape == (6, 8)
    assert taps.rows.min() == -1
    changed = np.random.default_rng(0).random((6, 8)) < 0.2
    assert np.array_equal(taps(changed), padded(np.pad(changed, 1)))


def test_taps_know_when_they_read_the_same():
    same = window((5, 5), (3, 3), padding="same")
    assert same.key == Taps(same.rows.copy(), same.cols.copy(), (5, 5)).key
    assert same.key != window((5, 5), (3, 5), padding="same").key
    assert identity((5, 5)).is_identity
    assert not repeat((5, 5), (1, 2)).is_identity
    assert repeat((5, 5), (1, 1)).is_identity


def test_bilinear_weights_are_those_of_keras():
    taps, (rows, cols) = bilinear((3, 4), (2, 3))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    mine = np.einsum("yixj,yi,xj->yx", x[taps.rows][:, :, taps.cols], rows, cols)
    layer = layers.UpSampling2D((2, 3), interpolation="bilinear")
    theirs = keras.ops.convert_to_numpy(layer(x[None, :, :, None]))[0, :, :, 0]
    assert harness.error(mine, theirs) < 1e-6
