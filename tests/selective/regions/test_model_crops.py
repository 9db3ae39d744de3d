"""Crops of Keras models equal the whole frame, on every backend."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seqpar import selective
from tests import harness

SHAPE = (48, 64, 3)


def make_network(shape=(None, None, 3), *, scale="bilinear", classes=3, seed=0):
    """Strides, pooling, dilation and upsampling; the output has half of the frame's resolution."""
    frame = keras.Input(shape, name="frame")
    x = layers.ZeroPadding2D(1, name="pad")(frame)
    fine = layers.Conv2D(4, 3, strides=2, activation="relu", name="fine")(x)
    x = layers.MaxPooling2D(2, name="pool")(fine)
    x = layers.Conv2D(4, 3, padding="same", dilation_rate=2, use_bias=False, name="dilated")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    if scale == "transposed":
        x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="up")(x)
    else:
        x = layers.UpSampling2D(2, interpolation=scale, name="up")(x)
    x = layers.Add(name="add")([x, fine])
    network = keras.Model(frame, layers.Conv2D(classes, 3, padding="same", name="scores")(x))
    harness.randomize(network, seed)
    return network


def play(stream, network, frames=3):
    """Plays frames in which a box changes; returns the modes."""
    rng, modes = np.random.default_rng(0), []
    frame = rng.normal(size=SHAPE).astype("float32")
    for _ in range(frames):
        result = stream(frame)
        modes.append(result.stats.mode)
        dense = keras.ops.convert_to_numpy(network(frame[None], training=False))
        assert harness.error(result.output, dense) < 1e-5
        frame = frame.copy()
        y, x = rng.integers(0, SHAPE[0]), rng.integers(0, SHAPE[1])
        frame[y : y + 4, x : x + 5] = rng.normal()
    return modes


@pytest.mark.parametrize("scale", ["bilinear", "transposed"])
def test_the_receptive_field_makes_crops_exact(scale):
    network = make_network(scale=scale, seed=1)
    stream = selective.region_stream(
        network, engine="keras", input_shape=SHAPE, scores=True, max_cost_share=1.0
    )
    stream._costs.took = lambda *_: None  # what is computed does not depend on times
    assert play(stream, network) == ["dense", "boxes", "boxes"]
    assert "Keras" in stream.runs_on


@pytest.mark.only_backend("tensorflow")
def test_a_converted_model_has_the_same_geometry():
    network = make_network()
    options = {"input_shape": SHAPE, "scores": True, "max_cost_share": 1.0}
    converted = selective.region_stream(network, **options)
    assert "boxes" in play(converted, network)
    on_keras = selective.region_stream(network, engine="keras", **options)
    assert converted.runs_on != on_keras.runs_on
    for a, b in zip(
        *((x.geometry.rows, x.geometry.cols) for x in (converted, on_keras)), strict=True
    ):
        assert (a.stride, a.scale) == (b.stride, b.scale)
        assert abs(a.before - b.before) <= 2 and abs(a.after - b.after) <= 2


def test_models_that_read_all_positions_need_a_margin():
    frame = keras.Input((32, 32, 3))
    x = layers.Conv2D(3, 3, padding="same", name="early")(frame)
    means = layers.GlobalAveragePooling2D(keepdims=True, name="means")(x)
    blocked = keras.Model(frame, layers.Multiply(name="gate")([x, means]))
    with pytest.raises(ValueError, match=r"No crop gives .*margin as a number of pixels"):
        selective.region_stream(blocked, engine="keras")
    stream = selective.region_stream(blocked, engine="keras", margin=2)
    stream(np.zeros((32, 32, 3), "float32"))
    changed = np.zeros((32, 32, 3), "float32")
    changed[5, 5] = 1
    assert stream(changed).stats.mode == "boxes"
    with pytest.raises(ValueError, match="gives one map"):
        selective.region_stream(keras.Model(frame, [x, blocked(frame)]), engine="keras")
