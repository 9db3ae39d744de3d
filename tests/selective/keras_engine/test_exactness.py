"""Streams on Keras compute what the network computes, in every stored map and output."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_seqpar as sp
from keras_seqpar import selective
from keras_seqpar.networks.thresholds import Threshold
from keras_seqpar.selective.planning.passes import BOXES, FULL
from tests import harness
from tests.selective import random_nets

TOLERANCE = 1e-5  # relative to the range of the values
IS_JAX = keras.backend.backend() == "jax"  # which compiles every run for every size


def play(model, frames, *, others=(), tolerance=TOLERANCE):
    """Runs frames through a stream by boxes, compares all that it stores, and returns it."""
    camera = selective.stream(model, engine="keras")
    engine = camera._engine
    for i, frame in enumerate(frames):
        if i:  # whatever is faster on this machine
            engine.compute = functools.partial(type(engine).compute, engine, must=BOXES)
        result = camera([frame, *others] if others else frame)
        if i:
            del engine.compute
        assert result.stats.mode in (("boxes", "cached") if i else ("dense",))
        inputs = [frame, *others]
        wanted = model([x[None] for x in inputs] if others else frame[None], training=False)
        wanted = dict(zip(model.output_names, keras.tree.flatten(wanted), strict=True))
        made = result.output if isinstance(result.output, dict) else {model.output_names[0]: None}
        assert made.keys() == wanted.keys()
        for name, value in wanted.items():
            mine = result.output if made[name] is None else made[name]
            assert harness.error(mine, harness.array(value)) < tolerance, name
        maps = camera.maps
        engine.compute(engine.everything, must=FULL)
        for name, stored in camera.maps.items():
            assert harness.error(maps[name], stored) < tolerance, name
    return camera


@settings(max_examples=2 if IS_JAX else 15)
@given(data=st.data())
def test_random_networks(data):
    model = random_nets.network(data.draw, data.draw(st.booleans(), label="barriers"))
    shape = model.inputs[0].shape[1:]
    frames = [np.random.default_rng(0).normal(size=shape).astype("float32")]
    for i in range(2 if IS_JAX else 4):
        changed = data.draw(random_nets.changes(shape[:2]), label="changed")
        frames.append(random_nets.next_frame(frames[-1], changed, i))
    play(model, frames)


def moving_square(shape, count=2, high=255.0):
    """Frames of noise in which a square moves."""
    still = np.random.default_rng(0).uniform(0, high, shape).astype("float32")
    for i in range(count):
        frame = still.copy()
        frame[5 * i : 5 * i + 6, 9 : 9 + 5] = 0
        yield frame


def test_networks_of_keras():
    options = {"minimalistic": True, "alpha": 0.75, "classifier_activation": None}
    model = keras.applications.MobileNetV3Small((48, 56, 3), weights=None, classes=5, **options)
    if IS_JAX:
        model = keras.Model(model.input, model.get_layer("expanded_conv_4_add").output)
    harness.randomize(model)
    camera = play(model, moving_square((48, 56, 3)), tolerance=1e-4)
    assert len(camera.maps) >= 10


def test_layers_run_as_they_predict():
    """Random layers train unasked, and a call may say so; `predict` does neither."""
    image = keras.Input((14, 15, 3))
    x = keras.layers.RandomFlip()(keras.layers.RandomContrast(0.9)(image))
    norm = keras.layers.BatchNormalization()
    model = keras.Model(image, keras.layers.Conv2D(2, 3)(norm(x, training=True)))
    before = [harness.array(x) for x in norm.weights]
    play(model, moving_square((14, 15, 3)), tolerance=1e-4)
    for old, new in zip(before, norm.weights, strict=True):
        np.testing.assert_array_equal(harness.array(new), old)


def test_networks_of_this_package_with_gains_and_none_of_these():
    model = sp.attention_input(harness.network(harness.LABELS[:3]))
    model = sp.none_of_these(sp.with_threshold(model, Threshold(-1.0)))
    frames = list(moving_square((16, 16, 3), 3, 2.0))
    camera = play(model, frames, others=[np.array([1.4, 0.5, 1.0], "float32")], tolerance=1e-4)
    new = [np.array([0.5, 1.5, 1.0], "float32")]
    result = camera([frames[-1], *new])
    assert result.stats.mode == "dense"
    play(model, frames[:2], others=new, tolerance=1e-4)


def test_cutouts_with_gains_save_and_load_their_state():
    model = sp.attend(harness.network(harness.LABELS[:3]), {harness.LABELS[0]: 1.4})
    model = sp.with_activation(sp.cutout(model, harness.LABELS[:2]), None)
    frames = list(moving_square((16, 16, 3), 3, 2.0))
    camera = play(model, frames[:2])
    camera(frames[1])
    other = selective.stream(sp.cutout(model, harness.LABELS[:2]), engine="keras")
    other.load_state(camera.state_dict())
    a, b = camera(frames[2]), other(frames[2])
    assert harness.error(a.output, b.output) < TOLERANCE
    with pytest.raises(ValueError, match="belongs to another"):
        selective.stream(harness.network(harness.LABELS[:3]), engine="keras").load_state(
            camera.state_dict()
        )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"][: 1 if IS_JAX else 2])
def test_half_precision(policy):
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", dtype=policy, activation="relu")(inputs)
    x = x + keras.layers.Conv2D(8, 3, padding="same", dtype=policy)(x)
    x = keras.layers.SeparableConv2D(4, 3, strides=2, dtype=policy)(x)
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="float32")(x))
    harness.randomize(model)
    play(model, moving_square((12, 12, 3), 3, 1.0), tolerance=0.02)


@pytest.mark.only_backend("jax")  # the others compile once for all sizes
def test_few_sizes_are_compiled():
    from keras_seqpar.selective.keras_engine.compiling import rounded

    assert {rounded(n, 100) for n in range(1, 101)} == {1, 2, 4, 8, 16, 32, 64, 100}
