"""What streams of one model share, what is compiled when, and constant weights."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seqpar import selective
from keras_seqpar.selective.keras_engine import engine
from keras_seqpar.selective.keras_engine.runs import MODES as ALL_MODES
from tests.selective import random_nets as rn
from tests.selective.players import check, small_net


@pytest.fixture(scope="module")
def net():
    return small_net()


def test_stored_maps_do_not_share_memory_with_frames():
    """A backend may keep the array that it gets. Here the frame itself is a stored map."""
    inputs = keras.Input((6, 6, 3))
    model = keras.Model(inputs, layers.Conv2D(2, 3, name="valid")(inputs), name="unpadded")
    frame = np.random.default_rng(0).normal(size=(6, 6, 3)).astype("float32")
    streams = []
    for _ in range(40):  # TensorFlow keeps arrays that begin at multiples of 64 bytes
        streams.append(selective.stream(model, calibrate=0))
        streams[-1](frame)
        before = streams[-1].state_dict()
        streams[-1]._states[0].accepted += 1
        for name, array in streams[-1].state_dict().items():
            assert "buffer" not in name or np.array_equal(array, before[name])


def test_streams_of_one_model_share_compiled_code_only(net):
    a, b = (selective.stream(net, mode="rectangle", calibrate=0) for _ in range(2))
    assert a._engine is b._engine
    rng = np.random.default_rng(0)
    frames = [rng.normal(size=(12, 12, 3)).astype("float32") for _ in range(2)]
    for stream, frame in zip((a, b), frames, strict=True):
        stream(frame)
    traces = b._engine.traces
    changed = rn.lone_pixels((12, 12))[3]
    for stream, frame in zip((a, b), frames, strict=True):
        frame = rn.next_frame(frame, changed)
        check(stream(frame), net, frame)
        traces = traces if stream is b else stream._engine.traces
    assert b._engine.traces == traces


def test_other_changes_are_not_traced_again(net, backend):
    if backend == "jax":
        return  # compiles once per size class: see the next test
    stream = selective.stream(net, calibrate=0)
    rng = np.random.default_rng(0)
    frame = rng.normal(size=(12, 12, 3)).astype("float32")
    stream(frame)
    for i in range(30):
        frame = rn.next_frame(frame, rng.random((12, 12)) < rng.choice([0.01, 0.1, 0.8]), i)
        traces = stream(frame).stats.traces
    once = len(ALL_MODES) * len(stream._engine.runs)
    assert traces <= (once if backend == "tensorflow" else 0)


@pytest.mark.only_backend("jax", "tensorflow")
@pytest.mark.parametrize("of", ["positions", "tiles", "sides", "crops"])
def test_size_classes_are_few_and_large_enough(net, backend, of):
    coarse = 1.25, 50  # times as large; sizes
    most, few = (1.5, 30) if backend == "jax" else coarse if of == "crops" else (1.0625, 170)
    fit = selective.stream(net)._engine.backend.size_class
    sizes = {fit(n, 10_000, of) for n in range(1, 10_001)}
    padded = range(5, 97) if backend == "tensorflow" and of == "positions" else ()
    others = [n for n in range(1, 10_001) if n not in padded]
    assert all(fit(n, 10_000, of) == 96 for n in padded)  # rows of a product
    assert all(n <= fit(n, 10_000, of) <= max(4, most * n) for n in others)
    assert len(sizes) < few
    assert fit(7, 7, of) == 7 and fit(99, 100, of) == 100 and fit(3, 100, of) == 3


@pytest.mark.only_backend("tensorflow")
@pytest.mark.parametrize("few", [0, 256])  # up to which size maps use weights that are no constants
@pytest.mark.parametrize("mode", ALL_MODES)
def test_frozen_weights_give_the_same(net, mode, few, monkeypatch):
    monkeypatch.setattr(engine, "_FEW_POSITIONS", few)
    monkeypatch.setattr(selective.streams, "_engines", {})  # no engine of an earlier test
    stream = selective.stream(net, mode=mode, calibrate=0, freeze=True)
    assert stream._engine is not selective.stream(net)._engine
    frame = np.random.default_rng(0).normal(size=(12, 12, 3)).astype("float32")
    stream(frame)
    frame = rn.next_frame(frame, rn.lone_pixels((12, 12))[3])
    check(stream(frame), net, frame)


@pytest.mark.only_backend("jax", "torch")
def test_only_tensorflow_freezes(net):
    with pytest.raises(ValueError, match="freeze=True is for the TensorFlow backend"):
        selective.stream(net, freeze=True)
