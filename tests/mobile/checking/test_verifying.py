"""Verification: a report that says what is, and a file that disagrees does not pass."""

import dataclasses
import warnings

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from tests import harness

pytestmark = pytest.mark.only_backend("tensorflow")


def pixels(count=20, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3)).astype("uint8")


@pytest.fixture(scope="module")
def net():
    return harness.network(harness.LABELS[:3], include_preprocessing=True)


@pytest.fixture(scope="module")
def path(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.tflite"
    return mobile.convert(net, path, quantization="float32").path


def test_report(trained, digits_file):
    made = digits_file("float32")
    report = mobile.verify(
        made.path, trained.cutout, trained.images, trained.labels, threads=2
    ).check()
    runner = mobile.Runner(made.path)
    scores = runner(trained.images)
    wanted = harness.predict(trained.cutout, trained.images.astype("float32"))
    assert report.accuracy == np.mean(scores.argmax(-1) == trained.labels)
    assert report.keras_accuracy == np.mean(wanted.argmax(-1) == trained.labels)
    assert report.agreement == 1 and report.images == len(trained.images)
    spread = wanted.max() - wanted.min()
    assert report.max_error == pytest.approx(np.abs(scores - wanted).max() / spread, abs=1e-6)
    assert report.mean_error <= report.max_error
    assert report.bytes == made.path.stat().st_size
    assert report.milliseconds > 0
    assert report.interpreter.startswith("ai-edge-litert 2.")
    assert report.threads == 2 and report.quantization == "float32"
    assert report.bounds == mobile.BOUNDS["float32"]
    lines = str(report).splitlines()
    assert lines[0] == (
        f"float32.tflite (float32) in {report.interpreter}, beside Keras on 109 images"
    )
    assert "  top-1 agreement      100.00%  >= 99.00%" in lines
    assert "  proven by these       97.29%  95% confidence" in lines
    assert "  ties at the top        0.00%  of images; 0.00% of scores are 0" in lines
    assert any(line.endswith("ms, 2 threads, 50 runs") for line in lines)


def test_few_images_prove_little(net, tmp_path):
    path = mobile.convert(net, tmp_path / "net.tflite", quantization="dynamic").path
    for count in (1, 5, 48):
        report = mobile.verify(path, net, pixels(count), max_error=1)
        assert report.agreement == 1
        with pytest.raises(ValueError, match=f"on {count} image.* compare on 49 or more images"):
            report.check()
        assert "95% confidence" in str(report)
    assert mobile.verify(path, net, pixels(49), max_error=1).check().agreement == 1
    mobile.verify(path, net, pixels(5), max_error=1, min_agreement=0.5).check()
    five = dataclasses.replace(report, images=500, agreement=0.925)
    assert "92.50% of 500 images, is below 97.00%" in five.problems[0]


def test_few_images_are_said_where_errors_are_small(net, path):
    with pytest.warns(UserWarning, match="Compared on 1 image: that proves .* 5.00% or more"):
        mobile.verify(path, net, pixels(1)).check()


@pytest.fixture(scope="module")
def many():
    """A network of 300 categories whose best scores are close to each other, and images."""
    labels = [f"c{i}" for i in range(300)]
    options = {"include_preprocessing": True, "input_shape": (16, 16, 3), "stem": "small"}
    net = sp.build_plain(labels, family="resnet18", width=1 / 64, seed=0, **options)
    harness.randomize(net)
    kernel = next(v for v in net.trainable_variables if v.shape[-1] == 300)
    kernel.assign(np.random.default_rng(0).normal(0, 0.02, kernel.shape))
    return net, pixels(60, seed=1)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_coarse_scores_are_said_and_logits_are_not_coarse(many, tmp_path, dtype):
    net, images = many
    options = {"quantization": "int8", "calibration": images, "output_dtype": dtype}
    with pytest.warns(UserWarning, match=r"steps of 1/256, and the 300 scores.*outputs='logits'"):
        path = mobile.convert(net, tmp_path / "scores.tflite", **options).path
    scores = mobile.Runner(path)(images)
    coarse = mobile.verify(path, net, images)
    assert coarse.zeros == (scores == 0).mean() > 0.2
    assert coarse.ties == ((scores == scores.max(-1, keepdims=True)).sum(-1) > 1).mean() > 0.5
    assert any("several categories share the best score" in text for text in coarse.problems)
    assert f"{coarse.ties:.2%}  of images; {coarse.zeros:.2%} of scores are 0" in str(coarse)

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*steps of")
        path = mobile.convert(net, tmp_path / "n.tflite", outputs="logits", **options).path
    runner = mobile.Runner(path)
    assert runner.outputs == "logits" and runner.about["activation"] == "softmax"
    scores = runner(images)
    assert np.allclose(scores.sum(-1), 1, atol=1e-5)
    wanted = harness.predict(net, images.astype("float32"))
    assert np.corrcoef(scores.ravel(), wanted.ravel())[0, 1] > 0.9
    fine = mobile.verify(path, net, images)
    assert fine.outputs == "logits" and "of the range of logits" in str(fine)
    assert fine.ties < coarse.ties / 2 and fine.zeros < 0.01
    assert fine.bounds.max_error == 0.1


def test_the_time_is_the_median(net, path, monkeypatch):
    monkeypatch.setattr(mobile.Runner, "latency", lambda *args, **kw: np.array([9.0, 2.0, 4.0]))
    assert mobile.verify(path, net, pixels()).milliseconds == 4


def test_error_is_relative_to_the_range_of_the_outputs(net, tmp_path):
    logits = sp.with_activation(net, None)
    made = mobile.convert(logits, tmp_path / "net.tflite", quantization="float16")
    report = mobile.verify(made.path, logits, pixels())
    difference = mobile.Runner(made.path)(pixels()) - harness.predict(
        logits, pixels().astype("float32")
    )
    wanted = harness.predict(logits, pixels().astype("float32"))
    spread = wanted.max() - wanted.min()
    assert report.max_error == pytest.approx(np.abs(difference).max() / spread, rel=0.05)
    assert report.accuracy is None and "accuracy" not in str(report)


def test_another_network_is_found_out(net, path):
    other = sp.cutout(net, harness.LABELS[:3], copy=True)
    harness.randomize(other, seed=7)
    report = mobile.verify(path, other, pixels())
    assert report.problems
    with pytest.raises(ValueError, match=r"net.tflite disagrees with Keras: the largest error, "):
        report.check()
    reversed_ = sp.cutout(net, harness.LABELS[2::-1])
    report = mobile.verify(path, reversed_, pixels())
    assert any("top-1 agreement with Keras" in problem for problem in report.problems)


def test_bounds_can_be_set(net, path):
    assert mobile.verify(path, net, pixels(), max_error=0.0, min_agreement=1.0).bounds == (
        mobile.Bounds(0.0, 1.0, max_mean_error=0.0)
    )
    report = dataclasses.replace(mobile.verify(path, net, pixels()), max_error=float("nan"))
    assert "the largest error, nan" in report.problems[0]
    report = dataclasses.replace(report, max_error=0.0, mean_error=0.1)
    assert report.problems == ["the mean error, 0.1 of the output range, is above 5e-06"]
    report = dataclasses.replace(report, mean_error=0.0, agreement=0.5)
    assert report.problems == [
        "the top-1 agreement with Keras, 50.00% of 20 images, is below 99.00%"
    ]


def test_accuracy_may_drop_so_far(net, path):
    labels = mobile.Runner(path)(pixels()).argmax(-1)
    report = mobile.verify(path, net, pixels(), labels, max_accuracy_drop=0).check()
    assert report.bounds.max_accuracy_drop == 0 and "at most 0.00% below" in str(report)
    worse = dataclasses.replace(report, accuracy=0.90, keras_accuracy=0.95)
    assert worse.problems == [
        "the accuracy, 90.00% of 20 images, is more than 0.00% below Keras's 95.00%"
    ]
    for most, passes in ((0.04, False), (0.05, True), (None, True)):
        bounds = dataclasses.replace(report.bounds, max_accuracy_drop=most)
        assert passes == (not dataclasses.replace(worse, bounds=bounds).problems)
    with pytest.raises(ValueError, match="max_accuracy_drop needs labels"):
        mobile.verify(path, net, pixels(), max_accuracy_drop=0.01)


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (pixels() / 255, None, ValueError, "images of float64 in .* Multiply them by 255"),
        (pixels()[:, :8], None, ValueError, r"images must have .*\(n, 16, 16, 3\), got"),
        (pixels(), [0.0] * 20, TypeError, "whole numbers, got float64"),
        (pixels(), [0, 1], ValueError, r"shape \(20,\), got \(2,\)"),
        (pixels(), [3] * 20, ValueError, "be in 0 .. 2, .* some are in 3 .. 3"),
        (pixels(), [-1] * 20, ValueError, "be in 0 .. 2"),
    ],
)
def test_errors(net, path, images, labels, error, message):
    with pytest.raises(error, match=message):
        mobile.verify(path, net, images, labels)


def test_files_and_networks_that_do_not_fit(net, path, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .*nowhere.tflite"):
        mobile.verify(tmp_path / "nowhere.tflite", net, pixels())
    with pytest.raises(TypeError, match="got 'net.keras'"):
        mobile.verify(path, "net.keras", pixels())
    with pytest.raises(ValueError, match="gives 3 scores per image, the model .* 2"):
        mobile.verify(path, sp.cutout(net, harness.LABELS[:2]), pixels())
    trunk = keras.Model(net.inputs, net.get_layer("trunk")(net.inputs[0]))
    with pytest.raises(ValueError, match=r"Only scores \(n, categories\)"):
        mobile.verify(path, trunk, pixels())


def test_files_from_elsewhere_need_bounds(net, path, tmp_path):
    import tensorflow as tf

    other = tmp_path / "other.tflite"
    other.write_bytes(tf.lite.TFLiteConverter.from_keras_model(net).convert())
    with pytest.raises(ValueError, match="does not say how .* Give max_error and min_agreement"):
        mobile.verify(other, net, pixels())
    report = mobile.verify(other, net, pixels(), max_error=1e-5, min_agreement=1).check()
    assert report.quantization == "unknown"
