"""Which positions of a frame count as changed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_seqpar.selective import Detector
from keras_seqpar.selective.detector import (
    _tile_means,
    distance,
    largest_around,
    region_map,
)


def frame(height=20, width=30, channels=3, value=100.0):
    return np.full((height, width, channels), value, "float32")


def test_threshold_zero_finds_every_difference():
    a, b = frame(), frame()
    b[3, 4, 1] = np.nextafter(np.float32(100), np.float32(101))
    b[19, 29, 2] += 1
    assert Detector().is_exact
    assert np.argwhere(Detector()(b, a)).tolist() == [[3, 4], [19, 29]]


def test_thresholds_per_channel_and_bytes_that_would_wrap():
    a = np.full((4, 4, 3), 250, "uint8")
    b = a.copy()
    b[0, 0] = (5, 250, 250)  # 245 less, not 11 more
    b[1, 1] = (250, 240, 250)
    b[2, 2] = (250, 250, 240)
    found = Detector((20, 5, 50))(b, a)
    assert np.argwhere(found).tolist() == [[0, 0], [1, 1]]


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["uint8", "uint16", "int8", "int16"]),
    st.booleans(),
    st.lists(st.one_of(st.integers(0, 40), st.floats(0, 40), st.just(1e6)), min_size=3, max_size=3),
)
def test_integers_change_where_equal_floats_do(seed, kind, wide, threshold):
    rng, limits = np.random.default_rng(seed), np.iinfo(kind)
    low, high = (limits.min, limits.max + 1) if wide else (max(limits.min, -40), 40)
    a, b = (rng.integers(low, high, (5, 6, 3)).astype(kind) for _ in range(2))
    as_floats = a.astype("float64"), b.astype("float64")
    assert np.array_equal(distance(a, b), np.abs(np.subtract(*as_floats)))
    wanted = (np.abs(np.subtract(*as_floats)) > np.float32(threshold)).any(-1)
    assert np.array_equal(Detector(threshold)(a, b), wanted)
    assert np.array_equal(Detector(threshold[0])(a, b), Detector([threshold[0]] * 3)(a, b))


def test_a_difference_must_be_above_the_threshold():
    a, b = frame(), frame()
    b[0, 0] += 20
    b[0, 1] += 21
    assert np.argwhere(Detector(20)(b, a)).tolist() == [[0, 1]]


def test_largest_values_around_stay_inside():
    one = np.zeros((3, 4), int)
    one[0, 0], one[2, 3] = 2, 1
    assert largest_around(one).tolist() == [[2, 2, 0, 0], [2, 2, 1, 1], [0, 0, 1, 1]]
    assert largest_around(one > 1).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]


def test_noise_is_learned_and_larger_changes_are_found():
    rng = np.random.default_rng(0)
    scene = rng.uniform(0, 255, (120, 160, 3)).astype("float32")

    def shot(image):
        return image + rng.normal(0, 2, image.shape).astype("float32")

    detect = Detector("auto", learn=5)
    last = shot(scene)
    for _ in range(4):
        assert detect.is_learning
        now = shot(scene)
        detect.observe(now, last)
        last = now
    assert not detect.is_learning
    # The mean of |a - b| of two with deviation 2 is 2 * 2 / sqrt(pi); few tiles are far from it.
    assert detect.noise == pytest.approx(4 / np.sqrt(np.pi), rel=0.1)
    assert not any(detect(shot(scene), last).any() for _ in range(20))
    moved = scene.copy()
    moved[40:52, 80:92] = rng.uniform(0, 255, (12, 12, 3))
    found = detect(shot(moved), last)
    assert found[40:52, 80:92].all()
    assert found.mean() < 0.1


@pytest.mark.parametrize("side, most", [(12, 1.1), (64, 3.0)])
def test_moving_objects_hardly_change_the_learned_noise(side, most):
    rng = np.random.default_rng(0)
    detect = Detector("auto", learn=2)
    a, b = (rng.normal(0, 2, (96, 96, 3)).astype("float32") for _ in range(2))
    b[:side, :side] += 100
    detect.observe(b, a)
    assert 0.95 < detect.noise / (4 / np.sqrt(np.pi)) <= most * 1.1


@pytest.mark.parametrize("kind", ["uint8", "float32", "int16"])
@pytest.mark.parametrize("shape", [(16, 24, 3), (9, 31, 1), (3, 5, 2)])
def test_means_of_tiles(kind, shape):
    values = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
    found = _tile_means(values)
    for row, col in np.ndindex(found.shape):
        part = values[8 * row : 8 * row + 8, 8 * col : 8 * col + 8]
        assert found[row, col] == pytest.approx(part.mean(), rel=1e-6)


def test_repeated_frames_teach_nothing_and_a_part_that_is_noisier_counts():
    """A compressed video: frames repeat, and noise is where there is texture."""
    rng = np.random.default_rng(0)
    deviation = np.where(np.arange(160) < 120, 0.3, 3)[None, :, None]
    shots = [100 + rng.normal(0, deviation, (120, 160, 3)).astype("float32") for _ in range(30)]
    detect = Detector("auto", learn=4)
    for now, last in [(0, 0), (1, 0), (1, 1), (2, 1)]:
        detect.observe(shots[now], shots[last])
    assert detect.is_learning
    detect.observe(shots[3], shots[2])
    assert not detect.is_learning
    assert np.mean([detect(x, shots[3]).mean() for x in shots[4:]]) < 0.3
    faint = shots[4] + 0.0
    faint[40:56, 40:56] += 15
    assert detect(faint, shots[3])[40:56, 40:56].all()


def test_learned_noise_can_be_saved():
    a = Detector("auto", learn=3)
    a.observe(frame(value=1), frame(value=0))
    b = Detector("auto", learn=3)
    b.load_state(a.state_dict())
    assert b.is_learning
    b.observe(frame(value=3), frame(value=0))
    assert b.noise == 2
    c = Detector("auto", learn=3)
    c.load_state(b.state_dict())
    assert c.noise == 2


def test_regions_are_maps_or_boxes():
    found = region_map([(0, 0, 2, 3), (4, 4, 5, 5)], (5, 6), "include")
    assert found.sum() == 7
    mask = np.zeros((5, 6), bool)
    assert region_map(mask, (5, 6), "include") is mask
    for bad in (np.zeros((6, 5), bool), np.zeros((5, 6)), [(0, 1, 2)], "here"):
        with pytest.raises(ValueError, match="include must be a boolean array"):
            region_map(bad, (5, 6), "include")
    for box in ((0, 0, 0, 3), (0, 0, 6, 6), (-1, 0, 2, 2), (3, 3, 2, 4)):
        with pytest.raises(ValueError, match="empty or outside of frames of 5x6"):
            region_map([box], (5, 6), "include")


def test_settings_are_checked():
    for options, error in (
        ({"threshold": float("nan")}, ValueError),
        ({"threshold": [1, -1, 2]}, ValueError),
        ({"threshold": [[1, 2, 3]]}, TypeError),
        ({"threshold": True}, TypeError),
        ({"threshold": "a lot"}, ValueError),
        ({"threshold": None}, TypeError),
        ({"learn": 1}, ValueError),
        ({"noise": np.nan}, ValueError),
        ({"noise": -1}, ValueError),
        ({"noise": True}, ValueError),
        ({"noise": "a"}, ValueError),
    ):
        with pytest.raises(error):
            Detector(**options)


@pytest.mark.parametrize("threshold", [0, 20, [1, 2, 3], "auto"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_frames_without_a_number_are_refused(threshold, value):
    a, b = frame(), frame()
    b[1, 1, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        Detector(threshold)(b, a)
    with pytest.raises(ValueError, match="NaN or infinite"):
        Detector("auto").observe(b, a)
