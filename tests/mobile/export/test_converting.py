"""Conversion: small files, exact where they claim to be, with a stable interface."""

import collections
import os
import re

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.format import flatbuffer
from tests import harness
from tests.mobile.clients import interpreter, noise
from tests.mobile.networks import SIZE, network

on_tensorflow = pytest.mark.only_backend("tensorflow")


@pytest.fixture(scope="module")
def files(digits_file):
    """Quantization -> the converted cutout of the digits."""
    return {kind: digits_file(kind) for kind in mobile.QUANTIZATIONS}


@pytest.mark.kernels
@on_tensorflow
@pytest.mark.parametrize(
    ("kind", "error"),
    [("float32", 1e-5), ("float16", 5e-3), ("dynamic", 0.1), ("int8", 0.15), ("int16x8", 0.1)],
)
def test_files_agree_with_keras(files, trained, kind, error):
    report = mobile.verify(files[kind].path, trained.cutout, trained.images, trained.labels)
    report.check()
    assert report.max_error <= error
    assert report.agreement == 1  # no decision is as close as the bound on errors: see `trained`
    assert report.accuracy == report.keras_accuracy == 1


@on_tensorflow
def test_sizes(files):
    size = {kind: made.path.stat().st_size for kind, made in files.items()}
    assert all(made.bytes == size[kind] for kind, made in files.items())
    assert size["float16"] < 0.53 * size["float32"]
    assert size["dynamic"] < 0.30 * size["float32"]
    assert size["int8"] < 0.30 * size["float32"]
    assert size["int16x8"] < 0.30 * size["float32"]


@on_tensorflow
def test_int8_of_many_small_branches_is_small(tmp_path):
    net = network(6, family="resnet18", plan="late_sp", width=0.25)
    path = tmp_path / "net.tflite"
    made = mobile.convert(net, path, quantization="int8", calibration=noise())
    assert made.bytes < 0.30 * 4 * sp.cost(net).params  # and a float32 file is larger than that


@on_tensorflow
@pytest.mark.parametrize("kind", mobile.QUANTIZATIONS)
def test_normalization_and_neutral_gains_leave_no_operation(files, trained, kind):
    layers = collections.Counter(type(layer).__name__ for layer in harness.leaves(trained.cutout))
    wanted = {
        "CONV_2D": layers["Conv2D"],
        "ADD": layers["Add"] + 1,  # one of the preprocessing
        "MUL": 1,  # likewise
        "RESHAPE": 2,  # likewise: to rows and back
        "PAD": layers["ZeroPadding2D"] - 2,  # the three branches share that of the trunk's output
        "MEAN": 3,
        "FULLY_CONNECTED": 3,
        "CONCATENATION": 1,
        "SOFTMAX": 1,
    }
    used = dict(files[kind].operations)
    if kind == "float16":
        used.pop("DEQUANTIZE")  # of weights, done once when the file is loaded
    if kind == "int8":
        assert used.pop("QUANTIZE") == 2  # uint8 to int8 and back
    if kind == "int16x8":
        assert used.pop("QUANTIZE") <= 3 and used.pop("DEQUANTIZE") == 1
    assert used == wanted


@on_tensorflow
def test_images_are_normalized_row_by_row(tmp_path):
    """XNNPACK is slow where the last axis has three values."""
    net = network(input_shape=(SIZE, 2 * SIZE, 3))
    path = mobile.convert(net, tmp_path / "a.tflite", quantization="float32").path
    engine = interpreter(path)
    shapes = {
        op["op_name"]: engine._get_tensor_details(op["outputs"][0], 0)["shape"].tolist()
        for op in reversed(engine._get_ops_details())
    }
    assert shapes["MUL"] == [1, SIZE, 2 * SIZE * 3]
    assert shapes["RESHAPE"] == [1, SIZE, 2 * SIZE * 3]
    images = noise(4, size=2 * SIZE)[:, :SIZE]
    wanted = harness.predict(net, images.astype("float32"))
    assert harness.error(mobile.Runner(path)(images), wanted) < 1e-5


@on_tensorflow
@pytest.mark.parametrize("kind", mobile.QUANTIZATIONS)
def test_interface(files, trained, kind):
    engine = interpreter(files[kind].path)
    (image,), (scores,) = engine.get_input_details(), engine.get_output_details()
    dtype = np.uint8 if kind == "int8" else np.float32
    assert (image["name"], scores["name"]) == ("image", "scores")
    assert (image["dtype"], scores["dtype"]) == (dtype, dtype)
    assert image["shape"].tolist() == image["shape_signature"].tolist() == [1, 32, 32, 3]
    assert scores["shape"].tolist() == [1, 3]
    assert engine.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["scores"]}
    }
    assert files[kind].labels_path.read_text("utf-8") == "8\n3\n5\n"
    assert mobile.Runner(files[kind].path).labels == trained.cutout.layers[-1].hierarchy.categories
    assert "3,5,8" not in str(files[kind]) and "60 op" in str(files["float32"])


@on_tensorflow
def test_only_needed_files_are_written(files):
    names = {f"{kind}{end}" for kind in files for end in (".tflite", ".labels.txt")}
    assert set(os.listdir(files["int8"].path.parent)) == names


@on_tensorflow
@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 0), ("int8", -128)])
def test_integer_inputs_are_pixels_whatever_was_calibrated_on(tmp_path, dtype, zero):
    dark = np.clip(noise(), 20, 150)
    before = dark.copy()
    made = mobile.convert(
        network(),
        tmp_path / "dark.tflite",
        quantization="int8",
        calibration=dark,
        input_dtype=dtype,
        output_dtype=dtype,
    )
    engine = interpreter(made.path)
    assert engine.get_input_details()[0]["quantization"] == (1.0, zero)
    assert engine.get_output_details()[0]["quantization"] == (1 / 256, zero)
    assert np.array_equal(dark, before)
    pixels = noise(1, seed=5)
    engine.set_tensor(
        engine.get_input_details()[0]["index"], (pixels.astype("int32") + zero).astype(dtype)
    )
    engine.invoke()
    scores = engine.get_tensor(engine.get_output_details()[0]["index"]).astype("float32")
    assert np.array_equal((scores - zero) / 256, mobile.Runner(made.path)(pixels))


@on_tensorflow
def test_weights_are_quantized_per_channel(files):
    engine = interpreter(files["int8"].path)
    scales = [
        len(detail["quantization_parameters"]["scales"])
        for detail in engine.get_tensor_details()
        if detail["dtype"] == np.int8 and len(detail["shape"]) == 4 and detail["shape"][0] > 1
    ]
    assert len(scales) >= 30 and min(scales) > 1


@on_tensorflow
@pytest.mark.parametrize("kind", mobile.QUANTIZATIONS)
def test_rewriting_changes_size_only(monkeypatch, tmp_path, kind):
    contents, original = [], flatbuffer.rewrite

    def rewrite(content, **options):
        new = original(content, **options)
        contents.extend([content, new[0]])
        return new

    monkeypatch.setattr(flatbuffer, "rewrite", rewrite)
    made = mobile.convert(network(), tmp_path / "a.tflite", quantization=kind, calibration=noise())
    unsealed = re.sub(rb"(?<=_sha256:)[0-9a-f]{64}", b"0" * 64, made.path.read_bytes())
    assert unsealed.startswith(contents[1])  # and the files of the metadata
    assert len(contents[1]) < len(contents[0])
    scores = []
    for i, content in enumerate([contents[0], made.path.read_bytes()]):
        path = tmp_path / f"{i}.tflite"
        path.write_bytes(content)
        scores.append(mobile.Runner(path)(noise(20, seed=1)))
    assert np.array_equal(*scores)


@pytest.mark.kernels
@on_tensorflow
def test_conversion_repeats_itself(trained, files, tmp_path):
    again = mobile.convert(trained.cutout, tmp_path / "again.tflite", quantization="float32")
    assert again.path.read_bytes() == files["float32"].path.read_bytes()


@on_tensorflow
def test_fewer_categories_make_a_smaller_file(tmp_path):
    net = network(4)
    sizes = [
        mobile.convert(sp.cutout(net, harness.LABELS[:n]), tmp_path / f"{n}.tflite").bytes
        for n in (1, 2, 4)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.only_backend("jax", "torch")
def test_conversion_needs_tensorflow(backend, tmp_path):
    with pytest.raises(RuntimeError, match=f"runs on {backend}. Set KERAS_BACKEND=tensorflow"):
        mobile.convert(harness.network(harness.LABELS[:2]), tmp_path / "net.tflite")
    assert not os.listdir(tmp_path)
