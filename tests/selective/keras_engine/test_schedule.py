"""Streams that prune: small changes stop between the runs of a network."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seqpar import selective
from tests import harness
from tests.selective import random_nets as rn
from tests.selective.players import MODES, check, play, small_net


@pytest.fixture(scope="module")
def net():
    return small_net()


def test_pruning_stops_small_changes_between_runs(net):
    """Below the limit, stored values stay as they are, until the changes add up."""
    frame = np.random.default_rng(0).normal(size=(12, 12, 3)).astype("float32")
    for mode in MODES:
        exact, pruned, lax = (
            selective.stream(net, mode=mode, calibrate=0, prune=p) for p in (0.0, 1e-3, 1e3)
        )
        first = [stream(frame).output for stream in (exact, pruned, lax)]
        moved = rn.next_frame(frame, rn.lone_pixels((12, 12))[3])
        check(pruned(moved), net, moved)
        result = lax(moved)
        assert result.stats.macs < exact(moved).stats.macs
        assert result.stats.layers["first"] > 0
        assert result.stats.layers["pool"] == 0  # after the run that stops the change
        for mine, old in zip(result.output, first[2], strict=True):
            assert np.array_equal(mine, old)
        shifted, steps = frame.copy(), 0
        near = selective.stream(net, mode=mode, calibrate=0, prune=0.3)
        near(frame)
        while not near(shifted).stats.layers["pool"]:
            shifted = shifted.copy()
            shifted[6, 6] += np.float32(0.05)
            steps += 1
        assert steps > 1
        check(near(shifted), net, shifted)


@pytest.mark.parametrize("mode", MODES)
def test_outputs_of_earlier_runs_are_current_when_later_runs_are_left_out(mode):
    """The frame changes where the last layer does not read it, but another output does."""
    inputs = keras.Input((5, 5, 3))
    norm = layers.BatchNormalization(name="norm")(inputs)
    skips = layers.DepthwiseConv2D(1, strides=3, padding="same", name="skips")(norm)
    vector = layers.Dense(2, name="vector")(layers.GlobalAveragePooling2D(name="mean")(skips))
    model = keras.Model(inputs, [skips, vector, norm], name="earlier_output")
    harness.randomize(model)
    unread, read = np.zeros((2, 5, 5), bool)
    unread[0, 2] = unread[1, 4] = read[0, 0] = True
    (stream,) = play(model, [unread, read, unread], [mode], prune=1e-9)
    assert len(stream._engine.runs) > 1


def test_pruning_continues_from_a_saved_state(net, tmp_path):
    frame = np.random.default_rng(0).normal(size=(12, 12, 3)).astype("float32")
    streams = [selective.stream(net, calibrate=0, prune=0.3) for _ in range(3)]
    streams[0](frame)
    np.savez(tmp_path / "state.npz", **streams[0].state_dict())
    streams[1].load_state(np.load(tmp_path / "state.npz"))
    plain = selective.stream(net, calibrate=0)
    plain(frame)
    streams[2].load_state(plain.state_dict())  # the scales are found when they are needed
    frame = rn.next_frame(frame, rn.lone_pixels((12, 12))[3])
    results = [stream(frame) for stream in streams]
    for result in results[1:]:
        assert result.stats.macs == results[0].stats.macs
        for mine, wanted in zip(result.output, results[0].output, strict=True):
            assert np.array_equal(mine, wanted)


@pytest.mark.parametrize("prune", [-0.1, np.inf, True, "a"])
def test_a_share_to_prune_is_checked(net, prune):
    with pytest.raises(ValueError, match="prune must be a finite share of 0 or more, got"):
        selective.stream(net, prune=prune)
