"""litert-quantizer: small files of float files, without TensorFlow, as good as the converter's."""

import os
import subprocess
import sys

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.format import files, flatbuffer
from tests import harness
from tests.mobile.conftest import clearly

pytestmark = pytest.mark.only_backend("tensorflow")

DTYPES = [{}, *({"input_dtype": d, "output_dtype": d} for d in ("uint8", "int8"))]


@pytest.fixture(scope="module")
def source(digits_file):
    """The float32 file of the digits' cutout."""
    return digits_file("float32").path


def test_dynamic(source, trained, tmp_path):
    made = mobile.quantize(source, tmp_path / "small.tflite")
    report = mobile.verify(made.path, trained.cutout, trained.images, trained.labels)
    assert report.check().agreement == 1 and report.max_error <= 0.1
    assert made.bytes == made.path.stat().st_size < 0.3 * source.stat().st_size
    assert made.quantization == report.quantization == "dynamic"
    assert sorted(os.listdir(tmp_path)) == ["small.labels.txt", "small.tflite"]
    about = mobile.Runner(made.path).about
    assert about == {
        **mobile.Runner(source).about,
        "quantization": "dynamic",
        "quantizer": "litert",
    }


@pytest.mark.parametrize("dtypes", DTYPES, ids=["float32", "uint8", "int8"])
def test_int8(source, trained, tmp_path, dtypes):
    made = mobile.quantize(
        source,
        tmp_path / "small.tflite",
        quantization="int8",
        calibration=trained.calibration,
        **dtypes,
    )
    report = mobile.verify(
        made.path, trained.cutout, trained.images, trained.labels, max_accuracy_drop=0.01
    ).check()
    assert report.agreement == 1 and report.max_error <= 0.15
    assert made.bytes < 0.3 * source.stat().st_size
    ends = made.operations.get("QUANTIZE", 0) + made.operations.get("DEQUANTIZE", 0)
    assert ends == 2  # all between them is integers
    runner = mobile.Runner(made.path)
    if dtypes:
        zero = 0 if dtypes["input_dtype"] == "uint8" else -128
        assert runner.input_dtype == dtypes["input_dtype"]
        assert runner._image["quantization"] == (1.0, zero)
        assert runner._scores["quantization"] == (1 / 256, zero)
    else:
        assert runner.input_dtype == np.float32


def test_convert_does_the_same_at_once(source, trained, tmp_path):
    calibration = trained.calibration[:50]  # to be equal, ranges need not be good
    options = {"calibration": calibration, "quantization": "int8", "input_dtype": "uint8"}
    one = mobile.convert(trained.cutout, tmp_path / "1.tflite", quantizer="litert", **options)
    two = mobile.quantize(source, tmp_path / "2.tflite", **options)
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.operations == two.operations
    assert one.labels_path.read_bytes() == two.labels_path.read_bytes() == b"8\n3\n5\n"


def test_all_weights_lie_inside_the_flatbuffer(source, trained, tmp_path):
    """Packing a file again must not lose what the quantizer writes behind it."""
    made = mobile.quantize(source, tmp_path / "small.tflite")
    model = flatbuffer.unpack(made.path.read_bytes())
    assert all(buffer.offset <= 1 for buffer in model.buffers)
    again = tmp_path / "again.tflite"
    content, _ = flatbuffer.rewrite(made.path.read_bytes(), description="{}", metadata=b"")
    again.write_bytes(files.seal(content))
    wanted = mobile.Runner(made.path)(trained.images)
    assert np.array_equal(mobile.Runner(again)(trained.images), wanted)


@pytest.mark.parametrize("kind", ["dynamic", "int8"])
def test_none_of_these_stays_exact(trained, outside, tmp_path, kind):
    """Calibration keeps all its images; the decision is made in floats all the same."""
    logits = harness.logits(trained.cutout, trained.calibration.astype("float32"))
    net = sp.with_threshold(trained.cutout, sp.fit_threshold(logits, keep=1.0))
    made = mobile.convert(
        net,
        tmp_path / "net.tflite",
        quantization=kind,
        quantizer="litert",
        calibration=trained.calibration,
    )
    images = np.concatenate([clearly(net, images) for images in (trained.images, outside)])
    report = mobile.verify(made.path, net, images)
    assert report.agreement == report.none_agreement == 1 and 0.1 < report.rejected < 0.9
    assert mobile.Runner(made.path).decide(outside)[1].mean() > 0.5
    details = mobile.Runner(made.path)._none
    assert details["name"] == "none_of_these" and details["dtype"] == np.float32


def test_gains_stay_an_input(tmp_path):
    net = sp.attention_input(harness.network(harness.LABELS[:3], include_preprocessing=True))
    source = mobile.convert(net, tmp_path / "net.tflite", quantization="float32").path
    made = mobile.quantize(source, tmp_path / "small.tflite")
    runner, gains = mobile.Runner(made.path), np.array([0.2, 3.0, 1.0], "float32")
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3)).astype("uint8")
    wanted = mobile.Runner(source)(images, gains)
    assert np.abs(runner(images, gains) - wanted).max() < 0.1
    with pytest.raises(ValueError, match="gains input cannot become int8"):
        mobile.quantize(source, made.path, quantization="int8", calibration=images)


WITHOUT = """
import sys
sys.modules.update({"tensorflow": None, "keras": None})
import numpy as np
from keras_seqpar import mobile
made = mobile.quantize(
    *sys.argv[1:3], quantization="int8", calibration=np.load(sys.argv[3]), input_dtype="uint8"
)
print(made)
"""


def test_needs_neither_tensorflow_nor_keras(root, source, trained, tmp_path):
    np.save(tmp_path / "calibration.npy", trained.calibration)
    small = tmp_path / "small.tflite"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, source, small, tmp_path / "calibration.npy"],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "small.tflite: int8" in done.stdout and "Calibration" not in done.stderr
    assert mobile.verify(small, trained.cutout, trained.images).check().agreement == 1


def test_errors(source, trained, tmp_path):
    path, images = tmp_path / "small.tflite", trained.calibration
    small = mobile.quantize(source, path).path
    with pytest.raises(ValueError, match="no float32 file .*'dynamic' about its quantization"):
        mobile.quantize(small, tmp_path / "b.tflite")
    with pytest.raises(FileNotFoundError, match="no file .*nowhere"):
        mobile.quantize("nowhere.tflite", path)
    with pytest.raises(ValueError, match="makes dynamic and int8 files, not int16x8"):
        mobile.quantize(source, path, quantization="int16x8", calibration=images)
    with pytest.raises(ValueError, match="needs calibration: some hundred real images"):
        mobile.quantize(source, path, quantization="int8")
    with pytest.raises(
        ValueError, match="'float32.tflite', which takes pixels.*Multiply them by 255"
    ):
        mobile.quantize(source, path, quantization="int8", calibration=images / 255)
    with pytest.raises(ValueError, match="no real images"):
        mobile.quantize(source, path, quantization="int8", calibration=images * np.uint8(0))
    with pytest.raises(ValueError, match="needs quantization='int8'; a dynamic file"):
        mobile.quantize(source, path, input_dtype="uint8")
    with pytest.warns(UserWarning, match=r"Calibration on 3 image\(s\)"):
        mobile.quantize(source, path, quantization="int8", calibration=images[:3])
    truncated = tmp_path / "truncated.tflite"
    truncated.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated or damaged"):
        mobile.quantize(truncated, path)
