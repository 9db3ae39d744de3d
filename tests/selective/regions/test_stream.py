"""Crops around changes give what the full frame gives, and streams count what they computed."""

import threading

import keras
import numpy as np
import pytest
from keras import layers

import keras_seqpar as sp
from keras_seqpar import selective
from tests import harness

SHAPE = (48, 64, 3)


def make_network(shape=(None, None, 3), *, scale="bilinear", classes=3, seed=0):
    """Strides, pooling, dilation and upsampling; the output has half of the frame's resolution."""
    frame = keras.Input(shape, name="frame")
    x = layers.ZeroPadding2D(1, name="pad")(frame)
    fine = layers.Conv2D(4, 3, strides=2, activation="relu", name="fine")(x)
    x = layers.MaxPooling2D(2, name="pool")(fine)
    x = layers.Conv2D(4, 3, padding="same", dilation_rate=2, use_bias=False, name="dilated")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    if scale == "transposed":
        x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="up")(x)
    else:
        x = layers.UpSampling2D(2, interpolation=scale, name="up")(x)
    x = layers.Add(name="add")([x, fine])
    network = keras.Model(frame, layers.Conv2D(classes, 3, padding="same", name="scores")(x))
    harness.randomize(network, seed)
    return network


@pytest.fixture(scope="module")
def network():
    return make_network(seed=0)


def frames(count, *, shape=SHAPE, seed=0, side=6):
    """Frames in which one or two boxes change."""
    rng = np.random.default_rng(seed)
    frame = rng.normal(size=shape).astype("float32")
    for _ in range(count):
        yield frame
        frame = frame.copy()
        for _ in range(rng.integers(1, 3)):
            y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
            height, width = rng.integers(1, side, 2)
            frame[y : y + height, x : x + width] = rng.normal()


def dense(network, frame):
    return keras.ops.convert_to_numpy(network(frame[None], training=False))


@pytest.mark.kernels
@pytest.mark.parametrize("scale", ["bilinear", "nearest", "transposed"])
def test_the_receptive_field_makes_crops_exact(scale):
    network = make_network(scale=scale, seed=1)
    stream = selective.SegmentationStream(
        network, input_shape=SHAPE, scores=True, calibrate=False, most=1.0
    )
    modes = set()
    for frame in frames(12 if scale == "bilinear" else 5):
        result = stream(frame, compare=True)
        modes.add(result.stats.mode)
        assert harness.error(result.output, dense(network, frame)) < 1e-5
        assert harness.error(result.output, result.reference) < 1e-6
        assert result.stats.agreement == 1.0
    assert modes == {"full", "regions"}


def test_with_a_threshold_the_map_is_that_of_the_accepted_frame(network):
    stream = selective.SegmentationStream(
        network, input_shape=SHAPE, threshold=0.5, scores=True, calibrate=False, most=1.0
    )
    rng, seen = np.random.default_rng(0), []
    for frame in frames(6, seed=2):
        noisy = (frame + rng.uniform(-0.1, 0.1, SHAPE)).astype("float32")
        result = stream(noisy, compare=True)
        accepted = stream.state_dict()["item0_accepted"]
        assert harness.error(result.output, dense(network, accepted)) < 1e-5
        assert result.stats.crop_agreement == 1.0
        if result.stats.mode == "regions":
            seen.append(harness.error(result.output, result.reference))
    assert min(seen) > 1e-4  # the noise is not in it


def test_changed_corners_and_borders(network):
    stream = selective.SegmentationStream(
        network, input_shape=SHAPE, scores=True, calibrate=False, most=1.0
    )
    frame = np.zeros(SHAPE, "float32")
    stream(frame)
    for place in ((0, 0), (0, -1), (-1, 0), (-1, -1), (0, 30), (24, -1)):
        frame = frame.copy()
        frame[place] += 1
        result = stream(frame)
        assert result.stats.mode == "regions" and result.stats.regions == 1
        assert harness.error(result.output, dense(network, frame)) < 1e-5


def test_narrow_margins_are_cheaper_and_less_exact(network):
    share, agreement = [], []
    for margin in ("receptive_field", 2):
        stream = selective.SegmentationStream(
            network, margin=margin, input_shape=SHAPE, calibrate=False, most=1.0
        )
        found = [stream(frame, compare=True).stats for frame in frames(6, seed=3)]
        share.append(np.mean([x.recomputed for x in found[1:]]))
        agreement.append(np.mean([x.agreement for x in found]))
        assert found[-1].agreement is not None and stream(frame_like()).stats.agreement is None
    assert share[1] < share[0] and agreement[0] == 1.0 and 0.5 < agreement[1] <= 1.0
    assert selective.SegmentationStream(network, margin=2, input_shape=SHAPE).margin == (2, 2, 3, 3)


def frame_like(value=0.0):
    return np.full(SHAPE, value, "float32")


def test_a_still_scene_is_not_computed_again(network):
    stream = selective.SegmentationStream(network, input_shape=SHAPE, calibrate=False)
    first = stream(frame_like())
    again = stream(frame_like())
    assert (first.stats.mode, again.stats.mode) == ("full", "cached")
    assert again.stats.recomputed == again.stats.changed == again.stats.regions == 0
    assert np.array_equal(first.output, again.output)
    assert not stream.change_map().any()
    assert again.output.dtype == "uint8" and again.output.shape == (1, 24, 32)
    assert again.stats.state_bytes == 48 * 64 * 3 * 4 + 24 * 32


def test_full_runs_after_refresh_frames_and_for_large_changes(network):
    stream = selective.SegmentationStream(
        network, input_shape=SHAPE, refresh=3, calibrate=False, most=0.9
    )
    modes = [stream(frame_like()).stats.mode for _ in range(7)]
    assert modes == ["full", "cached", "cached", "full", "cached", "cached", "full"]
    assert stream(frame_like(1.0)).stats.mode == "full"
    assert stream.change_map().all()


def test_options_set_which_changes_count(network):
    def stream(**options):
        made = selective.SegmentationStream(
            network, margin=2, input_shape=SHAPE, calibrate=False, most=1.0, **options
        )
        made(frame_like())
        return made

    one, many = frame_like(), frame_like()
    one[5, 5] = 1
    many[20:24, 20:24] = 1
    assert stream(least=10)(one).stats.mode == "cached"
    assert stream(least=10)(many).stats.mode == "regions"
    assert stream(threshold=2.0)(many).stats.mode == "cached"
    assert stream(never=[(0, 0, 10, 10)])(one).stats.mode == "cached"
    assert stream(only=[(0, 0, 10, 10)])(one).stats.mode == "regions"
    mask = np.zeros(SHAPE[:2], bool)
    mask[40, 40] = True
    looked = stream()
    assert looked(frame_like(), mask=mask).stats.mode == "regions"
    assert np.array_equal(looked.change_map(), mask)
    learns = stream(threshold="auto", learn=3)
    assert [learns(frame_like()).stats.mode for _ in range(3)] == ["full", "full", "cached"]


def test_items_of_a_batch_are_streams_of_their_own(network):
    stream = selective.SegmentationStream(network, input_shape=SHAPE, calibrate=False, most=1.0)
    batch = np.stack([frame_like(), frame_like(1.0)])
    stream(batch)
    batch = batch.copy()
    batch[1, 3, 3] = 5
    result = stream(batch, compare=True)
    assert [x.mode for x in result.items] == ["cached", "regions"]
    assert result.stats.mode == "mixed" and result.stats.agreement == 1.0
    assert not stream.change_map(item=0).any() and stream.change_map(item=1).sum() == 1
    with pytest.raises(ValueError, match="batches of 2 so far, now one of 1"):
        stream(frame_like())


def test_another_stream_continues_from_a_saved_state(network, tmp_path):
    one, two = (
        selective.SegmentationStream(network, input_shape=SHAPE, calibrate=False, most=1.0)
        for _ in range(2)
    )
    shown = list(frames(3, seed=5))
    one(shown[0]), one(shown[1])
    np.savez(tmp_path / "camera.npz", **one.state_dict())
    with np.load(tmp_path / "camera.npz") as state:
        two.load_state(state)
        other = selective.SegmentationStream(make_network(seed=4), input_shape=SHAPE)
        with pytest.raises(ValueError, match="belongs to another model"):
            other.load_state(state)
        with pytest.raises(ValueError, match="not complete"):
            two.load_state({k: v for k, v in state.items() if "output" not in k})
        with pytest.raises(ValueError, match="damaged: item0_output is .*, not "):
            two.load_state(dict(state) | {"item0_output": state["item0_output"][1:]})
    a, b = one(shown[2]), two(shown[2])
    assert b.stats.mode == "regions" and np.array_equal(a.output, b.output)
    one.reset()
    assert one(shown[2]).stats.mode == "full"


@pytest.mark.usefixtures("steady_clock")  # what crops cost decides which there are
def test_few_sizes_of_crops_are_compiled(network):
    stream = selective.SegmentationStream(network, margin=2, input_shape=SHAPE, most=1.0)
    for frame in frames(8, seed=7):
        stats = stream(frame).stats
    allowed = {"tensorflow": 1, "torch": 0}.get(keras.backend.backend(), 10)
    assert stats.traces <= allowed


def test_a_network_of_fixed_size_and_one_class():
    network = make_network(SHAPE, classes=1, seed=2)
    stream = selective.SegmentationStream(network, calibrate=False, most=1.0)
    for frame in frames(3, seed=9):
        result = stream(frame, compare=True)
        assert np.array_equal(result.output, (dense(network, frame)[..., 0] > 0.5))
        assert result.stats.agreement == 1.0


def test_two_threads_cannot_share_a_stream(network):
    stream = selective.SegmentationStream(network, input_shape=SHAPE, calibrate=False)
    stream._busy.acquire()
    with pytest.raises(RuntimeError, match="another thread"):
        stream(frame_like())
    stream._busy.release()
    thread = threading.Thread(target=stream, args=(frame_like(),))
    thread.start()
    thread.join()
    assert stream(frame_like()).stats.mode == "cached"


def test_frames_that_do_not_fit(network):
    stream = selective.SegmentationStream(network, input_shape=SHAPE, calibrate=False)
    stream(frame_like())
    with pytest.raises(ValueError, match="have the shape"):
        stream(np.zeros((48, 48, 3), "float32"))
    with pytest.raises(TypeError, match="float32 so far, now uint8"):
        stream(np.zeros(SHAPE, "uint8"))
    with pytest.raises(ValueError, match="NaN"):
        stream(frame_like(np.nan))
    with pytest.raises(ValueError, match="mask must be"):
        stream(frame_like(), mask=np.zeros((3, 3), bool))
    with pytest.raises(ValueError, match="No frame was seen yet for image 1"):
        stream.change_map(item=1)
    assert stream(frame_like()).stats.mode == "cached"


def test_models_that_do_not_fit(network):
    frame = keras.Input((32, 32, 3))
    x = layers.Conv2D(3, 3, padding="same", name="early")(frame)
    scaled = layers.Multiply(name="gate")([x, layers.GlobalAveragePooling2D(keepdims=True)(x)])
    blocked = keras.Model(frame, scaled)
    with pytest.raises(ValueError, match=r"No crop gives .*gate.*margin as a number of pixels"):
        selective.SegmentationStream(blocked)
    assert selective.SegmentationStream(blocked, margin=4)(np.zeros((32, 32, 3))).output.any() == 0
    with pytest.raises(ValueError, match="gives one map"):
        selective.SegmentationStream(sp.build_plain(3, family="resnet18", input_shape=(32, 32, 3)))
    with pytest.raises(ValueError, match="gives one map"):
        selective.SegmentationStream(keras.Model(frame, [x, scaled]))
    odd = keras.Sequential([keras.Input((33, 32, 3)), layers.Conv2D(2, 3, 2, padding="same")])
    with pytest.raises(ValueError, match=r"pads crops of frames .* multiple of 2"):
        selective.SegmentationStream(odd)
    coarse = keras.Sequential([keras.Input((4, 32, 3)), layers.Conv2D(2, 3, 8, padding="same")])
    with pytest.raises(ValueError, match="smaller than the total stride"):
        selective.SegmentationStream(coarse)
    with pytest.raises(ValueError, match="size of a frame must be known"):
        selective.SegmentationStream(network)
    with pytest.raises(TypeError, match=r"keras\.Model"):
        selective.SegmentationStream("net")


def test_arguments_out_of_range(network):
    for options, kind, words in (
        ({"margin": -1}, ValueError, "margin must be a whole number of 0 or more or"),
        ({"margin": "wide"}, ValueError, "'receptive_field', got 'wide'"),
        ({"reach": 1.5}, TypeError, "reach must be"),
        ({"refresh": 0}, ValueError, "refresh must be a whole number of 1"),
        ({"least": True}, TypeError, "least must be"),
        ({"most": 0}, ValueError, "most must be a share"),
        ({"threshold": -1}, ValueError, "threshold must be finite"),
        ({"only": [(0, 0, 99, 99)]}, ValueError, "outside of frames"),
    ):
        with pytest.raises(kind, match=words):
            selective.SegmentationStream(network, input_shape=SHAPE, **options)
