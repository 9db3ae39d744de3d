"""Plays frames through streams and compares with dense runs."""

import keras
import numpy as np
from keras import layers, ops

from keras_seqpar import selective
from tests import harness
from tests.selective import random_nets as rn

TOLERANCE = 1e-5  # relative to the output range
EXAMPLES = 4 if keras.backend.backend() == "jax" else 20  # JAX compiles each step of each network
MODES = ("positions", "rectangle", "tiles")


def dense(model, *inputs) -> list[np.ndarray]:
    """What Keras computes for one frame."""
    given = [x[None] for x in inputs]
    outputs = model(given if len(given) > 1 else given[0], training=False)
    return [ops.convert_to_numpy(x) for x in keras.tree.flatten(outputs)]


def check(result, model, *inputs):
    """Checks that the stream's outputs are those of the dense network."""
    for mine, theirs in zip(keras.tree.flatten(result.output), dense(model, *inputs), strict=True):
        assert harness.error(mine, theirs) < TOLERANCE


def play(model, maps, modes=MODES, seed=0, **options):
    """Runs frames that change at these maps through one stream per mode, and checks each output."""
    shape = model.inputs[0].shape[1:]
    frame = np.random.default_rng(seed).normal(size=shape).astype("float32")
    streams = [selective.stream(model, mode=m, calibrate=0, **options) for m in modes]
    for stream in streams:
        check(stream(frame), model, frame)
    for i, changed in enumerate(maps):
        frame = rn.next_frame(frame, changed, i)
        for stream, mode in zip(streams, modes, strict=True):
            result = stream(frame)
            check(result, model, frame)
            assert result.stats.drift == 0
            assert result.stats.mode == (mode if changed.any() else "cached")
            assert np.array_equal(stream.change_map(), changed)
    return streams


def small_net(size=12, name="net"):
    """A small network with a residual, strides, pooling and two outputs."""
    inputs = keras.Input((size, size, 3))
    x = layers.ZeroPadding2D(1, name="pad")(inputs)
    x = layers.Conv2D(4, 3, strides=2, use_bias=False, name="first")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    y = layers.Conv2D(4, 3, padding="same", name="second")(x)
    x = layers.Add(name="add")([x, y])
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool")(x)
    y = layers.Dense(3, name="head")(layers.GlobalAveragePooling2D(name="mean")(x))
    model = keras.Model(inputs, [y, x], name=name)
    harness.randomize(model)
    return model
