"""Alignment and receptive field of known networks."""

from fractions import Fraction

import keras
from keras import layers

from keras_seqpar.selective.regions.geometry import crop_geometry


def test_geometry_of_known_networks():
    def of(*stack, shape=(32, 32, 1)):
        return crop_geometry(keras.Sequential([keras.Input(shape), *stack])).rows

    conv = layers.Conv2D
    rows = of(conv(1, 3, padding="same"), conv(1, 5, padding="same"))
    assert (rows.stride, rows.scale, rows.before, rows.after) == (1, 1, 3, 3)
    rows = of(conv(1, 5))  # no border: output i reads i to i + 4
    assert (rows.outputs, rows.before, rows.after) == (28, 0, 4)
    rows = of(layers.ZeroPadding2D(1), conv(1, 3, strides=2), conv(1, 3, padding="same"))
    assert (rows.stride, rows.scale, rows.before, rows.after) == (2, 2, 3, 3)
    rows = of(layers.MaxPooling2D(4), layers.UpSampling2D(4))
    assert (rows.stride, rows.scale, rows.before, rows.after) == (4, 1, 3, 3)
    rows = of(layers.AveragePooling2D(2, padding="same"), layers.UpSampling2D(3))
    assert (rows.stride, rows.scale) == (2, Fraction(2, 3))
