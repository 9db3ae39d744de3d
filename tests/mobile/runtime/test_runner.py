"""Running files: any interpreter, damaged files, and a device without TensorFlow and Keras."""

import copy
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

import keras_seqpar as sp
from keras_seqpar import data, mobile
from keras_seqpar.mobile.runtime import interpreters, run, runner
from tests import harness
from tests.conftest import ROOT
from tests.mobile import clients
from tests.mobile.networks import network

pytestmark = pytest.mark.only_backend("tensorflow")


@pytest.fixture(scope="module")
def int8(digits_file):
    """The int8 cutout of the digits network, uint8 in and out."""
    return digits_file("int8").path


def copy_of(path, folder, content=None):
    """A file of its own, without labels."""
    copy = folder / "copy.tflite"
    copy.write_bytes(path.read_bytes() if content is None else content)
    return copy


def test_runner(int8, trained):
    loaded = mobile.Runner(int8, threads=2)
    assert loaded.threads == 2 and loaded.interpreter.startswith("ai-edge-litert 2.")
    assert loaded.input_shape == (1, 32, 32, 3) and loaded.input_dtype == np.uint8
    assert loaded.labels == ("8", "3", "5")
    assert loaded.about == {
        "network": trained.cutout.name,
        "quantization": "int8",
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
        "activation": "softmax",
    }
    scores = loaded(trained.images[:5])
    assert scores.shape == (5, 3) and scores.dtype == np.float32
    assert np.array_equal(scores, loaded(trained.images[:5].astype("float32")))
    assert loaded.latency(runs=7, warm_up=1).shape == (7,)
    for images in (trained.images[0], trained.images[:, :9], trained.images[:0]):
        with pytest.raises(ValueError, match=r"takes images of shape \(n, 32, 32, 3\), got"):
            loaded(images)
    with pytest.raises(ValueError, match="no gains input"):
        loaded(trained.images, np.ones(3))
    for threads in (0, 1.5, True):
        with pytest.raises(ValueError, match="threads must be .* got"):
            mobile.Runner(int8, threads=threads)


def test_threads_may_share_a_runner(int8, trained):
    loaded = mobile.Runner(int8)
    some = [trained.images[:3], trained.images[50:54]]
    wanted = [loaded(images) for images in some]
    calls = [lambda images=images: loaded(images) for images in some]
    calls.append(lambda: loaded.latency(runs=2, warm_up=0).shape)
    *answers, _ = clients.answers_of_threads(calls)
    for right, given in zip(wanted, answers, strict=True):
        assert all(np.array_equal(right, scores) for scores in given)


def test_gains_belong_to_their_call(tmp_path):
    net = sp.attention_input(harness.network(harness.LABELS[:3], include_preprocessing=True))
    loaded = mobile.Runner(mobile.convert(net, tmp_path / "net.tflite").path)
    images = clients.noise(2)
    gains = [None, np.array([0.0, 1.0, 3.0])]
    wanted = [loaded(images, some) for some in gains]
    assert not np.array_equal(*wanted)
    calls = [lambda some=some: loaded(images, some) for some in gains]
    for right, given in zip(wanted, clients.answers_of_threads(calls), strict=True):
        assert all(np.array_equal(right, scores) for scores in given)


def test_threads_may_share_the_signatures_of_a_file(trained, tmp_path):
    path = mobile.convert_signatures(
        trained.cutout, tmp_path / "two.tflite", signatures={"all": None, "two": ["8", "5"]}
    ).path
    first = mobile.Runner(path)
    second = first.beside("two")
    images = trained.images[:3]
    wanted = [first(images), second(images)]
    calls = [lambda: first(images), lambda: second(images)]
    for right, given in zip(wanted, clients.answers_of_threads(calls), strict=True):
        assert all(np.array_equal(right, scores) for scores in given)


def test_a_runner_stays_in_its_process(int8):
    loaded = mobile.Runner(int8)
    for send in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="A Runner cannot be pickled or copied.*int8.tflite'"):
            send(loaded)


@pytest.fixture(scope="module")
def normalized(tmp_path_factory):
    """A file that takes normalized images, and one that TensorFlow made of it in int8."""
    import tensorflow as tf

    folder, net = tmp_path_factory.mktemp("normalized"), harness.network(harness.LABELS[:2])
    images = mobile.from_pixels(net, clients.noise(60))
    converter = tf.lite.TFLiteConverter.from_keras_model(net)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.inference_input_type = tf.uint8
    (folder / "other.tflite").write_bytes(converter.convert())
    return mobile.convert(net, folder / "net.tflite").path, folder / "other.tflite", images


def test_images_that_contradict_the_file_are_refused(int8, trained, normalized):
    pixels = trained.images[:2]
    loaded = mobile.Runner(int8)
    for images, words in [
        (pixels * np.float32(np.nan), "must be finite, but some values are NaN or infinite"),
        (np.where(pixels > 200, np.inf, pixels), "must be finite"),
        (pixels / 127.5 - 1, r"-1 .. 1 do not fit int8.tflite, which takes pixels of 0 to 255"),
        (pixels.astype("int32") * 257, "int32 in .* takes pixels of 0 to 255"),
    ]:
        with pytest.raises(ValueError, match=words):
            loaded(images)
        with pytest.raises(ValueError, match=words):
            loaded.decide(images)
    with pytest.raises(TypeError, match="integers or floats, got bool"):
        loaded(pixels > 0)
    ours, theirs, images = normalized
    for path in (ours, theirs):
        loaded = mobile.Runner(path)
        assert loaded(images[:3]).shape == (3, 2)
        for wrong in (clients.noise(2), clients.noise(2).astype("float32")):
            with pytest.raises(ValueError, match=rf"{path.name}, which takes normalized input of"):
                loaded(wrong)


def test_images_that_are_suspicious_are_said_once(int8, trained, normalized):
    divided = trained.images[:2] / 255
    loaded = mobile.Runner(int8)
    with pytest.warns(UserWarning, match="0 .. 1 do not fit int8.tflite.*Multiply them by 255"):
        loaded(divided)
    other = mobile.Runner(normalized[0])
    with pytest.warns(UserWarning, match="net.tflite, which takes .*not only divide them"):
        other(np.stack([np.zeros((16, 16, 3)), np.ones((16, 16, 3))]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded(divided)
        mobile.Runner(int8)(trained.images[:2].astype("float32"))
        mobile.Runner(int8)(trained.images[:2] * 0)
        mobile.Runner(normalized[0])(normalized[2])


def test_tensorflow_as_interpreter(int8, trained):
    loaded = mobile.Runner(int8, interpreter="tensorflow")
    assert loaded.interpreter.startswith("tensorflow 2.")
    wanted = mobile.Runner(int8)(trained.images[:20])
    assert np.abs(loaded(trained.images[:20]) - wanted).max() <= 0.1


def test_interpreters_that_are_not_there(int8, monkeypatch):
    with pytest.raises(ValueError, match="'pytorch'. Valid: ai-edge-litert, tflite-runtime"):
        mobile.Runner(int8, interpreter="pytorch")
    monkeypatch.setattr(interpreters, "INTERPRETERS", {"a": "no_such_a", "b": "no_such_b.c"})
    with pytest.raises(ImportError, match=r"a \(No module.*b \(No.*pip install ai-edge-litert"):
        mobile.Runner(int8)


@pytest.mark.parametrize("kind", ["converted here", "as TensorFlow writes it"])
def test_truncated_files_are_refused(int8, tmp_path, kind):
    content = int8.read_bytes()
    if kind != "converted here":
        import tensorflow as tf

        content = tf.lite.TFLiteConverter.from_keras_model(network()).convert()
    rng = np.random.default_rng(0)
    mobile.Runner(copy_of(int8, tmp_path, content))
    for length in (0, 7, 8, 30, *rng.integers(8, len(content), 40), len(content) - 20):
        path = copy_of(int8, tmp_path, content[:length])
        with pytest.raises(ValueError, match=r"copy.tflite' is (truncated|no \.tflite file)"):
            runner.Runner(path)


def test_other_files_are_refused(int8, trained, tmp_path):
    with pytest.raises(ValueError, match=r"no \.tflite file: it begins with b'PK"):
        saved = tmp_path / "net.keras"
        trained.cutout.save(saved)
        mobile.Runner(saved)
    with pytest.raises(FileNotFoundError, match="There is no file"):
        mobile.Runner(tmp_path)
    noise = np.random.default_rng(0).bytes(5000)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        damaged = rng.bytes(4) + b"TFL3" + rng.bytes(3000) if seed % 2 else noise
        with pytest.raises(ValueError, match="truncated|no .tflite file"):
            runner.Runner(copy_of(int8, tmp_path, damaged))


def test_files_that_are_not_for_images_say_why(tmp_path):
    import tensorflow as tf

    def refused(shapes, function, words):
        specs = [tf.TensorSpec(shape, "float32") for shape in shapes]
        concrete = tf.function(function, input_signature=specs).get_concrete_function()
        made = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert()
        path = tmp_path / "net.tflite"
        path.write_bytes(made)
        with pytest.raises(ValueError, match=r"net\.tflite' " + words):
            mobile.Runner(path)

    refused([], lambda: tf.ones(2), r"is no network for images.* \[\(2,\)\]")
    refused([(1, 4, 4, 3)], tf.reduce_sum, r"is no network for images.* \[\(1, 4, 4, 3\), \(\)\]")
    for function in (lambda x: x[:, 1:, 1:] + x[:, :-1, :-1], tf.abs):  # 1 x 1 is too small for one
        refused(
            [(None, None, None, 3)],
            function,
            r"leaves the size of its images open: \(-1, -1, -1, 3\). Convert .* fixed input shape",
        )


def test_labels_of_another_file_are_refused(int8, tmp_path):
    path = copy_of(int8, tmp_path)
    assert mobile.Runner(path).labels == ("8", "3", "5")  # its own
    (tmp_path / "copy.labels.txt").write_bytes(b"\xef\xbb\xbf8\r\n 3 \r5\n\n")
    assert mobile.Runner(path).labels == ("8", "3", "5")
    (tmp_path / "copy.labels.txt").write_text("8\nthree\nfünf\n", "utf-8")
    text = r"copy.labels.txt' disagrees with the labels inside copy.tflite: line 2 is 'three'.*'3'"
    with pytest.raises(ValueError, match=text):
        mobile.Runner(path)
    (tmp_path / "copy.labels.txt").write_text("cat\ndog\n")
    with pytest.raises(ValueError, match="has 2 labels, but copy.tflite has 3 outputs"):
        mobile.Runner(path)


def test_command(int8, trained, tmp_path, capsys):
    image = tmp_path / "digit.png"
    Image.fromarray(trained.images[0]).save(image)
    assert run.main([str(int8), str(image), "--top", "1"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "ai-edge-litert" in shown[0]
    assert shown[1].startswith(f"{image}: {'835'[trained.labels[0]]} ")
    assert run.main([str(int8), str(int8.with_name("int8.labels.txt"))]) == 1
    assert "cannot identify image file" in capsys.readouterr().err
    assert run.main(["nowhere.tflite", str(image)]) == 1
    assert "There is no file 'nowhere.tflite'" in capsys.readouterr().err


def test_the_command_names_every_bad_image_and_goes_on(
    int8, trained, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        Image.fromarray(trained.images[i]).save(f"digit{i}.png")
    good = [f"digit{i}.png" for i in range(2)]
    content = (tmp_path / "digit0.png").read_bytes()
    bad = {
        "half.png": content[: len(content) // 2],
        "flipped.png": content[:30] + bytes(20) + content[50:],
        "empty.png": b"",
        "text.jpg": b"no image",
    }
    for name, damaged in bad.items():
        (tmp_path / name).write_bytes(damaged)
    (tmp_path / "folder").mkdir()
    bad |= dict.fromkeys(["folder", "nowhere.png", "https://example.com/a.png", "none*.png"])
    assert run.main([str(int8), good[0], *bad, good[1], "--top=1"]) == 1
    shown, errors = capsys.readouterr()
    assert [line.split(":")[0] for line in shown.splitlines()[1:]] == good
    *errors, last = errors.splitlines()
    assert [error.startswith(f"{name}: ") for name, error in zip(bad, errors, strict=True)] == (
        [True] * 8
    )
    assert last == "8 of 10 images could not be read."
    assert errors[2] == (
        "empty.png: cannot identify image file: damaged, empty, or of a kind that Pillow does not "
        "read"
    )
    assert "a folder; name its images: folder" in errors[4]
    assert errors[5] == "nowhere.png: No such file or directory"
    assert "download the image" in errors[6]
    assert run.main([str(int8), "digit*.png", "--top=1"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[1:]] == good


def test_an_error_of_any_kind_names_the_image(int8, tmp_path, capsys, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for error in (SyntaxError("broken PNG file"), struct.error("wants 4 bytes"), MemoryError()):
        monkeypatch.setattr(run, "decode", lambda *args, error=error: (_ for _ in ()).throw(error))
        assert run.main([str(int8), str(tmp_path / "a.png")]) == 1
        said = capsys.readouterr().err.splitlines()[0]
        assert said == f"{tmp_path / 'a.png'}: {type(error).__name__}: {error}".removesuffix(": ")


def test_the_command_reads_standard_input(int8, trained, tmp_path, capsys, monkeypatch):
    Image.fromarray(trained.images[0]).save(tmp_path / "digit.png")
    with open(tmp_path / "digit.png", "rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        assert run.main([str(int8), "-", str(tmp_path / "digit.png"), "-"]) == 1
    shown, errors = capsys.readouterr()
    first, second = (line.rpartition(": ")[2] for line in shown.splitlines()[1:])
    assert shown.splitlines()[1].startswith("-: ") and first == second
    assert errors.startswith("-: there is no image on standard input, or it was read before")


@pytest.mark.parametrize("flag", ["--top", "--threads"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_the_command_counts_from_one(int8, capsys, flag, value):
    with pytest.raises(SystemExit) as stopped:
        run.main([str(int8), "a.png", f"{flag}={value}"])
    assert stopped.value.code == 2
    assert f"{flag}: must be a whole number of 1 or more, got '{value}'" in capsys.readouterr().err


def test_the_command_says_what_is_no_file(int8, tmp_path, capsys):
    assert run.main([str(tmp_path), "a.png"]) == 1
    assert "is a folder: name a .tflite file. Branch packs" in capsys.readouterr().err
    assert run.main([str(int8), "--signature=two", "a.png"]) == 1
    assert "one signature only" in capsys.readouterr().err


def test_images_are_read_as_for_training(int8, tmp_path):
    """Including the normalization, where the network does not do it itself."""
    net = harness.network(harness.LABELS[:2])
    image = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype("uint8")
    Image.fromarray(noise).save(image)
    loaded = mobile.Runner(mobile.convert(net, tmp_path / "net.tflite").path)
    pixels = data.decode(image, 16)[None]
    assert np.allclose(run.read_image(loaded, image), mobile.from_pixels(net, pixels))
    pixels = data.decode(image, 32)[None]
    assert np.array_equal(run.read_image(mobile.Runner(int8), image), pixels)
    loaded.about.clear()
    with pytest.raises(ValueError, match="does not say how its images are normalized"):
        run.read_image(loaded, image)
    loaded.input_shape = (1, 32, 48, 3)
    with pytest.raises(ValueError, match="32 x 48 x 3; this command reads square"):
        run.read_image(loaded, image)


def reference_kernels(path, images) -> np.ndarray:
    """LiteRT without XNNPACK: the kernels that define what an int8 file computes."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    engine = Interpreter(
        str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    engine.allocate_tensors()
    scores = []
    for image in images:
        engine.set_tensor(engine.get_input_details()[0]["index"], image[None])
        engine.invoke()
        scores.append(engine.get_tensor(engine.get_output_details()[0]["index"])[0])
    return np.array(scores)


DEVICE = """
import importlib.util, json, sys
import numpy as np
for name in ("keras", "tensorflow", "ai_edge_litert"):
    assert importlib.util.find_spec(name) is None, name
from keras_seqpar.mobile import Runner
runner = Runner(sys.argv[1])
np.save(sys.argv[3], runner(np.load(sys.argv[2])))
print(json.dumps([runner.interpreter, runner.labels, np.__version__]))
"""


def on_device(python, *arguments) -> subprocess.CompletedProcess:
    """Runs Python in the environment of tflite-runtime, with this package on its path."""
    done = subprocess.run(
        [str(python), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_tflite_runtime_computes_the_same(tflite_runtime_python, int8, trained, tmp_path):
    np.save(tmp_path / "in.npy", trained.images)
    done = on_device(
        tflite_runtime_python, "-c", DEVICE, int8, tmp_path / "in.npy", tmp_path / "out.npy"
    )
    interpreter, labels, numpy = json.loads(done.stdout)
    assert interpreter == "tflite-runtime 2.14.0" and numpy.startswith("1.")
    assert labels == ["8", "3", "5"]
    scores = np.load(tmp_path / "out.npy")
    # The same kernels give the same bits; XNNPACK, LiteRT's default, rounds otherwise.
    assert np.array_equal(scores, reference_kernels(int8, trained.images) / np.float32(256))
    fast = mobile.Runner(int8)(trained.images)
    assert np.mean(fast.argmax(-1) == scores.argmax(-1)) >= 0.99
    assert np.abs(fast - scores).max() <= 0.1
    assert np.mean(scores.argmax(-1) == trained.labels) >= 0.97


def test_command_on_a_device(tflite_runtime_python, int8, trained, tmp_path):
    image = tmp_path / "digit.jpg"
    Image.fromarray(trained.images[3]).save(image, quality=95)
    done = on_device(
        tflite_runtime_python, "-m", "keras_seqpar.mobile.run", int8, image, "--top", 1
    )
    first, second = done.stdout.splitlines()
    assert "tflite-runtime 2.14.0" in first
    assert second.startswith(f"{image}: {'835'[trained.labels[3]]} ")
    assert "Traceback" not in done.stderr


def test_damaged_files_do_not_crash_tflite_runtime(tflite_runtime_python, int8, tmp_path):
    """Given a truncated file, it dies without a message; the runner looks first."""
    code = (
        "import sys\n"
        "from keras_seqpar.mobile import Runner\n"
        "content = open(sys.argv[1], 'rb').read()\n"
        "for share in (0.01, 0.2, 0.5, 0.9, 0.9999):\n"
        "    open(sys.argv[2], 'wb').write(content[: int(share * len(content))])\n"
        "    try:\n"
        "        Runner(sys.argv[2])\n"
        "    except ValueError as error:\n"
        "        print('truncated' in str(error))\n"
    )
    done = on_device(tflite_runtime_python, "-c", code, int8, tmp_path / "cut.tflite")
    assert done.stdout.split() == ["True"] * 5
    assert sys.executable != str(tflite_runtime_python)
