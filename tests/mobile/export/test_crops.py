"""Files of crops give what whole frames give, and streams of them say what they did."""

import copy
import json
import pickle
import warnings

import keras
import numpy as np
import pytest
from keras import layers

from keras_seqpar import mobile
from keras_seqpar.mobile.runtime.crop_plan import FixedPlanner, Layout, distinct_boxes
from keras_seqpar.selective.ranges import RangeCheck
from keras_seqpar.utils.pixels import PIXELS
from tests import harness
from tests.mobile import clients

pytestmark = pytest.mark.only_backend("tensorflow")

SHAPE = (64, 80, 3)
CROPS = ((44, 44), (64, 44), (44, 64))


def make_network(shape=(None, None, 3), *, classes=3, squeeze=False):
    """Strides, pooling and upsampling; the output has half of the frame's resolution."""
    frame = keras.Input(shape, name="frame")
    x = layers.ZeroPadding2D(1, name="pad")(frame)
    fine = layers.Conv2D(4, 3, strides=2, activation="relu", name="fine")(x)
    x = layers.Conv2D(4, 3, padding="same", name="coarse")(layers.MaxPooling2D(2)(fine))
    if squeeze:
        means = layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = layers.Multiply(name="multiply")([x, means])
    x = layers.UpSampling2D(2, interpolation="bilinear", name="up")(x)
    x = layers.Add(name="add")([x, fine])
    network = keras.Model(frame, layers.Conv2D(classes, 1, name="scores")(x), name="street")
    harness.randomize(network)
    return network


@pytest.fixture(scope="module")
def network():
    return make_network()


@pytest.fixture(scope="module")
def made(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("crops") / "street.tflite"
    labels = ["road", "car", "tree"]
    return mobile.convert_crops(network, path, CROPS, image_size=SHAPE[:2], labels=labels)


def changed(frame, box, rng):
    """The frame with other values in a box `(top, left, bottom, right)`."""
    frame = frame.copy()
    part = frame[box[0] : box[2], box[1] : box[3]]
    part[:] = rng.normal(size=part.shape)
    return frame


def test_what_the_file_says(made):
    assert made.signatures == ("full", "crop_44x44", "crop_64x44", "crop_44x64")
    assert made.quantization == "float32" and made.bytes == made.path.stat().st_size
    runner = mobile.Runner(made.path)
    assert runner.about["signatures"] == list(made.signatures)
    layout = Layout.from_config(runner.about["crops"])
    assert layout.frame == SHAPE and layout.sizes == CROPS and not layout.barrier
    assert (layout.rows.size, layout.rows.outputs, layout.cols.outputs) == (64, 32, 40)
    assert layout.rows.stride == 4 and layout.rows.scale == 2
    assert json.dumps(layout.get_config()) == json.dumps(runner.about["crops"])
    for key in made.signatures[1:]:
        other = runner.beside(key)
        size = tuple(map(int, key[5:].split("x")))
        assert other.input_shape == (1, *size, 3) and other.signature == key
        assert other.labels == runner.labels == ("road", "car", "tree")
        image = np.random.default_rng(0).normal(size=other.input_shape).astype("float32")
        assert np.array_equal(other(image), mobile.Runner(made.path, signature=key)(image))
    with pytest.raises(ValueError, match="no signature 'crop_8x8'"):
        runner.beside("crop_8x8")


@pytest.mark.parametrize(
    "box",
    [
        *((0, 0, 1, 1), (0, 79, 1, 80), (63, 0, 64, 1), (63, 79, 64, 80)),
        *((0, 30, 1, 31), (63, 29, 64, 30), (33, 0, 34, 1), (25, 79, 26, 80), (31, 43, 32, 44)),
        *((10, 10, 20, 18), (0, 20, 64, 22), (3, 2, 5, 76)),
    ],
)
def test_a_change_anywhere_gives_the_classes_of_the_whole_frame(made, box):
    rng = np.random.default_rng(box)
    stream = mobile.CropStream(made.path, calibrate=False, most=1.0)
    frame = rng.normal(size=SHAPE).astype("float32")
    assert stream(frame).mode == "full"
    same = stream(frame)
    assert (same.mode, same.changed, same.recomputed, same.signatures) == ("cached", 0, 0, ())
    frame = changed(frame, box, rng)
    result = stream(frame)
    assert np.array_equal(result.output, mobile.Runner(made.path)(frame[None])[0].argmax(-1))
    assert result.mode == ("full" if box[3] == 76 else "regions")  # that one would take two
    if box[2] - box[0] == 1 and box[3] - box[1] == 1:
        assert result.signatures == ("crop_44x44",)
        assert result.recomputed == 44 * 44 / (64 * 80)


@pytest.mark.parametrize("price", [44 * 44, 500])
def test_many_frames(made, price):
    rng = np.random.default_rng(0)
    stream = mobile.CropStream(made.path, calibrate=False, most=1.0)
    stream.prices[44, 44] = price  # the lower, the more is halved
    whole = mobile.Runner(made.path)
    frame, seen = rng.normal(size=SHAPE).astype("float32"), set()
    for _ in range(30):
        result = stream(frame)
        seen |= {result.mode, *result.signatures, len(result.boxes)}
        assert np.array_equal(result.output, whole(frame[None])[0].argmax(-1))
        for _ in range(rng.integers(0, 3)):
            top, left = rng.integers(0, 64), rng.integers(0, 80)
            height, width = rng.integers(1, 10, 2)
            frame = changed(frame, (top, left, top + height, left + width), rng)
    assert seen >= {"full", "regions", "cached", 0, 1, 2, "crop_44x44"}


def test_large_regions_are_halved(made):
    layout = Layout.from_config(mobile.Runner(made.path).about["crops"])
    axes = [layout.rows.limited(1), layout.cols.limited(1)] * 2
    planner = FixedPlanner(*axes, {(24, 24): 576.0, (16, 48): 700.0})
    for box, count in (((10, 10, 12, 12), 1), ((0, 0, 40, 8), 3), ((0, 0, 26, 28), 3)):
        crops = planner.crops(box)
        assert len(crops) == count
        covered = np.zeros((32, 40), bool)
        for crop in crops:
            covered[crop.known[0] : crop.known[2], crop.known[1] : crop.known[3]] = True
        low = [axis.affected(box[i], box[i + 2] - 1) for i, axis in enumerate(axes[:2])]
        assert covered[low[0][0] : low[0][1] + 1, low[1][0] : low[1][1] + 1].all()
    wide = planner.crops((20, 20, 22, 38))
    assert [crop.box[2] - crop.box[0] for crop in wide] == [16]
    assert FixedPlanner(*axes, {(8, 8): 1.0}).crops((0, 0, *SHAPE[:2])) is None
    cheapest = FixedPlanner(*axes, {(12, 12): 144.0, (32, 32): 1024.0})
    box = (20, 20, 22, 32)
    assert len(cheapest.crops(box)) == 1
    crops = cheapest.crops(box, cheapest=True)
    assert {crop.box[3] - crop.box[1] for crop in crops} == {12}
    assert (len(crops), len(distinct_boxes(crops))) == (4, 3)  # two of the four parts get one crop
    assert planner.plan(np.ones(SHAPE[:2], bool)) is None
    assert planner.plan(np.zeros(SHAPE[:2], bool)) == []


@pytest.mark.usefixtures("steady_clock")
def test_thresholds_refresh_and_narrow_margins(made):
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 200, SHAPE).astype("uint8")
    stream = mobile.CropStream(made.path, margin=2, threshold=5, least=3, refresh=4, most=1.0)
    assert stream(frame).mode == "full"
    assert stream.prices == {size: pytest.approx(64 * 80) for size in CROPS}  # all take a second
    stream.prices.update({size: float(size[0] * size[1]) for size in CROPS})
    assert stream(frame + np.uint8(5)).mode == "cached"
    frame[30:31, 40:42] += 20
    result = stream(frame)
    assert result.mode == "cached" and result.changed == 2 / (64 * 80)  # fewer than `least`
    frame[32:40, 40:44] += 20
    assert stream(frame).mode == "regions"
    assert stream(frame).mode == "full"  # the refresh
    assert np.array_equal(stream.accepted, frame)
    stream.reset()
    with pytest.raises(ValueError, match="No frame was seen yet"):
        _ = stream.accepted
    assert stream(frame).mode == "full"


@pytest.mark.filterwarnings("ignore:Calibration on 4 image")
def test_one_class_and_int8(tmp_path):
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 256, (4, *SHAPE)).astype("uint8")
    made = mobile.convert_crops(
        make_network(classes=1),
        tmp_path / "one.tflite",
        [(48, 64)],
        image_size=SHAPE[:2],
        quantization="int8",
        calibration=frames,
        input_dtype="uint8",
    )
    network = keras.Sequential([keras.Input(SHAPE), make_network(classes=1)])
    wanted = harness.predict(network, frames.astype("float32"))[..., 0] > 0.5
    stream = mobile.CropStream(made.path, calibrate=False)
    assert stream.labels is None
    stream(frames[0])
    frame = changed(frames[0], (20, 20, 25, 30), rng)
    frame[20:25, 20:30] = frames[1][20:25, 20:30]
    result = stream(frame)
    assert result.mode == "regions" and set(np.unique(result.output)) == {0, 1}
    assert (stream(frames[2]).output == wanted[2]).mean() > 0.95
    assert (result.output[:6] == wanted[0][:6]).mean() > 0.95


@pytest.mark.parametrize(
    ("crops", "error", "message"),
    [
        ([(32, 30)], ValueError, r"32x30 is no multiple of the stride 4x4 .*Nearest: 32x32"),
        ([(64, 80)], ValueError, "64x80 must be smaller than the frame, 64x80"),
        ([(32, 96)], ValueError, "32x96 must be smaller than the frame"),
        ([(8, 32)], ValueError, "8x32 is no larger than twice the margin of 'rec.*', 18x18 for"),
        ([(0, 32)], ValueError, "0x32 is no multiple"),
        ([(32, 32), (32, 32)], ValueError, "32x32 is named twice"),
        ([], ValueError, "at least one size"),
        ("32x32", TypeError, r"a list of \(height, width\), got '32x32'"),
        ([32], TypeError, r"must be \(height, width\) in whole pixels, got 32"),
        ([(32.0, 32)], TypeError, "whole pixels"),
    ],
)
def test_crops_that_cannot_be(network, tmp_path, crops, error, message):
    with pytest.raises(error, match=message):
        mobile.convert_crops(network, tmp_path / "x.tflite", crops, image_size=SHAPE[:2])
    assert not list(tmp_path.iterdir())


def test_networks_and_options_that_cannot_be(network, tmp_path):
    path, crops = tmp_path / "x.tflite", [(32, 32)]
    with pytest.raises(ValueError, match=r"any size.*image_size=\(height, width\)"):
        mobile.convert_crops(network, path, crops)
    plain = keras.Sequential([keras.Input((50, 64, 3)), layers.Conv2D(3, 4, strides=4)])
    with pytest.raises(ValueError, match=r"50x64 are no multiples of the stride 4x4 .* 48x64"):
        mobile.convert_crops(plain, path, crops)
    with pytest.raises(ValueError, match="gives one map"):
        mobile.convert_crops(harness.network(), path, crops)
    with pytest.raises(TypeError, match=r"Expected a keras\.Model, got 3"):
        mobile.convert_crops(3, path, crops)
    with pytest.raises(TypeError, match="leave out batch_size="):
        mobile.convert_crops(network, path, crops, image_size=SHAPE[:2], batch_size=2)
    with pytest.raises(ValueError, match="2 labels do not fit a network with 3 outputs"):
        mobile.convert_crops(network, path, crops, image_size=SHAPE[:2], labels=["a", "b"])
    assert not list(tmp_path.iterdir())


def test_statistics_are_plain_and_measuring_is_apart(made):
    stream = mobile.CropStream(made.path, margin=2, threshold=0.1)
    prices = dict(stream.prices)
    assert stream.warm_up() > 0 and stream.warm_up() == 0
    assert stream.prices != prices
    rng = np.random.default_rng(0)
    frame = rng.normal(size=SHAPE).astype("float32")
    for given in (frame, frame, changed(frame, (10, 10, 12, 12), rng)):
        result = stream(given)
        assert json.loads(json.dumps(result.stats)) == {
            **result.stats,
            "signatures": list(result.signatures),
            "boxes": [list(box) for box in result.boxes],
        }
        assert pickle.loads(pickle.dumps(result)).stats == result.stats
        assert result.warm_up_milliseconds == 0
    assert result.mode == "regions"
    assert mobile.CropStream(made.path, margin=2)(frame).warm_up_milliseconds > 0


def test_a_threshold_that_no_frame_can_exceed_is_named_once(made):
    stream = mobile.CropStream(made.path, calibrate=False, margin=2, threshold=20)
    with pytest.warns(UserWarning, match="threshold=20 cannot be exceeded by frames of float32"):
        stream(np.random.default_rng(0).uniform(size=SHAPE).astype("float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        stream(np.random.default_rng(1).uniform(size=SHAPE).astype("float32"))


def test_streams_and_frames_that_cannot_be(made, tmp_path):
    for options, error, message in (
        ({"margin": 20}, ValueError, r"44x44, 64x44, 44x64\) holds even one .*margin=20"),
        ({"margin": "wide"}, ValueError, "margin must be a whole number .*'wide'"),
        ({"margin": 1.5}, TypeError, "margin must be a whole number .*1.5"),
        ({"refresh": 0}, ValueError, "refresh must be a whole number of 1 or more"),
        ({"most": 0}, ValueError, "most must be a share"),
        ({"threshold": "auto"}, ValueError, "no 'auto'"),
        ({"threshold": [1, 2]}, ValueError, "2 numbers, but the frames have 3 channels"),
        ({"least": 5121}, ValueError, "least=5121 exceeds the 5120 positions of a frame of 64x80"),
    ):
        with pytest.raises(error, match=message):
            mobile.CropStream(made.path, **options)
    stream = mobile.CropStream(made.path, calibrate=False)
    with pytest.raises(ValueError, match=r"have the shape \(64, 80, 3\), got \(64, 80\)"):
        stream(np.zeros(SHAPE[:2]))
    with pytest.raises(ValueError, match="some values are NaN or infinite"):
        stream(np.full(SHAPE, np.nan))
    with pytest.raises(TypeError, match="array of numbers, got list"):
        stream([["a"]])
    stream(np.zeros(SHAPE, "uint8"))
    with pytest.raises(TypeError, match="were uint8 so far, now float64"):
        stream(np.zeros(SHAPE))
    plain = mobile.convert(
        make_network(SHAPE), tmp_path / "plain.tflite", labels=False, quantization="float32"
    )
    with pytest.raises(ValueError, match=r"plain.tflite has no crops.*convert_crops"):
        mobile.CropStream(plain.path)


def test_threads_may_share_a_stream(made):
    """Whichever thread comes first, every frame gets the classes of that frame."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=SHAPE).astype("float32")
    frames = first, changed(first, (10, 10, 20, 18), rng)
    whole = mobile.Runner(made.path)
    wanted = [whole(frame[None])[0].argmax(-1) for frame in frames]
    stream = mobile.CropStream(made.path, calibrate=False)
    calls = [lambda frame=frame: stream(frame).output for frame in frames]
    for right, given in zip(wanted, clients.answers_of_threads(calls), strict=True):
        assert all(np.array_equal(right, classes) for classes in given)
    with pytest.raises(TypeError, match="A CropStream cannot be pickled or copied"):
        copy.deepcopy(stream)


def test_frames_that_contradict_the_file(made):
    stream = mobile.CropStream(made.path, calibrate=False)
    # as in files that state mean and std
    stream._check_range = RangeCheck(PIXELS, "street.tflite", 0)
    frame = np.random.default_rng(0).integers(0, 256, SHAPE).astype("float32")
    with pytest.raises(ValueError, match="frames of float32 in .* street.tflite, which takes pix"):
        stream(frame - 128)
    with pytest.warns(UserWarning, match="frames of float32 in 0 .. 1 do not fit .*by 255"):
        stream(frame / 255)
    with warnings.catch_warnings():  # once, and not for crops that are dark
        warnings.simplefilter("error")
        stream(frame / 255)
        stream = mobile.CropStream(made.path, calibrate=False, margin=4, most=1.0)
        stream._check_range = RangeCheck(PIXELS, "street.tflite", 0)
        frame[:44, :44] = 0
        stream(frame)
        frame[9, 9] = 1
        assert stream(frame).mode == "regions"


def test_networks_that_look_everywhere_need_a_margin_in_pixels(tmp_path):
    made = mobile.convert_crops(
        make_network(SHAPE, squeeze=True), tmp_path / "all.tflite", [(32, 32)], margin=4
    )
    with pytest.raises(ValueError, match=r"all\.tflite \(.*'multiply': .*Give margin and reach"):
        mobile.CropStream(made.path)
    stream = mobile.CropStream(made.path, margin=4, calibrate=False)
    frame = np.zeros(SHAPE, "float32")
    stream(frame)
    frame[20, 20] = 1
    assert stream(frame).signatures == ("crop_32x32",)


DEVICE = """
import importlib.util, sys
import numpy as np
for name in ("keras", "tensorflow", "ai_edge_litert"):
    assert importlib.util.find_spec(name) is None, name
from keras_seqpar.mobile import CropStream
stream = CropStream(sys.argv[1], calibrate=False)
results = [stream(frame) for frame in np.load("in.npy")]
np.save("out.npy", results[-1].output)
print(*[x.mode for x in results])
"""


def test_a_device_needs_no_keras(tflite_runtime_python, root, made, tmp_path):
    rng = np.random.default_rng(0)
    frame = rng.normal(size=SHAPE).astype("float32")
    frames = np.stack([frame, changed(frame, (20, 70, 30, 80), rng)])
    np.save(tmp_path / "in.npy", frames)
    said = clients.on_device(tflite_runtime_python, root, DEVICE, made.path, folder=tmp_path)
    assert said == ["full", "regions"]
    wanted = mobile.Runner(made.path)(frames)[1].argmax(-1)
    assert (np.load(tmp_path / "out.npy") == wanted).mean() > 0.99  # another version's kernels
