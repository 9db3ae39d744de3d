"""Streams of regions: which changes count, what is computed again, and what is refused."""

import numpy as np
import pytest

from keras_seqpar import selective
from keras_seqpar.selective.regions import parse_margin, without_small
from tests.selective.litert_engine.files import Dense, File, change, noise
from tests.selective.litert_engine.random_files import KINDS

SHAPE = (64, 72, 3)
pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend


def decoder(kind, up="bilinear"):
    """Strides, dilation and a decoder with a connection past it."""
    file = File((1, *SHAPE), kind)
    fine = file.conv(file.frame, 4, stride=2)
    x = file.pool(file.conv(fine, 6, dilation=2), "MAX_POOL_2D")
    x = file.conv(x, 6)
    if up == "transposed":
        x = file.transposed(x, 4)
    else:
        names = {"bilinear": "RESIZE_BILINEAR", "nearest": "RESIZE_NEAREST_NEIGHBOR"}
        x = file.resize(file.conv(x, 4, (1, 1)), file.shapes[fine][1:3], names[up])
    x = file.both("ADD", x, fine)
    file.outputs.append(file.conv(x, 3))
    return file


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return decoder("float32").save(tmp_path_factory.mktemp("regions") / "street.tflite")


def still(value=0.0):
    return np.full(SHAPE, value, "float32")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("up", ["bilinear", "nearest", "transposed"])
def test_the_receptive_field_makes_regions_exact(tmp_path, kind, up):
    path = decoder(kind, up).save(tmp_path / "net.tflite")
    scores, classes = (
        selective.region_stream(path, scores=True),
        selective.region_stream(path, num_threads=2),
    )
    dense, rng, modes = Dense(path), np.random.default_rng(1), []
    frame = noise(SHAPE, kind, rng)
    for i in range(8):
        frame = change(frame, rng, 1 + i % 2, 0.1) if i else frame
        result = scores(frame)
        assert result.output.tobytes() == dense(frame)[0].tobytes(), (i, result.stats)
        assert np.array_equal(classes(frame).output, dense(frame)[0].argmax(-1))
        modes.append(result.stats.mode)
    assert modes[0] == "dense" and modes.count("boxes") > 4


def test_what_is_further_away_than_the_margin_stays(path):
    stream = selective.region_stream(path, margin=4, scores=True)
    before, changed = stream(still()).output, still()
    changed[20:24, 30:34] = 1
    result = stream(changed)
    found = (result.output != before).any(-1)[0]
    assert result.stats.mode == "boxes" and result.stats.boxes == ((20, 30, 24, 34),)
    assert found[9:13, 14:18].any() and found.sum() == found[8:14, 13:19].sum()
    wide = selective.region_stream(path)
    wide(still())
    assert wide(changed).stats.macs > result.stats.macs
    assert stream.margin == 4 and wide.margin == "receptive_field"


def test_a_still_scene_is_not_computed_again(path):
    stream = selective.region_stream(path)
    first, again = stream(still()), stream(still())
    assert (first.stats.mode, again.stats.mode) == ("dense", "cached")
    assert first.stats.saved == 0 and again.stats.saved == 1 and again.stats.boxes == ()
    assert np.array_equal(first.output, again.output) and not stream.change_map().any()
    assert again.output.dtype == "uint8" and again.output.shape == (1, 32, 36)
    assert again.stats.state_bytes == selective.stream(path)(still()).stats.state_bytes + 32 * 36


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_one_class_is_compared_with_one_half(tmp_path, kind):
    file = File((1, 32, 40, 2), kind, zero=-7)
    file.outputs.append(file.conv(file.frame, 1))
    path = file.save(tmp_path / "one.tflite")
    frame = noise((32, 40, 2), kind, np.random.default_rng(0))
    scores = Dense(path)(frame)[0][..., 0].astype("float32")
    if kind == "int8":
        scores = (scores - file.zero) * file.SCALE
    assert np.array_equal(selective.region_stream(path)(frame).output, scores > 0.5)
    assert 0.1 < (scores > 0.5).mean() < 0.9


def test_full_runs_after_refresh_frames_and_for_large_changes(path):
    stream = selective.region_stream(path, refresh=3, max_cost_share=0.9, threshold=0.5)
    modes = [stream(still(0.1 * i)).stats.mode for i in range(7)]
    assert modes == ["dense", "cached", "cached", "dense", "cached", "cached", "dense"]
    result = stream(still(2.0))
    assert result.stats.mode == "dense" and stream.change_map().all()
    assert result.stats.changed == 1 and result.stats.macs == result.stats.macs_dense


def test_full_runs_leave_out_where_no_changes_are_looked_for(path):
    stream, dense = selective.region_stream(path, exclude=[(0, 0, 64, 10)], refresh=2), Dense(path)
    stream(still()), stream(still())
    result = stream(still(1.0))
    mixed = still(1.0)
    mixed[:, :10] = 0
    assert result.stats.mode == "dense"
    assert np.array_equal(result.output, dense(mixed)[0].argmax(-1))


def test_options_set_which_changes_count(path):
    def made(**options):
        stream = selective.region_stream(path, margin=2, **options)
        stream(still())
        return stream

    one, many = still(), still()
    one[5, 5] = many[20:24, 20:24] = 1
    waits = made(min_region_pixels=10)
    assert waits(one).stats.mode == "cached"
    assert waits(many + one).stats.boxes == ((20, 20, 24, 24),)
    assert made(exclude=[(0, 0, 10, 10)])(one).stats.mode == "cached"
    mask = np.zeros(SHAPE[:2], bool)
    mask[40, 40] = True
    masked = made()
    assert masked(still(), mask=mask).stats.mode == "boxes"
    assert np.array_equal(masked.change_map(), mask)
    assert made(detector=selective.Detector(3.0))(-4 * one).stats.mode == "boxes"


def test_margins_of_flags():
    assert parse_margin("margin", "receptive_field") == "receptive_field"
    assert parse_margin("margin", "16") == 16
    for text in ("far", "-1", "1.5", ""):
        with pytest.raises(ValueError, match="--margin must be a whole number or receptive_field"):
            parse_margin("margin", text)


def test_regions_are_connected_cells():
    changed = np.zeros((37, 43), bool)
    changed[2, 2] = changed[9, 9] = changed[30, 4] = True  # cells (0, 0), (1, 1) touch at a corner
    kept = without_small(changed, 2)
    assert np.argwhere(kept).tolist() == [[2, 2], [9, 9]]
    ring = np.zeros((37, 43), bool)
    ring[[0, 36]] = ring[:, [0, 42]] = True
    assert np.array_equal(without_small(ring, int(ring.sum())), ring)
    assert not without_small(ring, int(ring.sum()) + 1).any()


def test_another_stream_continues_from_a_saved_state(path, tmp_path):
    one, two = (selective.region_stream(path, threshold=0.2) for _ in range(2))
    frames = [still() for _ in range(3)]
    frames[1][10, 20:24] = frames[2][10:30, 20:24] = 1
    one(frames[0]), one(frames[1])
    np.savez(tmp_path / "camera.npz", **one.state_dict())
    with np.load(tmp_path / "camera.npz") as state:
        two.load_state(state)
    assert np.array_equal(one(frames[2]).output, two(frames[2]).output)
    assert two(frames[2]).stats.mode == "cached"
    one.reset()
    assert one(frames[2]).stats.mode == "dense"


def test_a_failed_region_is_computed_again(path, monkeypatch):
    stream, dense = selective.region_stream(path), Dense(path)
    stream(still())
    frame = still()
    frame[30, 30] = 1
    with monkeypatch.context() as patched:
        patched.setattr(stream, "_take", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream(frame)
    result = stream(frame)
    assert result.stats.mode == "dense"
    assert np.array_equal(result.output, dense(frame)[0].argmax(-1))


def test_what_reads_all_positions_is_computed_whole(tmp_path):
    file = File((1, 24, 28, 2))
    x = file.conv(file.frame, 4)
    file.outputs.append(file.both("MUL", x, file.conv(file.mean(x), 4, (1, 1))))
    path = file.save(tmp_path / "gate.tflite")
    stream = selective.region_stream(path, margin=2)
    frame = noise((24, 28, 2), "float32", np.random.default_rng(0))
    stream(frame)
    frame[10, 10] += 1
    result = stream(frame)
    assert result.stats.mode == "boxes" and result.stats.saved > 0
    assert np.array_equal(result.output, Dense(path)(frame)[0].argmax(-1))


def test_arguments_out_of_range(path, tmp_path):
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
    file = File((1, 16, 16, 3))
    file.outputs = [file.head(file.conv(file.frame, 4))]
    with pytest.raises(ValueError, match="gives one map .* gives outputs of the shapes"):
        selective.region_stream(file.save(tmp_path / "head.tflite"))
