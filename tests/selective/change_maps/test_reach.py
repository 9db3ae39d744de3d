"""Changes that are followed up to a limited reach."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from keras_seqpar import selective
from keras_seqpar.selective.change_maps.boxes import bounding_box
from keras_seqpar.selective.change_maps.input_positions import pad, window
from keras_seqpar.selective.change_maps.propagation import ChangeMaps
from keras_seqpar.selective.detector import grow
from tests.selective import random_nets as rn
from tests.selective.players import EXAMPLES, MODES, check, dense, play, small_net


@pytest.fixture(scope="module")
def net():
    return small_net(name="reach")


def shifted(changed, by, axis):
    """A map moved by a number of rows or columns."""
    found = np.zeros_like(changed)
    source, target = (np.moveaxis(x, axis, 0) for x in (changed, found))
    for i, row in enumerate(source):
        if 0 <= i + by < len(target):
            target[i + by] = row
    return found


@given(st.data())
@settings(max_examples=60)
def test_maps_are_those_of_their_layers_within_the_limits(data):
    """Every map follows from the one before, limited to the reach around the change itself."""
    maps = ChangeMaps((9, 8))
    layers_of: dict[int, tuple] = {}
    found = [maps.FRAME]
    for _ in range(data.draw(st.integers(1, 6))):
        source = data.draw(st.sampled_from(found))
        shape = maps.shape(source)
        if data.draw(st.booleans()):
            other = data.draw(st.sampled_from([i for i in found if maps.shape(i) == shape]))
            made, of = maps.union([source, other]), (None, source, other)
        else:
            strides = data.draw(st.sampled_from(((1, 1), (1, 1), (2, 1), (2, 2))))
            kernel = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
            reads = window(shape, kernel, strides, padding="same")
            if data.draw(st.integers(0, 4)) == 4:
                reads = pad(shape, ((1, 0), (0, 2)))
            made, of = maps.window(source, reads), (reads, source)
        if made not in found:
            found.append(made)
            layers_of[made] = of
    reach = data.draw(st.integers(0, 4))
    changed = data.draw(rn.changes((9, 8)))
    limited, free = maps.evaluate(changed, reach), maps.evaluate(changed)
    centers, wanted = {maps.FRAME: changed}, {maps.FRAME: changed}
    for made, (reads, *sources) in layers_of.items():
        if reads is None:
            centers[made], wanted[made] = (np.logical_or(*(x[i] for i in sources))
                                          for x in (centers, wanted))  # fmt: skip
        else:
            centers[made] = reads.nearest(centers[sources[0]])
            near = centers[made]
            for axis, (pixels, count) in enumerate(zip((9, 8), maps.shape(made), strict=True)):
                steps = range(-int(reach * count / pixels), int(reach * count / pixels) + 1)
                near = np.logical_or.reduce([shifted(near, i, axis) for i in steps])
            wanted[made] = reads(wanted[sources[0]]) & near
    for made in found:
        assert np.array_equal(limited[made], wanted[made])
        assert limited.count(made) == wanted[made].sum()
        assert not (limited[made] & ~free[made]).any()
        inside, box = bounding_box(wanted[made]), limited.box(made)
        if inside is not None:
            assert box[0] <= inside[0] <= inside[1] <= box[1]
            assert box[2] <= inside[2] <= inside[3] <= box[3]
    far = maps.evaluate(changed, 10**9)
    for made in found:
        assert np.array_equal(far[made], free[made])
        assert far.box(made) == free.box(made)


def test_limits_hold_where_pruning_stops_part_of_a_change():
    """As with `prune`: the part that remains is a rectangle, but the limits are none."""
    maps, wide = ChangeMaps((12, 12)), window((12, 12), (7, 7), padding="same")
    first = maps.window(maps.FRAME, wide)
    second = maps.window(first, wide)
    changed = np.eye(12, dtype=bool)
    part = np.zeros((12, 12), bool)
    part[4:7, 4:7] = True
    of = maps.evaluate(changed, 1).restarted_at(first, part)
    wanted = wide(part) & grow(changed, 1)
    assert np.array_equal(of[second], wanted)
    assert of.count(second) == wanted.sum()


@given(st.data())
@settings(max_examples=EXAMPLES // 2)
def test_with_a_reach_larger_than_the_frame_streams_are_exact(data):
    model = rn.network(data.draw)
    shape = model.inputs[0].shape[1:3]
    prune = data.draw(st.sampled_from([0.0, 1e-9]))
    play(model, [data.draw(rn.changes(shape)) for _ in range(2)], reach=60, prune=prune)


@pytest.mark.parametrize("mode", MODES)
def test_values_out_of_reach_stay_as_they_were(mode):
    inputs = keras.Input((12, 12, 3))
    model = keras.Model(inputs, layers.Conv2D(4, 5, padding="same", name="conv")(inputs))
    frame = np.random.default_rng(0).normal(size=(12, 12, 3)).astype("float32")
    changed = rn.lone_pixels((12, 12))[0]
    moved = rn.next_frame(frame, changed)
    (old,), (new,) = dense(model, frame), dense(model, moved)
    for reach in (0, 1, 2):
        stream = selective.stream(model, reach=reach, mode=mode, calibrate=0)
        stream(frame)
        result = stream(moved)
        near = grow(changed, reach)
        assert np.array_equal(stream.change_map("conv"), near)
        wanted = np.where(near[..., None], new[0], old[0])
        computed = result.output[0]
        if mode == "tiles":  # all of a tile is computed, which is nearer to the dense run
            wanted, computed = (x[near] for x in (wanted, computed))
        assert np.abs(computed - wanted).max() < 1e-5 * np.ptp(new)


def test_a_limited_reach_computes_less_and_full_runs_are_exact_again(net):
    frame = np.random.default_rng(0).normal(size=(12, 12, 3)).astype("float32")
    changed = rn.lone_pixels((12, 12))[4]
    exact = selective.stream(net, mode="positions", calibrate=0)
    near = selective.stream(net, mode="positions", calibrate=0, reach=0, refresh=3)
    modes, macs = [], []
    for i in range(6):
        results = [stream(frame) for stream in (exact, near)]
        modes.append(results[1].stats.mode)
        macs.append([result.stats.macs for result in results])
        if modes[-1] == "dense":
            check(results[1], net, frame)
        else:
            apart = [np.abs(x - y).max() for x, y in zip(*(r.output for r in results), strict=True)]
            assert max(apart) > 1e-3
        frame = rn.next_frame(frame, changed, i)
    assert modes == 2 * ["dense", "positions", "positions"]
    assert all(mine < theirs for theirs, mine in (macs[1], macs[2], macs[4], macs[5]))


def test_a_saved_state_has_the_frames_since_the_last_full_run(net):
    frame = np.random.default_rng(0).normal(size=(12, 12, 3)).astype("float32")
    streams = [selective.stream(net, calibrate=0, refresh=3) for _ in range(2)]
    for _ in range(2):
        streams[0](frame)
    streams[1].load_state(streams[0].state_dict())
    assert [[stream(frame).stats.mode for _ in range(2)] for stream in streams] == 2 * [
        ["cached", "dense"]
    ]


def test_reports_take_a_reach():
    inputs = keras.Input((40, 40, 3))
    x = inputs
    for i in range(3):
        x = layers.Conv2D(4, 3, padding="same", name=f"conv{i}")(x)
    model = keras.Model(inputs, x)
    free = selective.report(model)
    assert [layer.reach for layer in free.layers] == [3, 5, 7]
    assert free.reach == "receptive_field" and "followed" not in str(free)
    report = selective.report(model, [0.01, 1.0], reach=1)
    assert [layer.reach for layer in report.layers] == [3, 3, 3]
    assert report.reach == 1 and "followed for 1 pixels" in str(report)
    assert report.bounds == pytest.approx([1600 / 36, 1])  # 4 x 4 pixels and those around


@pytest.mark.parametrize("make", [selective.stream, selective.report])
def test_a_reach_is_checked(net, make):
    message = "reach must be a whole number of 0 or more or 'receptive_field', got"
    for reach in (-1, "far"):
        with pytest.raises(ValueError, match=message):
            make(net, reach=reach)
    for reach in (1.5, None, True):
        with pytest.raises(TypeError, match=message):
            make(net, reach=reach)


def test_refresh_is_checked(net):
    message = "refresh must be a whole number of 1 or more, got"
    for refresh, error in ((0, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match=message):
            selective.stream(net, refresh=refresh)
