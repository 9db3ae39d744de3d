"""Streams of regions on Keras, on every backend."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seqpar import selective
from keras_seqpar.selective.planning.passes import BOXES
from tests import harness


@pytest.mark.parametrize("margin", ["receptive_field", 2])
def test_keras_models_on_every_backend(margin):
    frame = keras.Input((48, 64, 3))
    fine = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(frame)
    x = layers.Conv2D(4, 3, padding="same")(layers.MaxPooling2D()(fine))
    x = layers.Add()([layers.UpSampling2D(2, interpolation="bilinear")(x), fine])
    network = keras.Model(frame, layers.Conv2D(3, 3, padding="same")(x))
    harness.randomize(network)
    options = {"engine": "keras", "margin": margin}
    scores, classes = (selective.region_stream(network, scores=x, **options) for x in (True, False))
    for stream in (scores, classes):  # whatever it takes: JAX compiles in between
        stream._engine._passes.choose = lambda cost: BOXES
    image = np.random.default_rng(0).normal(size=(48, 64, 3)).astype("float32")
    errors, modes = [], []
    for i in range(3):
        image = image.copy()
        image[20 : 20 + 4 * i, 30:35] += 1
        result = scores(image)
        dense = keras.ops.convert_to_numpy(network(image[None], training=False))
        assert np.array_equal(classes(image).output, result.output.argmax(-1))
        errors.append(harness.error(result.output, dense))
        modes.append(result.stats.mode)
    assert modes == ["dense", "boxes", "boxes"] and errors[0] < 1e-5
    assert (max(errors) < 1e-5) == (margin == "receptive_field")
