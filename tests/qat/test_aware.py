"""Training with fake quantization: files of integers that compute what was trained."""

import types
import zipfile
import zlib

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from tests import harness
from tests.qat.training import CATEGORIES, SIZE, clear, fit

pytestmark = pytest.mark.only_backend("tensorflow")


@pytest.fixture(scope="module")
def calibration(digits):
    return digits.train[0][:200]


@pytest.fixture(scope="module")
def aware(trained, digits, calibration):
    """The network of the digits, trained on with fake quantization."""
    found = mobile.quantize_aware(trained, calibration)
    fit(found, digits, epochs=1, rate=1e-4)
    return found


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
def test_the_file_computes_what_was_trained(aware, trained, digits, tmp_path, dtype):
    made = mobile.convert_aware(
        aware, trained, tmp_path / "net.tflite", input_dtype=dtype, output_dtype=dtype
    )
    images, _ = digits.validation
    runner = mobile.Runner(made.path)
    scores = runner(images)
    wanted = harness.softmax(aware.predict(images, verbose=0))
    assert np.abs(scores - wanted).max() <= 0.1
    sure = clear(wanted)
    assert np.array_equal(scores.argmax(-1)[sure], wanted.argmax(-1)[sure]) and sure.any()
    back = mobile.from_tf_keras(aware, trained)
    report = mobile.verify(made.path, back, images[sure]).check()
    assert report.quantization == made.quantization == "int8"
    assert runner.input_dtype == dtype
    if dtype != "float32":
        zero = {"uint8": 0, "int8": -128}[dtype]
        assert runner._image["quantization"] == (1.0, zero)  # pixels as they are
        assert runner._scores["quantization"] == (1 / 256, zero)


def test_all_is_integers_and_nothing_is_rescaled(aware, trained, calibration, tmp_path):
    integers = {"input_dtype": "uint8", "output_dtype": "uint8"}
    made = mobile.convert_aware(aware, trained, tmp_path / "aware.tflite", **integers)
    post = mobile.convert(
        trained,
        tmp_path / "post.tflite",
        quantization="int8",
        calibration=calibration,
        **integers,
    )
    from ai_edge_litert.interpreter import Interpreter

    engine = Interpreter(str(made.path))
    details = engine.get_tensor_details()
    assert {str(np.dtype(d["dtype"])) for d in details} == {"int8", "int32", "uint8"}
    scales = [len(d["quantization_parameters"]["scales"]) for d in details]
    assert sum(n > 1 for n in scales) >= 2 * made.operations["CONV_2D"] - 1  # kernels and biases
    # The two at the ends; the normalization is a convolution and not two operations.
    assert made.operations["QUANTIZE"] == 2
    assert made.operations["CONV_2D"] == post.operations["CONV_2D"] + 1
    assert "MUL" not in made.operations and "DEQUANTIZE" not in made.operations
    assert made.bytes <= 1.05 * post.bytes


def test_without_training_it_is_post_training_quantization(trained, digits, calibration, tmp_path):
    aware = mobile.quantize_aware(trained, calibration)
    files = {
        "aware": mobile.convert_aware(aware, trained, tmp_path / "aware.tflite"),
        "post": mobile.convert(
            trained, tmp_path / "post.tflite", quantization="int8", calibration=calibration
        ),
    }
    images, labels = digits.validation
    reports = {k: mobile.verify(f.path, trained, images, labels) for k, f in files.items()}
    assert reports["aware"].check().mean_error <= 1.5 * reports["post"].mean_error
    assert reports["aware"].agreement == reports["post"].agreement == 1  # see `trained`


def test_training_starts_from_the_networks_ranges(trained, calibration):
    """tfmot's own start, -6 to 6, would round features of 0 to 1 to a dozen values."""
    aware = mobile.quantize_aware(trained, calibration)
    values = {v.name.partition(":")[0]: v.numpy() for v in aware.weights}
    first = aware.layers[1].name
    assert values[f"{first}/{first}_min"] == 0 and values[f"{first}/{first}_max"] == 255
    kernel = trained.get_layer("trunk").get_layer("stem_conv").kernel.numpy()
    most = np.abs(kernel).max(axis=(0, 1, 2))
    np.testing.assert_allclose(values["quant_stem_conv/kernel_max"], most, rtol=1e-6)
    np.testing.assert_allclose(values["quant_stem_conv/kernel_min"], -most, rtol=1e-6)
    trunk = trained.get_layer("trunk")
    relu = keras.Model(trunk.inputs[0], trunk.get_layer("stem_conv_relu").output)
    found = harness.predict(relu, calibration)
    assert values["quant_stem_conv_relu/output_min"] == 0
    np.testing.assert_allclose(values["quant_stem_conv_relu/output_max"], found.max(), rtol=1e-5)


def test_the_file_describes_itself(aware, trained, tmp_path):
    made = mobile.convert_aware(
        aware, trained, tmp_path / "net.tflite", author="A. Author", license="Apache-2.0"
    )
    about = mobile.Runner(made.path).about
    assert about["quantization"] == "int8" and about["quantizer"] == "aware"
    assert about["activation"] == "softmax"
    assert about["mean"] == [0.0] * 3 and about["std"] == [1.0] * 3
    assert mobile.Runner(made.path).labels == CATEGORIES
    assert made.labels_path.read_text().split() == list(CATEGORIES)
    with zipfile.ZipFile(made.path) as inside:
        assert sorted(inside.namelist()) == ["hierarchy.json", "labels.txt"]
    assert b"A. Author" in made.path.read_bytes()


def test_frozen_layers_do_not_learn(trained, digits, calibration):
    model = sp.cutout(trained, CATEGORIES[:2], copy=True)
    model.get_layer("trunk").trainable = False
    aware = mobile.quantize_aware(model, calibration)
    chosen = digits.train[1] < 2
    part = types.SimpleNamespace(train=(digits.train[0][chosen][:64], digits.train[1][chosen][:64]))
    fit(aware, part, epochs=1, rate=1e-2)
    back = mobile.from_tf_keras(aware, model)
    for name in ("trunk", "branch_c3"):
        pairs = (harness.values(m.get_layer(name)) for m in (model, back))
        assert harness.same_values(*pairs) == (name == "trunk")


def test_normalized_input_gains_and_nesting(tmp_path):
    tree = {"animals": ["cat", "dog"], "vehicles": ["car", "bus"]}
    model = sp.attend(harness.network(tree, size=SIZE), {"cat": 2.0, "vehicles": 0.5})
    images = harness.images(model, 64)
    aware = mobile.quantize_aware(model, images)
    made = mobile.convert_aware(aware, model, tmp_path / "net.tflite", batch_size=4)
    report = mobile.verify(made.path, model, images, max_error=0.2, min_agreement=0.9)
    assert report.check() and mobile.Runner(made.path).input_shape == (4, SIZE, SIZE, 3)


def same_scores(twin, model, digits):
    """What was trained is what came back, whatever the training on this machine has given."""
    images, _ = digits.validation
    wanted = harness.softmax(twin.predict(images, verbose=0))
    assert np.abs(harness.predict(model, images) - wanted).max() <= 1e-5


def test_pruned_networks_zip_to_less(trained, digits, tmp_path, calibration):
    import tensorflow_model_optimization as tfmot

    steps = -(-len(digits.train[0]) // 32)
    pruned = mobile.prune(mobile.to_tf_keras(trained, logits=True), 0.6, steps=steps)
    fit(
        pruned,
        digits,
        epochs=1,
        rate=1e-3,
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
    )
    small = mobile.from_tf_keras(mobile.strip(pruned), trained)
    layers = [x for x in harness.leaves(small) if isinstance(x, keras.layers.Conv2D)]
    for layer in layers:
        assert np.mean(layer.kernel.numpy() == 0) == pytest.approx(0.6, abs=0.02)
    same_scores(mobile.strip(pruned), small, digits)
    sizes = [
        len(zlib.compress(made.path.read_bytes()))
        for made in (
            mobile.convert(
                model, tmp_path / "a.tflite", quantization="int8", calibration=calibration
            )
            for model in (small, trained)
        )
    ]
    assert sizes[0] < 0.85 * sizes[1]


def test_clustered_networks_have_few_values(trained, digits):
    clustered = mobile.cluster(mobile.to_tf_keras(trained, logits=True), 8)
    fit(clustered, digits, epochs=1, rate=1e-4)
    small = mobile.from_tf_keras(mobile.strip(clustered), trained)
    for layer in harness.leaves(small):
        if isinstance(layer, keras.layers.Conv2D):
            assert len(np.unique(layer.kernel.numpy())) <= 8
    same_scores(mobile.strip(clustered), small, digits)


def test_what_is_refused(aware, trained, calibration, tmp_path):
    path = tmp_path / "net.tflite"
    with pytest.raises(ValueError, match="needs calibration: some hundred real images"):
        mobile.quantize_aware(trained, None)
    with pytest.raises(ValueError, match="no real images"):
        mobile.quantize_aware(trained, calibration[:60] * 0 + 9)
    with pytest.raises(ValueError, match=r"must have the shape \(n, 32, 32, 3\)"):
        mobile.quantize_aware(trained, calibration[:, :16])
    convnext = harness.network(["a", "b"], family="convnext_v2_atto", size=SIZE)
    with pytest.raises(ValueError, match="not ConvNeXt V2"):
        mobile.quantize_aware(convnext, calibration)
    image = keras.Input((SIZE, SIZE, 3))
    alone = keras.layers.BatchNormalization(name="alone")
    with pytest.raises(ValueError, match="'alone' follows 'image', a InputLayer"):
        mobile.quantize_aware(keras.Model(image, alone(image)), calibration)
    with pytest.raises(TypeError, match="what keras_seqpar.mobile.quantize_aware returned"):
        mobile.convert_aware(trained, trained, path)
    with pytest.raises(ValueError, match="has no fake quantization"):
        mobile.convert_aware(mobile.to_tf_keras(trained), trained, path)
    with pytest.raises(ValueError, match="was not made of the network"):
        mobile.convert_aware(aware, sp.cutout(trained, ["3", "5"]), path)
    logits = np.random.default_rng(0).normal(size=(20, 3))
    stored = sp.with_threshold(trained, sp.fit_threshold(logits))
    with pytest.raises(ValueError, match=r"with_threshold\(model, None\)"):
        mobile.convert_aware(aware, stored, path)
    with pytest.raises(ValueError, match="must end in .tflite"):
        mobile.convert_aware(aware, trained, tmp_path / "net.lite")
    with pytest.raises(ValueError, match="Unknown input_dtype 'int4'"):
        mobile.convert_aware(aware, trained, path, input_dtype="int4")
    with pytest.raises(ValueError, match="sparsity must be a share above 0 and below 1, got 1"):
        mobile.prune(aware, 1, steps=10)
    with pytest.raises(ValueError, match="steps must be a whole number of 2 or more, got 1"):
        mobile.prune(aware, 0.5, steps=1)
    with pytest.raises(ValueError, match="clusters must be a whole number of 2 or more, got 1"):
        mobile.cluster(aware, 1)
    assert not path.exists()
