"""Branch packs: files that fit bit for bit, of every network that can be packed."""

import os

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.export.packs import branches
from keras_seqpar.mobile.export.packs.adding import add_branch
from keras_seqpar.mobile.export.packs.packing import pack
from keras_seqpar.mobile.format.pack_files import remove_branch
from keras_seqpar.mobile.runtime.manifest import read_manifest
from keras_seqpar.mobile.runtime.pack_runner import PackRunner
from tests import harness
from tests.mobile import conftest
from tests.mobile.clients import noise
from tests.mobile.packs import contents, grown, network, scores_of
from tests.mobile.packs import part as part_path

pytestmark = pytest.mark.only_backend("tensorflow")


def test_int8_agrees_with_one_file_and_with_keras(trained, trained_pack, pack_digits, tmp_path):
    calibration, images, labels = pack_digits
    options = {"quantization": "int8", "calibration": calibration, "input_dtype": "uint8"}
    runner = PackRunner(trained_pack)
    for net, names in ((trained.net, None), (trained.cutout, conftest.KEPT)):
        fused = mobile.Runner(mobile.convert(net, tmp_path / "fused.tflite", **options).path)
        own = images[np.isin(labels, names or labels)]
        scores = runner(own, names)
        assert scores.shape == (len(own), len(names or conftest.CATEGORIES))
        assert scores.dtype == np.float32
        assert np.mean(scores.argmax(-1) == fused(own).argmax(-1)) >= 0.995
        wanted = scores_of(net, own)
        assert np.mean(scores.argmax(-1) == wanted.argmax(-1)) >= 0.99
        assert np.abs(scores - wanted).max() <= 0.15


def test_float32_equals_keras(packs):
    images = noise(9, seed=3)
    runner = PackRunner(packs["float32"])
    assert harness.error(runner(images), scores_of(network(), images)) < 1e-5
    for names in (["tug", "cat"], ["ships"], ["pets", "car"]):
        wanted = scores_of(sp.cutout(network(), names), images)
        assert harness.error(runner(images, names), wanted) < 1e-5


def test_int8_files_fit_bit_for_bit(packs):
    """As any client of LiteRT sees them."""
    from ai_edge_litert.interpreter import Interpreter

    def ends(file):
        engine = Interpreter(str(packs["int8"] / file))
        (taken,), (given,) = engine.get_input_details(), engine.get_output_details()
        return taken, given

    def traits(detail):
        parameters = detail["quantization_parameters"]
        scale = parameters["scales"].tobytes(), parameters["zero_points"].tolist()
        return detail["name"], detail["dtype"], detail["shape"].tolist(), scale

    trunk = ends(part_path(packs["int8"], "trunk.tflite").name)
    assert trunk[0]["name"] == "image"
    manifest = read_manifest(packs["int8"])
    for node, feeder, part in manifest.feeds():
        taken, given = ends(part.file)
        assert traits(taken) == traits(ends(feeder.file)[1])
        assert taken["name"] == "features" and taken["dtype"] == np.int8
        assert part.input.scale == taken["quantization"][0] and part.input.scale > 0
        assert (given["name"], given["dtype"]) == (
            ("logit", np.float32) if node.is_category else ("features", np.int8)
        )


def test_convnext_in_int8(tmp_path):
    """Its features have negatives, its normalizations stay in floats between the integers."""
    net = network(["a", "b"], family="convnext_v2_atto")
    manifest = pack(net, tmp_path / "pack", calibration=noise())
    assert manifest.trunk.output.zero_point > -128
    images = noise(40, seed=1)
    assert np.abs(PackRunner(tmp_path / "pack")(images) - scores_of(net, images)).max() < 0.1


@pytest.mark.parametrize("activation", ["sigmoid", None, "linear"])
def test_other_activations(tmp_path, activation):
    net = sp.with_activation(network(["a", "b"]), activation)
    pack(net, tmp_path / "pack", quantization="float32")
    images = noise(5)
    assert harness.error(PackRunner(tmp_path / "pack")(images), scores_of(net, images)) < 1e-5


def test_other_networks(tmp_path):
    """Normalized input, mixed precision, constant gains, labels of any kind, any size."""
    images = harness.images(harness.network(), 60)
    tree = ["naïve café", "x/y:z"]
    net = sp.attend(harness.network(tree, input_shape=(None, None, 3)), {"x/y:z": 1.5})
    manifest = pack(net, tmp_path / "a", calibration=images, image_size=(16, 16))
    assert manifest.mean == pytest.approx((123.675, 116.28, 103.53))
    runner = PackRunner(tmp_path / "a")
    assert runner.categories == tuple(tree)
    assert np.abs(runner(images) - harness.predict(net, images)).max() < 0.1
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = harness.build(["a", "b"])
    finally:
        keras.config.set_dtype_policy("float32")
    harness.randomize(half)
    pack(half, tmp_path / "b", quantization="float32")
    assert np.abs(PackRunner(tmp_path / "b")(images) - harness.predict(half, images)).max() < (0.02)


def test_networks_that_cannot_be_packed(tmp_path, monkeypatch):
    net, folder = network(["a", "b"]), tmp_path / "pack"
    plain = sp.build_plain(2, family="resnet18", input_shape=(16, 16, 3), width=0.125, stem="small")
    elu = sp.with_activation(net, "elu")
    cases = [
        ("net.keras", {}, TypeError, "got 'net.keras'"),
        (plain, {}, ValueError, "is a plain network"),
        (sp.attention_input(net), {}, ValueError, "gains input, which branch packs do not"),
        (elu, {}, ValueError, "Unknown activation of packs 'elu'.*with_activation"),
        (net, {"quantization": "dynamic"}, ValueError, "Unknown quantization of packs 'dynamic'"),
        (net, {"input_dtype": "int16"}, ValueError, "Unknown input_dtype 'int16'"),
        (net, {"quantization": "float32", "input_dtype": "uint8"}, ValueError, "needs quantiz"),
        (net, {"calibration": None}, ValueError, "needs calibration"),
        (net, {"calibration": noise() / 255.0}, ValueError, "Multiply them by 255"),
        (net, {"image_size": (8, 8)}, ValueError, "does not fit the model"),
    ]
    for model, options, error, message in cases:
        with pytest.raises(error, match=message):
            pack(model, folder, **{"calibration": noise(), **options})
    with pytest.raises(ValueError, match="The folder .*nowhere' does not exist"):
        pack(net, tmp_path / "nowhere" / "pack", calibration=noise())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for taken in ("full", "full/x"):
        with pytest.raises(ValueError, match="exists already. Choose another folder"):
            pack(net, tmp_path / taken, calibration=noise())
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="needs Keras on TensorFlow, but it runs on jax"):
        pack(net, folder, calibration=noise())
    assert sorted(os.listdir(tmp_path)) == ["full"]


def test_a_branch_quantized_otherwise_is_refused(monkeypatch, copy, tmp_path):
    """Without the sample that holds the extremes, the ranges are those of the images."""
    original = branches.feature_samples
    monkeypatch.setattr(
        branches,
        "feature_samples",
        lambda features, tensor: ([0.9 * some[0]] for some in original(features, tensor)),
    )
    before = contents(copy)
    with pytest.raises(ValueError, match="made branch_bus.tflite take int8 .* the two do not fit"):
        add_branch(copy, grown(), "bus", calibration=noise())
    assert contents(copy) == before
    with pytest.raises(ValueError, match="made branch_a.tflite take int8"):
        pack(network(["a", "b"]), tmp_path / "pack", calibration=noise())
    assert os.listdir(tmp_path) == ["copy.pack"]


def test_nothing_is_half_written(monkeypatch, copy, tmp_path):
    before = contents(copy)
    original = os.replace

    def fail(source, target):
        if str(target).endswith("manifest.json"):
            raise OSError("disk full")
        original(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        pack(network(["a", "b"]), tmp_path / "pack", quantization="float32")
    assert os.listdir(tmp_path) == ["copy.pack"]
    with pytest.raises(OSError, match="disk full"):
        add_branch(copy, grown(), "bus", calibration=noise())
    with pytest.raises(OSError, match="disk full"):
        remove_branch(copy, "pets")
    assert {name: x for name, x in contents(copy).items() if name in before} == before
    assert PackRunner(copy).categories == ("cat", "dog", "car", "ferry", "tug")
