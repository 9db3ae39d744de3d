"""Watching a video: what is written, and what is kept when it breaks off."""

import csv
import signal
import warnings

import keras
import numpy as np
import pytest
from keras import layers

from keras_seqpar import mobile
from keras_seqpar.data.video import VideoWriter, open_video
from keras_seqpar.plots import viewing
from tests import commands, harness

pytest.importorskip("absl")
cv2 = pytest.importorskip("cv2")
pytest.importorskip("ai_edge_litert")

pytestmark = pytest.mark.only_backend("tensorflow")
WATCH = "recipes/watch.py"
LABELS = ("blue", "green", "red")
SIZE = 48, 32  # width, height


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """8 frames in which a bright box moves."""
    path = tmp_path_factory.mktemp("video") / "box.mkv"
    writer = VideoWriter(path, 10)
    for i in range(8):
        frame = np.full((SIZE[1], SIZE[0], 3), 60, "uint8")
        frame[10:20, 4 + 3 * i : 12 + 3 * i] = (250, 40, 40)
        writer.write(frame)
    writer.close()
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.keras"
    harness.network(LABELS, include_preprocessing=True).save(path)
    return path


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    frame = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 255)(frame)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="features")(x)
    model = keras.Model(frame, layers.Conv2D(3, 1, name="scores")(x))
    harness.randomize(model)  # by their names, so that they are the same after any other tests
    path = tmp_path_factory.mktemp("model") / "map.keras"
    model.save(path)
    return path


def read(folder):
    with open(folder / "watch.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_classifier_both_ways(clip, saved, tmp_path, capsys):
    flags = [str(clip), f"--model={saved}", "--mode=both", f"--output={tmp_path}"]
    assert (
        commands.call(WATCH, *flags, "--categories=red,blue", "--gains=red=1.2", "--threshold=0")
        == 0
    )
    rows = read(tmp_path)
    assert len(rows) == 8 and rows[0]["mode"] == "dense"
    assert all(row["agreement"] == "1" for row in rows)
    assert {row["predicted"].split()[0] for row in rows} <= {"red", "blue"}
    assert 0 < float(rows[-1]["changed"]) < 1
    written = open_video(str(tmp_path / "watch.mkv"))
    shown = list(written.frames())
    assert len(shown) == 8 and shown[0].shape == (SIZE[1], 2 * SIZE[0], 3)
    written.close()
    assert (tmp_path / "watch.png").stat().st_size > 1000
    assert "8 frames." in capsys.readouterr().out
    assert not list(tmp_path.glob(".*"))


def test_a_file_and_the_same_file_dense(clip, saved, tmp_path, capsys):
    path = tmp_path / "net.tflite"
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), "uint8")
    model = keras.models.load_model(saved)
    made = {"quantization": "int8", "calibration": images, "input_dtype": "uint8"}
    with pytest.warns(UserWarning, match="Calibration on"):
        mobile.convert(model, path, **made, outputs="logits")
    flags = [str(clip), f"--model={path}", f"--output={tmp_path}", "--mode=both", "--threshold=0"]
    assert commands.call(WATCH, *flags, "--dense_every=4") == 0
    rows = read(tmp_path)  # frames are resized to the file's own size
    assert [row["agreement"] for row in rows] == ["1", "", "", "", "1", "", "", ""]
    assert {row["predicted"].split()[0] for row in rows} <= set(LABELS)
    assert rows[4]["predicted"] == rows[4]["dense_predicted"]
    assert commands.call(WATCH, *flags, "--size=48x32") == 1
    assert "takes frames of 16x16 only" in capsys.readouterr().err
    assert commands.call(WATCH, *flags, "--categories=red") == 1
    assert "need a Keras model" in capsys.readouterr().err


def test_a_pack_runs_the_branches_of_chosen_categories(clip, saved, tmp_path):
    folder = tmp_path / "net.pack"
    mobile.pack(keras.models.load_model(saved), folder, quantization="float32")
    flags = [str(clip), f"--model={folder}", f"--output={tmp_path}", "--mode=both", "--threshold=0"]
    assert commands.call(WATCH, *flags, "--categories=red,blue") == 0
    rows = read(tmp_path)
    assert all(row["predicted"] == row["dense_predicted"] for row in rows)
    assert {row["predicted"].split()[0] for row in rows} <= {"red", "blue"}


def test_how_changes_are_found(clip, saved, tmp_path, monkeypatch):
    original, made = viewing.stream, []

    def recorded(*args, **options):
        made.append(options)
        return original(*args, **options)

    monkeypatch.setattr(viewing, "stream", recorded)
    flags = [str(clip), f"--model={saved}", f"--output={tmp_path}", "--novideo"]
    for more in (
        [],
        ["--threshold=20", "--threads=2"],
        ["--threshold=0", "--exclude=0,0,32,20", "--exclude=0,20,32,48"],
    ):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "include and exclude leave no position")
            assert commands.call(WATCH, *flags, *more) == 0
    found = [(x["detector"].threshold, x["num_threads"]) for x in made]
    assert found == [("auto", 1), (20, 2), (0, 1)]
    assert made[2]["exclude"] == [[0, 0, 32, 20], [0, 20, 32, 48]] and made[2]["include"] is None
    assert {row["changed"] for row in read(tmp_path)[1:]} == {"0"}  # nowhere is looked


def test_a_segmenter(clip, segmenter, tmp_path):
    flags = [str(clip), f"--model={segmenter}", f"--output={tmp_path}", "--frames=4"]
    exact = ["--margin=receptive_field", "--min_region_pixels=1", "--threshold=0"]
    assert commands.call(WATCH, *flags, "--mode=both", *exact) == 0
    rows = read(tmp_path)
    assert rows[0]["mode"] == "dense" and len(rows) == 4
    assert all(float(row["agreement"]) > 0.99 for row in rows)
    assert commands.call(WATCH, *flags, "--mode=dense", "--novideo", "--size=24x16") == 0
    rows = read(tmp_path)
    assert rows[0]["ms"] == "" and float(rows[0]["dense_ms"]) > 0
    assert commands.call(WATCH, *flags, "--categories=red") == 1


@pytest.fixture
def noise(tmp_path):
    """An AVI of 8 frames of noise, so that frames are larger than the head of the file."""
    path = tmp_path / "noise.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64))
    for i in range(8):
        writer.write(np.random.default_rng(i).integers(0, 256, (64, 96, 3)).astype("uint8"))
    writer.release()
    return path


def test_a_video_that_breaks_off(noise, saved, tmp_path, capsys):
    content = noise.read_bytes()
    noise.write_bytes(content[: len(content) * 6 // 10])
    flags = [f"--model={saved}", f"--output={tmp_path / 'out'}"]
    assert commands.call(WATCH, str(noise), *flags) == 3
    assert "noise.avi broke off after" in capsys.readouterr().err
    rows = read(tmp_path / "out")
    assert 0 < len(rows) < 8
    assert frames_of(tmp_path / "out" / "watch.mkv") == len(rows)


def test_a_head_that_counts_too_many_frames(noise, saved, tmp_path, capsys):
    content = bytearray(noise.read_bytes())
    length = content.index(b"strh") + 8 + 32
    assert content[length] == 8
    content[length] = 12
    noise.write_bytes(content)
    flags = [f"--model={saved}", f"--output={tmp_path / 'out'}", "--novideo"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "watch.mkv").write_text("of a run before")
    assert commands.call(WATCH, str(noise), *flags) == 0
    assert not (tmp_path / "out" / "watch.mkv").exists()
    assert "Note: noise.avi states 12 frames and has 8." in capsys.readouterr().err
    assert [float(row["time_ms"]) for row in read(tmp_path / "out")] == [*range(0, 800, 100)]


def frames_of(path):
    with open_video(str(path)) as written:
        return len(list(written.frames()))


def test_odd_sizes_and_times_of_frames_are_kept(saved, tmp_path):
    times = [0, 40, 300, 310]
    with VideoWriter(tmp_path / "odd.mkv", 25) as writer:
        for milliseconds in times:
            writer.write(np.zeros((33, 47, 3), "uint8"), milliseconds)
    flags = [f"--model={saved}", f"--output={tmp_path}", "--mode=dense"]
    assert commands.call(WATCH, str(tmp_path / "odd.mkv"), *flags) == 0
    assert [float(row["time_ms"]) for row in read(tmp_path)] == times
    with open_video(str(tmp_path / "watch.mkv")) as written:
        assert written.frame_size == (47, 33)
        assert [round(at) for at, _ in written.timed_frames()] == times


@pytest.mark.parametrize(
    ("stop", "status"),
    [
        (lambda: 1 / 0, 1),
        (lambda: signal.raise_signal(signal.SIGINT), 3),
        (lambda: signal.raise_signal(signal.SIGTERM), 3),
    ],
)
def test_what_was_done_is_kept_at_any_time(
    clip, saved, tmp_path, monkeypatch, request, stop, status
):
    original, seen = viewing.Viewer.selective, []
    out = tmp_path / "out"

    def fail(self, frame):
        seen.append(1)
        if len(seen) > 3:  # what SIGKILL would leave now
            assert len(read(out)) == frames_of(out / "watch.mkv") == 3
            try:
                stop()
            except ZeroDivisionError:
                raise ValueError("at the fourth frame") from None
        return original(self, frame)

    monkeypatch.setattr(viewing.Viewer, "selective", fail)
    # A shell starts what runs in its background with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    handlers = [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)]
    assert commands.call(WATCH, str(clip), f"--model={saved}", f"--output={out}") == status
    assert [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)] == handlers
    rows = read(out)
    assert len(rows) == frames_of(out / "watch.mkv") == 3
    assert float(rows[0]["warm_up_ms"]) > 0
    assert (out / "watch.png").is_file()


def test_what_cannot_be_watched(clip, saved, tmp_path, capsys):
    (tmp_path / "text.avi").write_text("no video")
    for flags, words in (
        ([str(tmp_path / "missing.avi"), f"--model={saved}"], "no file"),
        ([str(tmp_path / "text.avi"), f"--model={saved}"], "cannot be decoded"),
        ([str(clip)], "Give --model"),
        ([str(clip), "--model=preset:nothing"], "nothing"),
        ([str(clip), f"--model={saved}", "--gains=red"], "NAME=NUMBER"),
        ([str(clip), f"--model={saved}", "--size=big"], "WIDTHxHEIGHT"),
        ([str(clip), f"--model={saved}", "--threshold=low"], "--threshold must be a number or"),
        ([str(clip), f"--model={saved}", "--include=1,2"], "top, left, bottom, right"),
        ([str(clip), f"--model={saved}", "--include=here"], "top,left,bottom,right"),
        ([str(clip), "--model=missing.tflite"], "missing.tflite"),
        (["camera:front", f"--model={saved}"], "camera:NUMBER"),
        (["97", f"--model={saved}"], "Camera 97 cannot be opened: there is no such camera"),
        (["rtsp://127.0.0.1:9/x", f"--model={saved}"], "Check the address, user and password"),
        ([], "SOURCE is missing"),
    ):
        assert commands.call(WATCH, *flags, f"--output={tmp_path / 'out'}") == 1
        assert words in capsys.readouterr().err
