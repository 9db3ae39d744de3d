"""What both kinds of streams check, and what they do before the first frame."""

import time
import warnings

import keras
import numpy as np
import pytest
from keras import layers

from keras_seqpar import selective
from tests import harness
from tests.selective.players import check, small_net
from tests.selective.regions.test_stream import make_network

SHAPE = (48, 64, 3)
NOT_JAX = pytest.mark.only_backend("tensorflow", "torch")  # which compiles every step anew


def classifier(network=None, **options):
    return selective.stream(network or small_net(), calibrate=0, **options)


def segmenter(network=None, **options):
    options = {"margin": 2, "most": 1.0, "calibrate": False, "input_shape": SHAPE} | options
    return selective.SegmentationStream(network or make_network(), **options)


KINDS = pytest.mark.parametrize("make", [classifier, segmenter])


def shown(make, seed=0, low=0.0, high=1.0):
    """A frame of a stream's size."""
    shape = (12, 12, 3) if make is classifier else SHAPE
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


def sentences(caught):
    """The warnings that name a line of this file, as those of the package do."""
    return [str(warning.message) for warning in caught if warning.filename == __file__]


@NOT_JAX
@KINDS
@pytest.mark.parametrize(
    ("kind", "high", "threshold"),
    [("float32", 1.0, 20), ("float32", 1.0, [20, 30, 40]), ("uint8", 200, 255), ("uint8", 0, 300)],
)
def test_a_threshold_that_no_frame_can_exceed_is_named_once(make, kind, high, threshold):
    stream = make(threshold=threshold)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seed in range(3):
            stream(shown(make, seed, high=high).astype(kind))
    (sentence,) = sentences(caught)
    lowest = np.min(threshold)
    assert f"threshold={lowest} cannot be exceeded by frames of {kind} from 0" in sentence
    assert "no change will be found" in sentence


@NOT_JAX
@KINDS
@pytest.mark.parametrize(
    ("kind", "high", "threshold"),
    [("float32", 1.0, 0.1), ("float32", 255.0, 20), ("uint8", 10, 20), ("float32", 1.0, [0, 9, 9]),
     ("float32", 1.0, "auto")],
)  # fmt: skip
def test_other_thresholds_are_not_suspicious(make, kind, high, threshold):
    stream = make(threshold=threshold)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        stream(np.zeros_like(shown(make)).astype(kind))  # a camera often begins with black
        for seed in range(2):
            stream(shown(make, seed, high=high).astype(kind))


def taking_pixels(kind):
    """A small network that states that it takes pixels."""
    frame = keras.Input((12, 12, 3) if kind == "classifier" else SHAPE)
    x = layers.Rescaling(1 / 127.5, -1)(frame)
    x = layers.Conv2D(2, 3, padding="same")(x)
    return keras.Model(frame, layers.GlobalAveragePooling2D()(x) if kind == "classifier" else x)


@KINDS
def test_frames_that_contradict_what_a_network_states(make):
    stream = make(taking_pixels(make.__name__))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seed in range(3):
            stream(shown(make, seed))
    (sentence,) = sentences(caught)
    assert "pixels of 0 to 255. Multiply them by 255" in sentence
    with pytest.raises(ValueError, match=r"frames of float32 in -.* which takes pixels of 0 to"):
        stream(shown(make, low=-2, high=2))
    assert stream(shown(make, 2)).stats.mode == "cached"  # the stream is as it was
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        make(taking_pixels(make.__name__))(shown(make, high=255).astype("uint8"))


@pytest.mark.only_backend("tensorflow")
def test_networks_of_this_package_state_what_they_take():
    pixels = harness.network(harness.LABELS[:2], include_preprocessing=True)
    normalized = harness.network(harness.LABELS[:2])
    frame = np.random.default_rng(0).uniform(0, 255, (16, 16, 3)).astype("uint8")
    classifier(pixels)(frame)
    with pytest.warns(UserWarning, match="frames of float64 in 0.* Multiply them by 255"):
        classifier(pixels)(frame / 255)
    for bad in (frame, frame.astype("float32")):
        with pytest.raises(ValueError, match=f"frames of {bad.dtype} in .* Normalize them"):
            classifier(normalized)(bad)
    classifier(normalized)(harness.images(normalized)[0])


@NOT_JAX
@KINDS
def test_frames_without_a_number_are_refused_however_changes_are_found(make):
    bad = shown(make)
    bad[3, 3, 0] = np.nan
    for options in (
        {},
        {"threshold": 0.1},
        {"threshold": "auto"},
        {"threshold": 0.1, "luminance": True},
    ):
        stream = make(**options)
        with pytest.raises(ValueError, match="NaN or infinite"):
            stream(bad)
        stream(shown(make))
        with pytest.raises(ValueError, match="NaN or infinite"):
            stream(bad)
        with pytest.raises(ValueError, match="NaN or infinite"):
            stream(bad, mask=np.ones(bad.shape[:2], bool))


@NOT_JAX
@KINDS
def test_looking_nowhere_is_suspicious(make):
    with pytest.warns(UserWarning, match="leave no position where changes are looked for"):
        make(never=np.ones(shown(make).shape[:2], bool))


@NOT_JAX
def test_a_region_larger_than_the_frame_is_refused():
    with pytest.raises(
        ValueError, match="least=3073 exceeds the 3072 positions of a frame of 48x64"
    ):
        segmenter(least=3073)


@NOT_JAX
@KINDS
def test_frames_of_opencv_give_what_rgb_frames_give(make):
    network = small_net() if make is classifier else make_network()
    options = {"threshold": 0.1, "luminance": True}
    rgb, bgr = make(network, **options), make(network, color="bgr", **options)
    frame = shown(make)
    blue = frame.copy()
    blue[2, 2, 2] += 0.5  # 0.057 of luminance
    red = blue.copy()
    red[3, 3, 0] += 0.5  # 0.15 of luminance
    for given in (frame, blue, red):
        one, two = rgb(given), bgr(given[..., ::-1])
        for a, b in zip(
            keras.tree.flatten(one.output), keras.tree.flatten(two.output), strict=True
        ):
            assert np.array_equal(a, b)
        assert np.array_equal(rgb.change_map(), bgr.change_map())
    assert rgb.change_map().sum() == 1
    one, two = make(network, threshold=[0, 9, 9]), make(network, threshold=[9, 9, 0], color="bgr")
    for given in (frame, blue, red):
        one(given), two(given[..., ::-1])
        assert np.array_equal(one.change_map(), two.change_map())
    with pytest.raises(ValueError, match="color must be 'rgb' or 'bgr', got 'gbr'"):
        make(network, color="gbr")


@NOT_JAX
def test_bgr_needs_three_channels():
    network = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match="color='bgr' needs 3 channels, but frames of .* have 1"):
        classifier(network, color="bgr")


@KINDS
def test_the_first_frame_says_what_it_waits_for(make, capsys):
    stream = make()
    frame = shown(make)
    first = stream(frame).stats
    words = capsys.readouterr().err
    assert words.count("warming up: compiling '") == 1 and "warm_up()" in words
    assert first.warm_up_milliseconds > 0
    assert stream(frame + 1).stats.warm_up_milliseconds == 0
    stream.reset()
    assert stream(frame).stats.warm_up_milliseconds == 0
    assert not capsys.readouterr().err


@NOT_JAX
@KINDS
def test_warming_up_beforehand(make, capsys, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    calibrate = 10_000 if make is classifier else True
    stream = (
        make(calibrate=calibrate)
        if make is segmenter
        else selective.stream(small_net(name="warmed up"), calibrate=calibrate)
    )
    assert stream.warm_up() > 0
    traces = stream(shown(make)).stats.traces
    result = stream(shown(make, 1))
    assert result.stats.warm_up_milliseconds == 0
    if keras.backend.backend() != "jax":  # which compiles every size of a change
        assert result.stats.traces == traces
    assert not capsys.readouterr().err
    before = next(clock)
    stream.warm_up()
    assert next(clock) - before < 10  # there is nothing left to do


@pytest.mark.only_backend("tensorflow", "torch")
@pytest.mark.parametrize("mode", ["positions", "rectangle", "tiles", "auto"])
def test_nothing_is_compiled_after_warming_up(mode):
    network = small_net(name=f"all of {mode}")
    stream = selective.stream(network, mode=mode, calibrate=0)
    stream.warm_up()
    frame = shown(classifier)
    traces = stream(frame).stats.traces
    for size in (1, 6):
        frame = frame.copy()
        frame[:size, :size] += 1
        result = stream(frame)
        assert result.stats.traces == traces
        check(result, network, frame)
