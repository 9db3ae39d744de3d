"""Streams of files: what they accept, what they tell, and what they keep."""

import dataclasses
import json
import pickle
import threading
import warnings

import numpy as np
import pytest

from keras_seqpar import selective
from keras_seqpar.selective import Detector
from keras_seqpar.selective.litert_engine import opening
from tests.selective.litert_engine.files import Dense, File, change, integer, noise
from tests.selective.litert_engine.test_exactness import residual_net

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return residual_net("int8").save(tmp_path_factory.mktemp("net") / "net.tflite")


@pytest.fixture
def frame():
    return noise((21, 19, 3), "int8", np.random.default_rng(0))


def test_stream_takes_the_path_of_a_file(path, frame):
    stream = selective.stream(str(path), threshold=0, num_threads=2)
    assert isinstance(stream, selective.Stream) and stream.runs_on.startswith("ai-edge-litert")
    assert np.array_equal(stream(frame).output, Dense(path)(frame)[0])
    assert np.array_equal(stream(frame[None]).output, Dense(path)(frame)[0])


def test_arguments_that_contradict_each_other_are_refused(path):
    for options, message in (
        ({"engine": "keras"}, "engine='keras' is for Keras models; .* Leave engine out"),
        ({"engine": "lite"}, "Unknown engine 'lite'. Did you mean 'litert'"),
        ({"input_shape": (1, 1, 3)}, "input_shape is for Keras models"),
        ({"threshold": 2, "detector": Detector(2)}, "threshold=2 and detector= say the same"),
        ({"threshold": "auto", "detector": Detector(2)}, "say the same"),
    ):
        with pytest.raises(ValueError, match=message):
            selective.stream(path, **options)
    with pytest.raises(TypeError, match="detector must be a Detector, got 20"):
        selective.stream(path, detector=20)
    with pytest.raises(TypeError, match="path of a .tflite file or a keras.Model, got int"):
        selective.stream(3)


def test_statistics_are_plain_data(path, frame):
    stream = selective.stream(path)
    first = stream(frame).stats
    assert (first.mode, first.changed, first.saved) == ("dense", 1.0, 0.0)
    assert first.macs == first.macs_dense > 0
    frame = frame.copy()
    frame[3:5, 4:6] += 1
    some = stream(frame).stats
    assert (some.mode, some.boxes) == ("boxes", ((3, 4, 5, 6),))
    assert some.changed == 4 / (21 * 19) and 0 < some.saved < 1
    assert stream.change_map("tensor0").mean() == some.changed
    assert 0 < stream.change_map("tensor3").mean() < 1
    same = stream(frame).stats
    assert (same.mode, same.changed, same.macs, same.boxes) == ("cached", 0.0, 0, ())
    assert pickle.loads(pickle.dumps(some)) == some
    assert json.dumps(dataclasses.asdict(some))


def test_change_maps(path, frame):
    stream = selective.stream(path)
    with pytest.raises(ValueError, match="No frame was seen yet"):
        stream.change_map()
    stream(frame)
    assert stream.change_map().all() and stream.change_map("tensor3").all()
    changed = frame.copy()
    changed[0, 0] += 1
    stream(changed)
    assert stream.change_map().sum() == 1 and stream.change_map("tensor3").sum() == 1
    with pytest.raises(ValueError, match="Unknown map 'tensor_3'. Did you mean 'tensor3'"):
        stream.change_map("tensor_3")


def test_thresholds_masks_and_regions(path, frame):
    stream = selective.stream(path, threshold=5, exclude=[(0, 0, 21, 4)])
    stream(frame)
    changed = np.clip(frame.astype(int), -100, 100).astype("int8")
    stream.reset()
    frame = changed.copy()
    stream(frame)
    changed[:, :4] += 20
    changed[2, 10] += 5
    assert stream(changed).stats.mode == "cached"
    changed[2, 10] += 1
    assert stream(changed).stats.boxes == ((2, 10, 3, 11),)
    expected = frame.copy()
    expected[2, 10] = changed[2, 10]
    assert np.array_equal(stream(changed).output, Dense(path)(expected)[0])
    accepted = stream(changed, mask=[(0, 0, 21, 19)])
    assert np.array_equal(accepted.output, Dense(path)(changed)[0])


def test_streams_of_one_detector_learn_for_themselves(path, frame):
    """Two cameras of different noise, frame by frame in turns."""
    detector, rng = Detector("auto", learn=3), np.random.default_rng(0)
    quiet, loud = (selective.stream(path, detector=detector) for _ in range(2))

    def shot(most):
        return np.clip(frame + rng.integers(-most, most + 1, frame.shape), -128, 127).astype("int8")

    for _ in range(4):
        quiet(shot(1)), loud(shot(20))
    assert detector.is_learning and quiet.detector.noise < 2 < 10 < loud.detector.noise
    assert {stream(shot(most)).stats.mode for stream, most in ((quiet, 1), (loud, 20))} == {
        "cached"
    }
    assert quiet(shot(20)).stats.mode != "cached"
    later = selective.stream(path, detector=loud.detector)  # knows the noise already
    later(frame)
    assert later(shot(20)).stats.mode == "cached"
    later.reset()
    assert not later.detector.is_learning


def test_state_goes_on_where_it_was(path, frame, tmp_path):
    stream = selective.stream(path, threshold=3)
    stream(frame)
    small = np.where(frame < 120, frame + 2, frame).astype("int8")
    np.savez(tmp_path / "state.npz", **stream.state_dict())
    later = selective.stream(path, threshold=3)
    later.load_state(np.load(tmp_path / "state.npz"))
    result = later(small)  # below the threshold: the output is that of the first frame
    assert np.array_equal(result.output, stream(frame).output)
    assert result.stats.mode == "dense"
    other = residual_net("int8")
    other.conv(other.frame, 2)
    stream = selective.stream(other.save(tmp_path / "other.tflite"))
    with pytest.raises(ValueError, match="belongs to another network"):
        stream.load_state(later.state_dict())
    broken = {**later.state_dict(), "accepted": np.zeros((3, 3, 3), "int8")}
    with pytest.raises(ValueError, match=r"Frames of net.tflite have the shape \(21, 19, 3\)"):
        later.load_state(broken)
    before = later.detector.state_dict()
    for name, value in (("noise", [1.0, 2.0]), ("noise", -1.0), ("seen", 3.0), ("seen", [np.nan])):
        damaged = {**later.state_dict(), "detector_noise": np.array(7.0)}
        with pytest.raises(ValueError, match="damaged|must be a finite number of 0 or more"):
            later.load_state(damaged | {f"detector_{name}": np.array(value)})
        np.testing.assert_equal(later.detector.state_dict(), before)
    del broken["detector_noise"], broken["accepted"]
    with pytest.raises(ValueError, match="not complete: 'detector_noise' is missing"):
        later.load_state(broken)


def test_a_threshold_that_no_frame_can_exceed(path, frame):
    with pytest.warns(UserWarning, match="threshold=255 cannot be exceeded by frames of int8"):
        selective.stream(path, threshold=255)(frame)
    selective.stream(path, threshold=254)(frame)


def test_frames_that_do_not_fit_change_nothing(path, frame, tmp_path):
    stream = selective.stream(path)
    first = stream(frame)
    with pytest.raises(ValueError, match=r"have the shape \(21, 19, 3\), got \(20, 19, 3\)"):
        stream(frame[:20])
    with pytest.raises(TypeError, match="Frames were int8 so far, now float32"):
        stream(frame.astype("float32"))
    with pytest.raises(TypeError, match="must be an array of numbers, got str"):
        stream("frame.png")
    again = stream(frame)
    assert again.stats.mode == "cached" and np.array_equal(again.output, first.output)
    floats = selective.stream(residual_net("float32").save(tmp_path / "float.tflite"))
    broken = frame.astype("float32")
    broken[5, 5, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        floats(broken)


def test_real_values_are_scaled_to_integers(path, frame):
    """A file of int8 takes floats as its scale says, as `Runner` does."""
    values = (frame.astype("float32") - 3) * np.float32(0.04)
    assert np.array_equal(selective.stream(path)(values).output, Dense(path)(frame)[0])


def test_bgr_frames(path, frame):
    stream = selective.stream(path, color="bgr")
    assert np.array_equal(stream(frame[..., ::-1]).output, Dense(path)(frame)[0])


def test_another_thread_is_refused(path, frame):
    errors = []
    stream = selective.stream(path)
    with stream._exclusive():

        def run():
            try:
                stream(frame)
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert errors and "in use by another thread" in errors[0]


def test_memory_is_told_before_it_is_taken(path):
    with pytest.raises(ValueError, match=r"net.tflite takes about .* MB, more than memory_limit"):
        selective.stream(path, memory_limit=1000)
    selective.stream(path, memory_limit=100_000_000)
    with pytest.raises(TypeError, match="memory_limit must be a whole number of bytes"):
        selective.stream(path, memory_limit=1e6)


def test_interpreters_without_resizing_are_refused(path, monkeypatch):
    monkeypatch.setattr(opening, "find_interpreter", lambda name: ("tiny 1.0", object))
    with pytest.raises(ImportError, match="tiny 1.0 cannot resize inputs.* Install another one"):
        selective.stream(path)


def test_warming_up_changes_no_state(path, frame):
    stream = selective.stream(path)
    assert stream.warm_up() >= 0
    with pytest.raises(ValueError, match="No frame was seen"):
        stream.change_map()
    assert np.array_equal(stream(frame).output, Dense(path)(frame)[0])


def test_changed_gains_are_computed_densely(tmp_path, frame):
    file = File((1, 21, 19, 3), "float32")
    gains = file.tensor((1, 4))
    file.inputs.append(gains)
    x = file.both("MUL", file.conv(file.frame, 4), file.reshape(gains, (1, 1, 1, 4)))
    file.outputs = [file.head(file.conv(x, 4)), x]
    path = file.save(tmp_path / "gains.tflite")
    stream, dense = selective.stream(path), Dense(path)
    frame = frame.astype("float32")
    for values in ([1, 1, 1, 1], [1, 2, 0, 1], [1, 2, 0, 1]):
        frame = change(frame, np.random.default_rng(1), most=0.2)
        vector = np.array([values], "float32")
        result = stream([frame, vector])
        for mine, theirs in zip(result.output.values(), dense(frame, vector), strict=True):
            assert np.array_equal(mine, theirs)
    modes = [stream([frame, np.full((1, 4), x, "float32")]).stats.mode for x in (1, 1, 3)]
    assert modes == ["dense", "cached", "dense"]
    with pytest.raises(ValueError, match=r"takes a frame and tensor1, got 1 input"):
        stream(frame)


def test_files_that_cannot_be_streams(tmp_path):
    with pytest.raises(FileNotFoundError, match="no_such"):
        selective.stream(tmp_path / "no_such.tflite")
    text = tmp_path / "text.tflite"
    text.write_text("hello, world")
    with pytest.raises(ValueError, match="is no .tflite file"):
        selective.stream(text)
    path = residual_net("int8").save(tmp_path / "net.tflite")
    with pytest.raises(ValueError, match="net.tflite: Unknown signature 'x'"):
        selective.stream(path, signature="x")
    with pytest.raises(ValueError, match="num_threads must be a whole number"):
        selective.stream(path, num_threads=0)
    vector = File((1, 8), "float32")
    vector.unary("RELU", vector.frame)
    with pytest.raises(ValueError, match="has no input for frames"):
        selective.stream(vector.save(tmp_path / "vector.tflite"))
    batch = File((2, 8, 8, 3), "float32")
    batch.unary("RELU", batch.frame)
    with pytest.raises(ValueError, match="one frame at a time"):
        selective.stream(batch.save(tmp_path / "batch.tflite"))
    stateful = File((1, 8, 8, 3), "float32")
    stateful.add("RNN", [stateful.frame], (1, 8, 8, 3), (7, {0: integer(1)}))
    with pytest.raises(ValueError, match="RNN cannot be part of a stream"):
        selective.stream(stateful.save(tmp_path / "stateful.tflite"))


def test_damaged_files_are_refused(tmp_path):
    """No byte of a file that is changed leads to another error, in reading it."""
    content = bytearray(residual_net("int8").content())
    path = tmp_path / "damaged.tflite"
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            selective.report(path)
        except ValueError as error:
            assert "damaged.tflite" in str(error)


def pixel_file(tmp_path, kind="float32", scale=1.0, zero=0, about=None):
    """A file of pixels, which states what `about` says."""
    file = File((1, 12, 12, 3), kind, zero=zero)
    if kind != "float32":
        file.tensors[0][4][2] = np.array([scale], "<f4")
    x = file.frame
    if kind == "uint8":  # as converters write it
        file.kind, file.zero = "int8", -128
        x = file.add("QUANTIZE", [x], file.shapes[x], scales=[scale], zero=-128)
    file.outputs = [file.conv(x, 4)]
    file.about = about and {"quantization": "a test", **about}
    return file.save(tmp_path / "net.tflite")


def warnings_of(action):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        action()
    return [str(x.message) for x in found]


@pytest.mark.parametrize("kind, zero", [("float32", 0), ("uint8", 0), ("int8", -128)])
def test_frames_that_contradict_what_the_file_states_are_refused(tmp_path, kind, zero):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype("float32")
    path = pixel_file(tmp_path, kind, 1.0, zero, {"mean": [0, 0, 0], "std": [1, 1, 1]})
    stream = selective.stream(path, threshold=20)
    with pytest.raises(ValueError, match=r"do not fit net.tflite, which takes pixels of 0 to 255"):
        stream((pixels - 127) / 64)
    told = warnings_of(lambda: [stream(pixels / 255) for _ in range(3)])
    assert [x.split(".")[0] for x in told if "Multiply them by 255" in x] and len(told) == 2
    assert "threshold=20 cannot be exceeded by frames of float32" in told[1]
    stream.reset()
    assert warnings_of(lambda: stream(pixels)) == []
    stream.reset()
    assert warnings_of(lambda: stream(pixels.astype("uint8"))) == []


def test_integers_of_a_normalized_file_are_its_own_or_refused(tmp_path):
    about = {"mean": [127.5] * 3, "std": [127.5] * 3}
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype("uint8")
    path = pixel_file(tmp_path, "int8", 1 / 127.5, 0, about)
    with pytest.raises(ValueError, match="takes normalized input of -1 to 1"):
        selective.stream(path)(pixels)
    codes = (pixels.astype("int16") - 128).astype("int8")
    assert warnings_of(lambda: selective.stream(path)(codes)) == []
    path = pixel_file(tmp_path, "float32", about=about)
    with pytest.raises(ValueError, match="takes normalized input of -1 to 1"):
        selective.stream(path)(pixels)


def test_files_calibrated_on_almost_white_images_take_pixels(tmp_path):
    """The scale of a file of others says what its images are, though not to the last digit."""
    path = pixel_file(tmp_path, "int8", 251 / 255, -128)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype("uint8")
    assert warnings_of(lambda: selective.stream(path)(pixels)) == []
    with pytest.raises(ValueError, match="takes pixels of 0 to 255"):
        selective.stream(path)(pixels / 64 - 2)


def test_streams_that_look_nowhere_say_so(path):
    (told,) = warnings_of(lambda: selective.stream(path, exclude=[(0, 0, 21, 19)]))
    assert "leave no position where changes are looked for" in told


def test_gains_are_limited_as_runner_limits_them(tmp_path, frame):
    file = File((1, 21, 19, 3), "float32")
    gains = file.tensor((1, 4))
    file.tensors[gains][3] = b"gains"
    file.inputs.append(gains)
    file.outputs = [file.both("MUL", file.conv(file.frame, 4), file.reshape(gains, (1, 1, 1, 4)))]
    file.about = {"quantization": "int8", "max_gain": 2.0}
    stream, frame = selective.stream(file.save(tmp_path / "gains.tflite")), frame.astype("float32")
    limit = stream([frame, np.full(4, 2, "float32")]).output
    (told,) = warnings_of(lambda: stream([frame, np.full(4, 3, "float32")]))
    assert told.startswith("Gains up to 3 are clipped to 2: gains.tflite was calibrated up to")
    assert np.array_equal(stream([frame, np.full(4, 2, "float32")]).output, limit)
    with pytest.raises(ValueError, match="gains must be finite and not negative"):
        stream([frame, np.full(4, -1, "float32")])
