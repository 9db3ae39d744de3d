"""Streams of Keras models: converted in memory where that is possible."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_seqpar as sp
from keras_seqpar import selective
from tests import harness


@pytest.mark.only_backend("tensorflow")
def test_a_model_is_converted_in_memory_and_gives_what_it_gives(capsys):
    """Also one that stores a threshold and takes gains: the output is the model's own."""
    model = sp.attention_input(harness.network(include_preprocessing=True))
    harness.randomize(model)
    threshold = sp.fit_threshold(np.eye(4) * 5, np.zeros((4, 4)))
    model = sp.with_threshold(model, threshold)
    stream = selective.stream(model, threshold=0)
    assert "converting" in capsys.readouterr().err and stream.runs_on.startswith("ai-edge-litert")
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, stream.input_shape).astype("uint8")
    gains = np.array([[1, 0, 2, 1]], "float32")
    for _ in range(3):
        found = stream([frame, gains])
        expected = harness.predict(model, frame[None].astype("float32"), gains)
        assert harness.error(found.output, expected) < 1e-4
        frame = frame.copy()
        frame[2:4, 3:6] = rng.integers(0, 256, (2, 3, 3))
    assert np.array_equal(stream(frame).output, stream([frame, np.ones(4)]).output)
    listed = selective.stream(model)(frame.tolist())
    assert np.array_equal(listed.output, stream(frame).output)
    later = selective.stream(model)
    later.load_state(stream.state_dict())
    assert np.array_equal(later(frame).output, stream(frame).output)
    with pytest.raises(ValueError, match="takes a frame and gains, got 3 input"):
        stream([frame, gains, gains])
    with pytest.raises(ValueError, match=f"the model {model.name!r} have the shape"):
        stream(frame[1:])
    with pytest.raises(ValueError, match="more than memory_limit"):
        selective.stream(model, memory_limit=1000)
    named_anew = keras.models.clone_model(model)  # a file of it has other names
    named_anew.set_weights(model.get_weights())
    selective.stream(named_anew).load_state(stream.state_dict())
    report = selective.report(model)
    assert report.name == model.name and report.runs and report.input_shape == frame.shape


@pytest.mark.only_backend("tensorflow")
def test_sizes_that_a_model_leaves_open():
    frame = keras.Input((None, None, 3))
    model = keras.Model(frame, layers.Conv2D(2, 3)(frame), name="any")
    with pytest.raises(ValueError, match="'any' takes images of any size.* Give input_shape="):
        selective.stream(model)
    stream = selective.stream(model, input_shape=(9, 8, 3))
    image = np.random.default_rng(0).normal(size=(9, 8, 3)).astype("float32")
    assert harness.error(stream(image).output, harness.predict(model, image[None])) < 1e-5
    model = keras.Sequential([keras.Input((9, 8, 3)), layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"input_shape=\(8, 8, 3\) does not fit"):
        selective.stream(model, input_shape=(8, 8, 3))
    for shape in (9, (9.0, 8, 3), (0, 8, 3), "abc"):
        with pytest.raises(ValueError, match="input_shape must be 3 whole numbers of 1 or"):
            selective.stream(model, input_shape=shape)


def test_models_that_cannot_be_streams():
    vector = keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="vector")
    for model in (vector, keras.Sequential([layers.Dense(2)], name="unbuilt")):
        with pytest.raises(ValueError, match="needs a functional model whose first input"):
            selective.stream(model)
    with pytest.raises(TypeError, match="path of a .tflite file or a keras.Model, got ndarray"):
        selective.stream(np.zeros(3))
    with pytest.raises(ValueError, match="signature is for .tflite files only"):
        selective.stream(vector, signature="x")


def test_keras_runs_what_litert_cannot(capsys):
    """On every backend, and what no file can express."""
    frame, more = keras.Input((12, 10, 3)), keras.Input((4,), name="more")
    x = layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 64)(frame))
    model = keras.Model([frame, more], [x * layers.Dense(4)(more)[:, None, None], x], name="net")
    report = selective.report(model)
    assert report.name == "net" and report.memory > report.state_bytes > 0 and str(report)
    stream = selective.stream(model)
    notes = capsys.readouterr().err
    assert "'net' runs layer by layer on Keras, slower on CPUs than LiteRT:" in notes
    assert stream.runs_on == f"Keras {keras.version()} on {keras.config.backend()}"
    rng = np.random.default_rng(0)
    image, vector = rng.integers(0, 256, (12, 10, 3)).astype("uint8"), np.ones((1, 4), "float32")
    for _ in range(3):
        found = stream([image, vector])
        expected = model.predict([image[None].astype("float32"), vector], verbose=0)
        for a, b in zip(found.output.values(), expected, strict=True):
            assert harness.error(a, b) < 1e-5
        image = image.copy()
        image[2:4, 3:6] = rng.integers(0, 256, (2, 3, 3))
    with pytest.raises(ValueError, match="the model 'net', which takes pixels of 0 to 255"):
        selective.stream(model)([image / 64.0 - 2, vector])
    with pytest.raises(ValueError, match="'net' takes about .* MB, more than memory_limit"):
        selective.stream(model, memory_limit=100)
    with pytest.raises(ValueError, match="'net' cannot run on LiteRT: "):
        selective.stream(model, engine="litert")


@pytest.mark.only_backend("tensorflow")
def test_a_converted_model_states_its_pixels_as_the_model_does():
    frame = keras.Input((9, 8, 3))
    x = layers.Conv2D(2, 3)(layers.Rescaling(1 / 127.5, -1)(frame))
    stream = selective.stream(keras.Model(frame, x))
    with pytest.raises(ValueError, match="takes pixels of 0 to 255"):
        stream(np.random.default_rng(0).normal(size=(9, 8, 3)))
