"""Streams give what the dense network gives, for every change and in every mode."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

import keras_seqpar as sp
from keras_seqpar import selective
from keras_seqpar.families.layers import TopDownGain
from tests import harness
from tests.selective import random_nets as rn
from tests.selective.players import EXAMPLES, MODES, TOLERANCE, check, dense, play, small_net


@pytest.fixture(scope="module")
def net():
    return small_net()


@pytest.mark.kernels
@given(st.data())
@settings(max_examples=EXAMPLES)
def test_random_networks_equal_their_dense_run(data):
    model = rn.network(data.draw)
    shape = model.inputs[0].shape[1:3]
    prune = data.draw(st.sampled_from([0.0, 1e-9]))  # in one piece, or in many
    play(model, [data.draw(rn.changes(shape)) for _ in range(3)], prune=prune)


@given(st.data())
@settings(max_examples=EXAMPLES // 2)
def test_networks_with_barriers_equal_their_dense_run(data):
    model = rn.network(data.draw, barriers=True)
    shape = model.inputs[0].shape[1:3]
    stream, *_ = play(model, [data.draw(rn.changes(shape)) for _ in range(2)])
    assert ("barrier" in stream.program.barriers) == (stream.program.layers["barrier"][1] > 1)
    assert "behind" not in stream.program.barriers


@pytest.mark.kernels
def test_lone_pixels_at_borders_and_corners(net):
    play(net, rn.lone_pixels((12, 12)))


@pytest.mark.kernels
def test_many_frames_do_not_drift(net):
    """After 200 frames the state equals that of a stream that gets the last frame only."""
    rng = np.random.default_rng(0)
    frame = rng.normal(size=(12, 12, 3)).astype("float32")
    streams = [selective.stream(net, mode=m, calibrate=0) for m in MODES]
    for i in range(200):
        y, x = rng.integers(0, 12, 2)
        height, width = [(1, 1), (3, 3), (3, 6)][i % 3]  # few sizes: JAX compiles each
        frame = frame.copy()
        part = frame[y : y + height, x : x + width]
        part[:] = rng.normal(size=part.shape)
        results = [stream(frame) for stream in streams]
        if i % 20 == 19:
            for result in results:
                check(result, net, frame)
    fresh = selective.stream(net, mode="dense")
    fresh(frame)
    wanted = fresh.state_dict()
    for stream in streams:
        state = stream.state_dict()
        for key in wanted:
            if "buffer" in key:
                finite = np.isfinite(wanted[key])
                assert np.array_equal(finite, np.isfinite(state[key]))
                assert harness.error(state[key][finite], wanted[key][finite]) < 1e-6


def test_unchanged_frames_compute_nothing(net, monkeypatch):
    stream = selective.stream(net, calibrate=0)
    frame = np.ones((12, 12, 3), "float32")
    first = stream(frame)
    monkeypatch.setattr(stream._engine, "compute", None)  # any pass would fail
    result = stream(frame.copy())
    assert result.stats.mode == "cached"
    assert result.stats.macs == 0
    assert result.stats.saved == 1
    assert result.stats.changed == 0
    assert set(result.stats.layers.values()) == {0.0}
    for a, b in zip(first.output, result.output, strict=True):
        assert np.array_equal(a, b)
        b += 1  # what is handed out is the caller's
    assert np.array_equal(stream(frame).output[0], first.output[0])


@pytest.mark.kernels
def test_a_network_of_this_package_a_cutout_and_gains():
    model = harness.network(harness.LABELS[:3])
    cut = sp.cutout(sp.attend(model, {"tench": 1.4}), ["cassette player", "tench"])
    box = np.zeros((16, 16), bool)
    box[2:5, 3:9] = True
    jax = keras.backend.backend() == "jax"  # which compiles every step: the cutout alone
    for net in (sp.with_activation(cut, None),) if jax else (model, sp.with_activation(cut, None)):
        (stream,) = play(net, [box], ["positions"])
    assert stream.program.steps[0].kind == "conv"
    kinds = {type(step.layer) for step in stream.program.steps if step.kind == "pointwise"}
    assert layers.BatchNormalization not in kinds  # folded, and so is the gain
    assert TopDownGain not in kinds


def test_new_gains_make_a_dense_pass():
    model = sp.with_activation(harness.network(harness.LABELS[:2]), None)
    model = sp.attention_input(model)
    stream = selective.stream(model, mode="positions", calibrate=0)
    frame = harness.images(model)[0]
    gains = np.array([1.0, 1.0], "float32")
    check(stream([frame, gains]), model, frame, gains)
    frame = rn.next_frame(frame, rn.lone_pixels((16, 16))[0])
    result = stream([frame, gains])
    check(result, model, frame, gains)
    assert result.stats.mode == "positions"
    gains = np.array([1.5, 0.5], "float32")
    result = stream([frame, gains])
    check(result, model, frame, gains)
    assert result.stats.mode == "dense"
    with pytest.raises(ValueError, match="takes 2 inputs, got 1"):
        stream(frame)
    with pytest.raises(ValueError, match=r"shape \(1, 3\), not \(1, 2\)"):
        stream([frame, np.ones(3)])


@pytest.mark.only_backend("tensorflow", "torch")  # as below
def test_the_first_grn_of_convnext_is_a_barrier():
    model = harness.network(harness.LABELS[:1], family="convnext_v2_atto")
    box = np.zeros((16, 16), bool)
    box[2:5, 3:9] = True
    (stream,) = play(sp.with_activation(model, None), [box], ["rectangle"])
    assert list(stream.program.barriers) == ["stage1_block1_grn"]


@pytest.mark.only_backend("tensorflow", "torch")  # JAX compiles its 150 layers one by one
def test_a_network_of_keras_applications():
    model = keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, weights=None, classes=3, classifier_activation=None
    )
    harness.randomize(model)
    box = np.zeros((32, 32), bool)
    box[2:5, 3:9] = True
    play(model, [box], ["positions"])


def test_nested_sequential_models_and_one_layer_called_twice():
    inputs = keras.Input((8, 8, 2))
    conv = layers.Conv2D(2, 3, padding="same", name="twice")
    inner = keras.Sequential([keras.Input((8, 8, 2)), conv, layers.ReLU()], name="inner")
    outputs = conv(inner(inputs))
    model = keras.Model(inputs, outputs)
    harness.randomize(model)
    (stream,) = play(model, rn.lone_pixels((8, 8))[:1], ["positions"])
    assert stream.change_map("twice").sum() == 4
    assert stream.change_map("twice:2").sum() == 9


def test_items_of_a_batch_are_streams_of_their_own(net):
    frames = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    stream = selective.stream(net, mode="positions", calibrate=0)
    stream(frames)
    frames = frames.copy()
    frames[1, 4, 4] += 1
    result = stream(frames)
    assert [s.mode for s in result.items] == ["cached", "positions"]
    assert result.stats.mode == "mixed"
    assert result.stats.macs == result.items[1].macs
    assert stream.change_map().sum() == 0
    assert stream.change_map(item=1).sum() == 1
    for i in range(2):
        for mine, theirs in zip(result.output, dense(net, frames[i]), strict=True):
            assert harness.error(mine[i : i + 1], theirs) < TOLERANCE


def test_statistics_count_what_is_done(net):
    stream = selective.stream(net, mode="positions", calibrate=0)
    frame = np.zeros((12, 12, 3), "float32")
    whole = stream(frame).stats
    assert (whole.mode, whole.changed, whole.saved) == ("dense", 1.0, 0.0)
    by_hand = 36 * (27 * 4) + 36 * (36 * 4) + 4 * 3
    assert whole.macs == whole.macs_dense == by_hand
    frame = frame.copy()
    frame[5, 5] = 1
    stats = stream(frame).stats
    assert stats.changed == 1 / 144
    # One pixel at an odd place reaches 2x2 outputs with stride 2, they 4x4, those 3x3 of 3x3.
    assert [stats.layers[n] * 36 for n in ("first", "norm", "add")] == [4, 4, 16]
    assert stats.layers["pool"] == stats.layers["mean"] == 1
    assert stream.change_map("second").sum() == 16
    if keras.backend.backend() != "jax":  # which rounds the numbers of positions up
        assert stats.macs == 4 * (27 * 4) + 16 * (36 * 4) + 4 * 3
    assert 0 < stats.saved < 1
    assert stats.state_bytes == stream.state_bytes > 0


def test_small_differences_are_ignored_until_they_add_up_to_the_threshold(net):
    stream = selective.stream(net, threshold=0.5, mode="positions", calibrate=0)
    frame = np.zeros((12, 12, 3), "float32")
    stream(frame)
    for step in (0.2, 0.4):
        result = stream(frame + np.float32(step))
        assert result.stats.mode == "cached"
        assert result.stats.drift == pytest.approx(step)
    moved = frame + np.float32(0.4)
    moved[3, 3] = 0.6
    result = stream(moved)
    assert stream.change_map().sum() == 1
    assert result.stats.drift == pytest.approx(0.4)
    frame[3, 3] = 0.6  # what the output stands for
    check(result, net, frame)
    assert stream(moved + np.float32(0.2)).stats.changed == pytest.approx(143 / 144)


def test_regions_and_masks(net):
    stream = selective.stream(net, only=[(0, 0, 6, 12)], never=[(0, 0, 2, 2)], calibrate=0)
    frame = np.zeros((12, 12, 3), "float32")
    stream(frame)
    stream(frame + np.float32(1))
    wanted = np.zeros((12, 12), bool)
    wanted[:6] = True
    wanted[:2, :2] = False
    assert np.array_equal(stream.change_map(), wanted)
    stream.look()
    result = stream(frame + np.float32(1))
    assert np.array_equal(stream.change_map(), ~wanted)
    check(result, net, frame + np.float32(1))
    mask = np.zeros((12, 12), bool)
    mask[3, 4] = True
    assert stream(frame + np.float32(2), mask=mask).stats.drift == 1
    assert np.array_equal(stream.change_map(), mask)
    with pytest.raises(ValueError, match=r"mask must be a boolean array of shape \(12, 12\)"):
        stream(frame, mask=mask[:5])
    with pytest.raises(ValueError, match="is empty or outside of frames of 12x12"):
        stream.look(only=[(0, 0, 13, 4)])


def test_learning_the_noise_makes_dense_passes_first(net):
    rng = np.random.default_rng(0)
    stream = selective.stream(net, threshold="auto", learn=3, calibrate=0)
    frame = np.zeros((12, 12, 3), "float32")
    modes = [
        stream(frame + rng.normal(0, 0.1, frame.shape).astype("float32")).stats.mode
        for _ in range(4)
    ]
    assert modes == ["dense", "dense", "dense", "cached"]
    frame[0:4, 0:4] += 5
    stream(frame)
    assert stream.change_map()[:4, :4].all()


def test_frames_of_bytes_and_tensors(net):
    stream = selective.stream(net, mode="positions", calibrate=0)
    frame = np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype("uint8")
    stream(frame)
    frame = frame.copy()
    frame[3, 3] += 1
    check(stream(ops.convert_to_tensor(frame)), net, frame.astype("float32"))


def test_arguments_are_checked(net):
    for options, error, message in (
        ({"threshold": -1}, ValueError, "finite and 0 or more"),
        ({"threshold": "low"}, ValueError, "'auto', got 'low'"),
        ({"threshold": object()}, TypeError, "one number per channel"),
        ({"threshold": [1, 2]}, ValueError, "2 numbers, but the frames have 3 channels"),
        ({"dilate": -1}, ValueError, "dilate must be a whole number of 0 or more"),
        ({"mode": "positoins"}, ValueError, "positions"),
        ({"unsupported": "x"}, ValueError, "dense"),
        ({"calibrate": -1}, ValueError, "seconds of 0 or more"),
        ({"only": np.ones((3, 3), bool)}, ValueError, "only must be a boolean array"),
    ):
        with pytest.raises(error, match=message):
            selective.stream(net, **options)
