"""The output none_of_these of converted files: there, exact, and right in int8."""

import dataclasses
import os
import subprocess

import numpy as np
import pytest
from PIL import Image

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.runtime import run
from keras_seqpar.surgery.unknowns import SCORES, threshold_of
from tests import harness
from tests.mobile.clients import interpreter, noise
from tests.mobile.conftest import clearly

pytestmark = pytest.mark.only_backend("tensorflow")

KINDS = [kind for kind in mobile.QUANTIZATIONS if kind != "int16x8"]  # which refuses
INTEGERS = {"input_dtype": "uint8", "output_dtype": "uint8"}

SIZE = 32  # of the digits
CASES = [*((kind, "energy") for kind in KINDS), ("int8", "max_logit")]


@pytest.fixture(scope="module")
def stored(trained):
    """Score -> the cutout with a threshold that keeps 95 % of its own images."""
    logits = harness.logits(trained.cutout, trained.calibration.astype("float32"))
    return {
        score: sp.with_threshold(trained.cutout, sp.fit_threshold(logits, score=score))
        for score in SCORES
    }


@pytest.fixture(scope="module")
def files(trained, stored, tmp_path_factory):
    """(quantization, score) -> the converted cutout; int8 with uint8 in and out."""
    folder = tmp_path_factory.mktemp("none")
    return {
        (kind, score): mobile.convert(
            stored[score],
            folder / f"{kind}-{score}.tflite",
            quantization=kind,
            calibration=trained.calibration,
            **(INTEGERS if kind == "int8" else {}),
        )
        for kind, score in CASES
    }


@pytest.mark.kernels
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_decisions_agree_with_keras(files, stored, trained, outside, case):
    net = stored[case[1]]
    parts = [clearly(net, images) for images in (trained.images, outside)]
    assert len(parts[0]) > 0.7 * len(trained.images) and len(parts[1]) > 0.4 * len(outside)
    images = np.concatenate(parts)
    report = mobile.verify(files[case].path, net, images, min_agreement=1)
    assert report.agreement == report.none_agreement == 1
    wanted = threshold_of(net).rejects(harness.logits(trained.cutout, images.astype("float32")))
    assert report.rejected == wanted.mean() > 0.1
    scores, none = mobile.Runner(files[case].path).decide(images)
    assert scores.shape == (len(images), 3) and none.shape == (len(images),)
    assert none.dtype == bool
    assert np.array_equal(none, wanted)
    own = len(parts[0])
    assert none[own:].mean() > none[:own].mean() + 0.1  # it knows what it does not know


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_interface(files, case):
    engine = interpreter(files[case].path)
    scores, none = engine.get_output_details()
    assert (scores["name"], none["name"]) == ("scores", "none_of_these")
    assert scores["shape"].tolist() == [1, 3] and none["shape"].tolist() == [1, 1]
    assert none["dtype"] == np.float32 and none["quantization"] == (0.0, 0)
    engine.invoke()  # on zeros
    assert engine.get_tensor(none["index"])[0, 0] in (0, 1)
    assert engine.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["none_of_these", "scores"]}
    }
    about = mobile.Runner(files[case].path).about["none_of_these"]
    assert about["score"] == case[1] and np.isfinite(about["value"])


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_scores_are_those_of_a_file_without_it(files, digits_file, outside, kind):
    """Bit for bit: the decision changes nothing in how the network is quantized."""
    made = digits_file(kind)
    runner = mobile.Runner(made.path)
    scores, none = runner.decide(outside)
    assert none is None and "none_of_these" not in runner.about
    assert np.array_equal(scores, mobile.Runner(files[kind, "energy"].path)(outside))
    assert files[kind, "energy"].bytes < made.bytes + 3000


@pytest.mark.parametrize("score", SCORES)
def test_int8_decides_without_calibrated_ranges(files, score):
    """In floats; the largest of int8 logits is exact in int8 as well."""
    wanted = {"energy": {"EXP", "SUM", "DEQUANTIZE"}, "max_logit": {"REDUCE_MAX"}}[score]
    assert wanted | {"LESS", "CAST"} <= set(files["int8", score].operations)
    details = interpreter(files["int8", score].path).get_tensor_details()
    inner = [d for d in details if d["name"].startswith("none_of_these")]
    assert len(inner) >= 3
    if score == "energy":
        assert {d["dtype"] for d in inner} == {np.float32, np.bool_}
    else:
        (logits,) = (d for d in details if d["name"].startswith("categories"))
        integers = [d for d in inner if d["dtype"] == np.int8]
        assert [d["quantization"] for d in integers] == [logits["quantization"]]


@pytest.mark.parametrize("dtypes", [{}, INTEGERS], ids=["float32", "uint8"])
def test_int8_rejects_what_calibration_never_showed(trained, outside, tmp_path, dtypes):
    """Calibration keeps all its images: the range of a quantized output would be 0 to 0."""
    net = trained.cutout
    logits = harness.logits(net, trained.calibration.astype("float32"))
    net = sp.with_threshold(net, sp.fit_threshold(logits, keep=1.0))
    made = mobile.convert(
        net,
        tmp_path / "net.tflite",
        quantization="int8",
        calibration=trained.calibration,
        **dtypes,
    )
    assert not threshold_of(net).rejects(logits).any()
    outside = clearly(net, outside)
    wanted = threshold_of(net).rejects(harness.logits(net, outside.astype("float32")))
    assert wanted.mean() > 0.5
    assert np.array_equal(mobile.Runner(made.path).decide(outside)[1], wanted)


def test_other_networks(tmp_path):
    """A gains input, a plain network, and a category that is called none of these."""
    labels = ["none of these", "cat"]
    plain = sp.build_plain(
        labels, family="resnet18", input_shape=(16, 16, 3), width=0.125, stem="small",
        include_preprocessing=True, seed=0,
    )  # fmt: skip
    harness.randomize(plain)
    named = harness.network(labels, include_preprocessing=True)
    images = noise(60)
    for i, (net, kind) in enumerate(
        [
            (plain, "int8"),
            (named, "int8"),
            (sp.with_activation(sp.cutout(named, ["cat"]), "sigmoid"), "int8"),
            (sp.attention_input(named), "dynamic"),
        ]
    ):
        inputs = [images.astype("float32")]
        if len(net.inputs) > 1:
            inputs.append(np.ones((60, 2), "float32"))
        net = sp.with_threshold(net, sp.fit_threshold(harness.logits(net, *inputs), keep=0.5))
        made = mobile.convert(net, tmp_path / f"{i}.tflite", quantization=kind, calibration=images)
        report = mobile.verify(made.path, net, images, min_agreement=0.85)
        assert report.rejected == pytest.approx(0.5, abs=0.15)
        assert report.none_agreement >= 0.85


def test_batches(stored, trained, tmp_path):
    made = mobile.convert(
        stored["energy"], tmp_path / "net.tflite", quantization="float32", batch_size=4
    )
    images = clearly(stored["energy"], trained.images)[:7]
    none = mobile.Runner(made.path).decide(images)[1]
    wanted = threshold_of(stored["energy"]).rejects(
        harness.logits(trained.cutout, images.astype("float32"))
    )
    assert np.array_equal(none, wanted)


def test_a_disagreement_is_found_out(files, stored, trained):
    path = files["float32", "energy"].path
    net = stored["energy"]
    other = sp.with_threshold(net, dataclasses.replace(threshold_of(net), value=1e3))
    report = mobile.verify(path, other, trained.images)
    assert report.agreement == 1 and report.none_agreement < 0.5
    with pytest.raises(ValueError, match="the agreement on none of these with Keras, .* of 109"):
        report.check()
    assert "  none of these " in str(mobile.verify(path, net, trained.images).check())
    with pytest.raises(ValueError, match="Only one of .* says none of these.*with_threshold"):
        mobile.verify(path, trained.cutout, trained.images)


def test_command(files, trained, tmp_path, capsys):
    path = files["int8", "energy"].path
    Image.fromarray(trained.images[0]).save(tmp_path / "in.png")
    Image.fromarray(np.full((SIZE, SIZE, 3), 128, "uint8")).save(tmp_path / "gray.png")
    runner = mobile.Runner(path)
    gray = runner.decide(np.full((1, SIZE, SIZE, 3), 128, "uint8"))[1][0]
    assert run.main([str(path), str(tmp_path / "in.png"), str(tmp_path / "gray.png")]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].startswith(f"{tmp_path / 'in.png'}: {'835'[trained.labels[0]]} ")
    assert ("none of these (" in shown[2]) == gray


DEVICE = """
import sys
import numpy as np
from keras_seqpar.mobile import Runner
np.save(sys.argv[3], Runner(sys.argv[1]).decide(np.load(sys.argv[2]))[1])
"""


def test_tflite_runtime_decides_the_same(
    tflite_runtime_python, root, files, stored, outside, tmp_path
):
    outside = clearly(stored["energy"], outside)
    np.save(tmp_path / "in.npy", outside)
    for kind in ("float32", "int8"):
        path = files[kind, "energy"].path
        command = [tflite_runtime_python, "-c", DEVICE, path, "in.npy", "out.npy"]
        subprocess.run(
            list(map(str, command)),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root)},
            check=True,
        )
        none = mobile.Runner(path).decide(outside)[1]
        assert np.array_equal(np.load(tmp_path / "out.npy"), none)
