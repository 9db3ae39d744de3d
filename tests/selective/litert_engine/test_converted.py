"""Streams of converted Keras networks: of this package, with gains, and of others."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import keras_seqpar as sp
from keras_seqpar import mobile, selective
from tests.selective.litert_engine.files import Dense, change
from tests.selective.litert_engine.test_exactness import equal

pytestmark = pytest.mark.only_backend("tensorflow")  # conversion needs it


def play(path, shape, *, pixels=None, frames=4, extras=()):
    """Compares outputs of a few frames, of noise or of pixels of a type; returns the stream."""
    stream, dense = selective.stream(path), Dense(path)
    rng = np.random.default_rng(0)
    frame = rng.normal(size=shape).astype("float32")
    if pixels:
        frame = rng.integers(0, 256, shape).astype("uint8")
    for i in range(frames):
        given = frame.astype(pixels) if pixels else frame
        result = stream([given, *extras] if extras else given)
        expected = dense(given, *extras)
        found = result.output if isinstance(result.output, dict) else {"": result.output}
        for mine, theirs in zip(found.values(), expected, strict=True):
            assert equal(mine, theirs), i
        part = change(frame.view("int8") if pixels else frame, rng, most=0.3)
        frame = part.view("uint8") if pixels else part
    return stream


@pytest.mark.parametrize("quantization", ["float32", "float16", "int8"])
def test_a_network_of_this_package(tmp_path, quantization):
    """Its stem normalizes by rows and joins columns, which are relabeled, not barriers."""
    net = sp.build_phl(
        ["a", "b", "c"],
        family="resnet18",
        input_shape=(64, 64, 3),
        width=0.25,
        include_preprocessing=True,
    )
    path, is_int8 = tmp_path / "net.tflite", quantization == "int8"
    options = {}
    if is_int8:
        noise = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3)).astype("uint8")
        options = {"calibration": noise, "input_dtype": "uint8"}
    mobile.convert(net, path, quantization=quantization, **options)
    kind = "uint8" if is_int8 else "float32"
    stream = play(path, (64, 64, 3), pixels=kind)
    report = selective.report(path)
    assert {name.split()[0] for name in report.barriers} == {"MEAN"}
    assert stream(np.zeros((64, 64, 3), kind)).output.shape == (1, 3)


def test_a_network_with_gains(tmp_path):
    net = sp.build_phl(["a", "b", "c"], family="resnet18", input_shape=(32, 32, 3), width=0.25)
    net = sp.attention_input(net)
    path = tmp_path / "net.tflite"
    mobile.convert(net, path, quantization="float32")
    stream = play(path, (32, 32, 3), extras=(np.array([[1, 0.5, 2]], "float32"),))
    result = stream(np.zeros((32, 32, 3), "float32"))  # neutral gains
    assert result.output.shape == (1, 3)


@pytest.mark.parametrize("quantization", ["float32", "float16", "int8"])
def test_an_encoder_and_decoder(tmp_path, quantization):
    x = inputs = keras.Input((24, 20, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = skip = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.MaxPooling2D(3, 2, padding="same")(layers.Conv2D(8, 1, activation="relu6")(x))
    x = layers.AveragePooling2D(3, 1, padding="same")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.Activation("hard_swish")(x))
    x = layers.Concatenate()([x, skip])
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x)
    x = layers.Softmax()(layers.Conv2D(5, 1)(x))
    path = tmp_path / "net.tflite"
    noise = np.random.default_rng(0).normal(size=(50, 24, 20, 3)).astype("float32")
    calibration = noise if quantization == "int8" else None
    net = keras.Model(inputs, x)
    mobile.convert(net, path, quantization=quantization, calibration=calibration, labels=False)
    stream = play(path, (24, 20, 3))
    assert not selective.report(path).barriers
    assert re.search("CONV_2D", str(selective.report(path)))
    assert stream.state_bytes > 0


def test_keras_applications(tmp_path):
    net = keras.applications.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=3)
    path = tmp_path / "net.tflite"
    noise = np.random.default_rng(0).normal(size=(50, 32, 32, 3)).astype("float32")
    mobile.convert(net, path, quantization="int8", calibration=noise, labels=False)
    play(path, (32, 32, 3))


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_a_cutout_with_gains_that_vary(tmp_path, quantization):
    """Cutout, gains and change map on one stream: gains of a frame count for that frame."""
    net = sp.build_phl(["a", "b", "c", "d"], family="resnet18", input_shape=(32, 32, 3), width=0.25)
    net = sp.attention_input(sp.cutout(net, ["d", "b"]))
    path, rng = tmp_path / "net.tflite", np.random.default_rng(0)
    noise = rng.normal(size=(50, 32, 32, 3)).astype("float32")
    of_int8 = {"calibration": noise, "max_gain": 8} if quantization == "int8" else {}
    mobile.convert(net, path, quantization=quantization, **of_int8)
    stream, dense = selective.stream(path), Dense(path)
    kind = dense.inputs[1]["dtype"]
    frame, modes = noise[0], []
    for i in range(8):
        gains = np.array([[1, 1 + i // 2]], kind)
        result = stream([frame, gains])
        assert equal(result.output, dense(frame, gains)[0]), i
        modes.append(result.stats.mode)
        frame = change(frame, rng, most=0.3)
    assert {"dense", "boxes"} <= set(modes)
