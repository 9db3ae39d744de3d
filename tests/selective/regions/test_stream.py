"""Streams of crops: which changes count, what is computed again, and what is refused."""

import numpy as np
import pytest

from keras_seqpar import selective
from tests.selective.litert_engine.files import Dense, File, noise
from tests.selective.regions.test_file_crops import decoder, open_stream

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend
SHAPE = (64, 72, 3)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return decoder("float32").save(tmp_path_factory.mktemp("regions") / "street.tflite")


def still(value=0.0):
    return np.full(SHAPE, value, "float32")


def test_a_still_scene_is_not_computed_again(path):
    stream = open_stream(path)
    first, again = stream(still()), stream(still())
    assert (first.stats.mode, again.stats.mode) == ("dense", "cached")
    assert first.stats.boxes == ((0, 0, 64, 72),) and again.stats.boxes == ()
    assert first.stats.saved == 0 and again.stats.saved == 1 and again.stats.changed == 0
    assert np.array_equal(first.output, again.output) and not stream.change_map().any()
    assert again.output.dtype == "uint8" and again.output.shape == (1, 32, 36)
    assert again.stats.state_bytes == 64 * 72 * 3 * 4 + 32 * 36
    assert stream.runs_on and stream.margin == tuple(
        getattr(axis, side)
        for side in ("before", "after")
        for axis in (stream.geometry.rows, stream.geometry.cols)
    )


def test_classes_are_those_of_the_largest_scores(path):
    stream, dense = open_stream(path), Dense(path)
    rng = np.random.default_rng(0)
    frame = noise(SHAPE, "float32", rng)
    for i in range(4):
        frame = frame.copy()
        frame[5 * i : 5 * i + 4, 9:20] = rng.normal()
        assert np.array_equal(stream(frame).output, dense(frame)[0].argmax(-1))


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_one_class_is_compared_with_one_half(tmp_path, kind):
    file = File((1, 32, 40, 2), kind, zero=-7)
    file.outputs.append(file.conv(file.frame, 1))
    path = file.save(tmp_path / "one.tflite")
    stream = selective.region_stream(path)
    frame = noise((32, 40, 2), kind, np.random.default_rng(0))
    scores = Dense(path)(frame)[0][..., 0].astype("float32")
    if kind == "int8":
        scores = (scores - file.zero) * file.SCALE
    assert np.array_equal(stream(frame).output, scores > 0.5)
    assert 0.1 < (scores > 0.5).mean() < 0.9


def test_with_a_threshold_the_map_is_that_of_the_accepted_frame(path):
    stream, dense = open_stream(path, threshold=0.5, scores=True), Dense(path)
    rng = np.random.default_rng(0)
    frame = noise(SHAPE, "float32", rng)
    stream(frame)
    noisy = (frame + rng.uniform(-0.1, 0.1, SHAPE)).astype("float32")
    noisy[20:24, 20:24] += 3
    result = stream(noisy)
    accepted = stream.state_dict()["accepted"]
    assert result.stats.mode == "boxes" and 0 < stream.drift(noisy) <= 0.1
    assert np.array_equal(result.output, dense(accepted)[0])
    assert np.array_equal(accepted[:18], frame[:18])  # the noise is not in it


def test_narrow_margins_are_cheaper_and_less_exact(path):
    rng = np.random.default_rng(0)
    first = noise(SHAPE, "float32", rng)
    second = first.copy()
    second[20:30, 20:30] = rng.normal()
    wanted, saved, agreement = Dense(path)(second)[0].argmax(-1), [], []
    for margin in ("receptive_field", 1):
        stream = open_stream(path, margin=margin)
        stream(first)
        result = stream(second)
        saved.append(result.stats.saved)
        agreement.append((result.output == wanted).mean())
    assert saved[0] < saved[1] and agreement[0] == 1.0 and 0.5 < agreement[1] < 1.0
    assert open_stream(path, margin=3).margin == (3, 3, 4, 4)


def test_full_runs_after_refresh_frames_and_for_large_changes(path):
    stream = open_stream(path, refresh=3, max_cost_share=0.9)
    modes = [stream(still()).stats.mode for _ in range(7)]
    assert modes == ["dense", "cached", "cached", "dense", "cached", "cached", "dense"]
    result = stream(still(1.0))
    assert result.stats.mode == "dense" and stream.change_map().all()
    assert result.stats.changed == 1 and result.stats.macs == result.stats.macs_dense


def test_options_set_which_changes_count(path):
    def made(**options):
        stream = open_stream(path, margin=2, **options)
        stream(still())
        return stream

    one, many = still(), still()
    one[5, 5] = many[20:24, 20:24] = 1
    waits = made(min_region_pixels=10)
    assert waits(one).stats.mode == "cached" and waits.drift(one) == 1
    assert made(min_region_pixels=10)(many).stats.mode == "boxes"
    assert made(threshold=3.0)(-4 * one).stats.mode == "boxes"
    assert made(exclude=[(0, 0, 10, 10)])(one).stats.mode == "cached"
    assert made(include=[(0, 0, 10, 10)])(one).stats.mode == "boxes"
    mask = np.zeros(SHAPE[:2], bool)
    mask[40, 40] = True
    masked = made()
    assert masked(still(), mask=mask).stats.mode == "boxes"
    assert np.array_equal(masked.change_map(), mask)
    detector = selective.Detector(threshold=0.5, drop_single=True)
    assert made(detector=detector)(one).stats.mode == "cached"


def test_full_runs_leave_out_where_no_changes_are_looked_for(path):
    stream, dense = open_stream(path, exclude=[(0, 0, 64, 10)], refresh=2), Dense(path)
    stream(still())
    result = stream(still(1.0))
    mixed = still(1.0)
    mixed[:, :10] = 0
    assert result.stats.mode == "dense"
    assert np.array_equal(result.output, dense(mixed)[0].argmax(-1))


def test_another_stream_continues_from_a_saved_state(path, tmp_path):
    rng = np.random.default_rng(0)
    frames = [noise(SHAPE, "float32", rng)]
    for i in range(3):
        frames.append(frames[-1].copy())
        frames[-1][10 * i, 20:24] += 1
    one, two = (open_stream(path, threshold=0.2) for _ in range(2))
    one(frames[0]), one(frames[1])
    np.savez(tmp_path / "camera.npz", **one.state_dict())
    with np.load(tmp_path / "camera.npz") as state:
        two.load_state(state)
        with pytest.raises(ValueError, match="belongs to another network"):
            selective.stream(path).load_state(state)
    for frame in frames[2:]:
        assert np.array_equal(one(frame).output, two(frame).output)
    assert two(frames[3]).stats.mode == "cached"
    one.reset()
    assert one(frames[2]).stats.mode == "dense"


def test_a_failed_crop_is_computed_again(path, monkeypatch):
    stream, dense = open_stream(path), Dense(path)
    stream(still())
    frame = still()
    frame[30, 30] = 1
    with monkeypatch.context() as patched:
        patched.setattr(stream._crops, "crop", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream(frame)
    result = stream(frame)
    assert result.stats.mode == "dense"
    assert np.array_equal(result.output, dense(frame)[0].argmax(-1))


def test_arguments_out_of_range(path):
    for options, kind, words in (
        ({"margin": -1}, ValueError, "margin must be a whole number of 0 or more or"),
        ({"margin": "wide"}, ValueError, "'receptive_field', got 'wide'"),
        ({"margin": 1.5}, TypeError, "margin must be"),
        ({"refresh": 0}, ValueError, "refresh must be a whole number of 1"),
        ({"min_region_pixels": True}, TypeError, "min_region_pixels must be"),
        ({"min_region_pixels": 5000}, ValueError, "exceeds the 4608 positions .* 64x72"),
        ({"max_cost_share": 0}, ValueError, "max_cost_share must be a share"),
        ({"threshold": -1}, ValueError, "threshold must be finite"),
        ({"include": [(0, 0, 99, 99)]}, ValueError, "outside of frames"),
        ({"engine": "keras"}, ValueError, "engine='keras' is for Keras models"),
    ):
        with pytest.raises(kind, match=words):
            selective.region_stream(path, **options)
    with pytest.raises(TypeError, match=r"keras\.Model, got int"):
        selective.region_stream(3)
    with pytest.raises(ValueError, match="have the shape"):
        selective.region_stream(path)(np.zeros((48, 48, 3), "float32"))
