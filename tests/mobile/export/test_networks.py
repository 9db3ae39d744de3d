"""Networks of every kind become files."""

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from tests import harness
from tests.mobile.clients import interpreter, noise
from tests.mobile.networks import SIZE, external, network

pytestmark = pytest.mark.only_backend("tensorflow")


def test_constant_gains_and_nested_networks(tmp_path):
    tree = {"pets": ["cat", "dog"], "vehicles": ["car", "bus"], "sky": None}
    net = harness.network(tree, include_preprocessing=True)
    net = sp.cutout(sp.attend(net, {"pets": 1.5, "car": 0.5}), ["dog", "sky", "car"])
    made = mobile.convert(net, tmp_path / "nested.tflite", quantization="float32")
    mobile.verify(made.path, net, noise(20)).check()


@pytest.mark.kernels
@pytest.mark.parametrize("kind", ["float32", "float16", "dynamic"])
def test_gains_input(tmp_path, kind):
    net = sp.attention_input(network(3))
    made = mobile.convert(net, tmp_path / "gains.tflite", quantization=kind)
    runner = mobile.Runner(made.path)
    images = noise(60)
    mobile.verify(made.path, net, images).check()
    assert [d["name"] for d in interpreter(made.path).get_input_details()] == ["image", "gains"]
    gains = np.array([0.2, 3.0, 1.0], "float32")
    wanted = harness.predict(net, images.astype("float32"), np.tile(gains, (60, 1)))
    bound = mobile.BOUNDS[kind].max_error
    assert np.abs(runner(images, gains) - wanted).max() < bound
    assert np.abs(runner(images) - wanted).max() > bound  # neutral is another thing
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(2,\)"):
        runner(images, gains[:2])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_becomes_float32(tmp_path, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        net = harness.build(harness.LABELS[:2], include_preprocessing=True)
    finally:
        keras.config.set_dtype_policy(before)
    harness.randomize(net)
    assert any(layer.compute_dtype != "float32" for layer in harness.leaves(net))
    made = mobile.convert(net, tmp_path / "mixed.tflite", quantization="float32")
    assert not {"CAST", "DEQUANTIZE"} & set(made.operations)
    types = {detail["dtype"] for detail in interpreter(made.path).get_tensor_details()}
    assert types <= {np.float32, np.int32}
    mobile.verify(made.path, net, noise(20)).check()
    twin = network()
    twin = sp.cutout(twin, harness.LABELS[:2], copy=True)
    sp.copy_weights(net, twin)
    mobile.verify(made.path, twin, noise(20)).check()


def test_normalized_input(tmp_path):
    net = harness.network(harness.LABELS[:2])
    images = mobile.from_pixels(net, noise())
    assert images.dtype == np.float32 and 1 < np.abs(images).max() < 3
    with pytest.warns(UserWarning, match="uint8 images are no pixels: MediaPipe .*preprocessing"):
        made = mobile.convert(
            net,
            tmp_path / "net.tflite",
            quantization="int8",
            calibration=images,
            input_dtype="uint8",
        )
    runner = mobile.Runner(made.path)
    assert runner.about["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert runner.about["std"] == pytest.approx([58.395, 57.12, 57.375])
    mobile.verify(made.path, net, images).check()


@pytest.mark.kernels
def test_plain_network(tmp_path):
    net = sp.build_plain(
        ["cat", "dog"],
        family="resnet18",
        input_shape=(SIZE, SIZE, 3),
        width=0.125,
        stem="small",
        include_preprocessing=True,
        seed=0,
    )
    made = mobile.convert(net, tmp_path / "plain.tflite", quantization="float32")
    assert made.labels_path.read_text() == "cat\ndog\n"
    mobile.verify(made.path, net, noise(8)).check()


LABELS = ["C", "C++", "C#", "3", "C3", "猫1", "犬1", "👍🏽", "café", "x" * 300, "con", "..."]


def test_labels_of_all_kinds_travel_with_the_network(tmp_path):
    harness.network({"all": LABELS[:-1], LABELS[-1]: None}, include_preprocessing=True).save(
        tmp_path / "net.keras"
    )
    net = keras.models.load_model(tmp_path / "net.keras")
    images = noise(2)
    scores = harness.predict(net, images.astype("float32"))
    made = mobile.convert(net, tmp_path / "net.tflite", quantization="float32")
    runner = mobile.Runner(made.path)
    assert list(runner.labels) == LABELS
    assert made.labels_path.read_text("utf-8").split("\n") == [*LABELS, ""]
    assert harness.error(runner(images), scores) < 1e-5


def test_labels_of_all_kinds_travel_in_a_pack(tmp_path):
    labels = ["C", "C++", "c", "猫", "x" * 300, "café"]
    net = harness.network(labels, include_preprocessing=True)
    manifest = mobile.pack(net, tmp_path / "pack", quantization="float32")
    images = noise(1)
    assert manifest.hierarchy.categories == mobile.PackRunner(tmp_path / "pack").categories
    for names in (labels[::-1], ["cafe\u0301", "C++"]):
        wanted = harness.predict(sp.cutout(net, names), images.astype("float32"))
        assert harness.error(mobile.PackRunner(tmp_path / "pack", names)(images), wanted) < 1e-5
    mobile.remove_branch(tmp_path / "pack", "cafe\u0301")
    assert mobile.PackRunner(tmp_path / "pack").categories == tuple(labels[:-1])


def test_networks_from_elsewhere_lose_their_labels(tmp_path):
    net = external()
    with pytest.warns(UserWarning, match="'other' is no network of this package.*no labels"):
        made = mobile.convert(net, tmp_path / "a.tflite", quantization="float32")
    assert made.labels_path is None and "no labels" in str(made)
    assert mobile.Runner(made.path).labels is None
    assert "mean" not in mobile.Runner(made.path).about
    mobile.verify(made.path, net, noise(8)).check()
    made = mobile.convert(net, tmp_path / "b.tflite", labels=["a", "b", "c", "größer"])
    assert mobile.Runner(made.path).labels == ("a", "b", "c", "größer")
    mobile.convert(net, tmp_path / "c.tflite", labels=False)
    assert not (tmp_path / "c.labels.txt").exists()


def test_batches_and_images_of_any_size(tmp_path):
    net = network(2, input_shape=(None, None, 3))
    with pytest.raises(ValueError, match=r"any size.*image_size=\(height, width\)"):
        mobile.convert(net, tmp_path / "a.tflite")
    made = mobile.convert(
        net,
        tmp_path / "a.tflite",
        quantization="int8",
        calibration=noise(50),
        batch_size=4,
        image_size=(16, 16),
    )
    runner = mobile.Runner(made.path)
    assert runner.input_shape == (4, 16, 16, 3)
    images = noise(7)
    assert np.array_equal(runner(images)[5], runner(images[5:6])[0])
    mobile.verify(made.path, net, images, min_agreement=0.5).check()
    with pytest.raises(ValueError, match=r"image_size \(16, 32\) does not fit.*16 x 16"):
        mobile.convert(network(), tmp_path / "a.tflite", image_size=(16, 32))
    for size in (16, (0, 16), (16.0, 16), "ab"):
        with pytest.raises(ValueError, match="image_size must be 2 whole numbers of 1 or more"):
            mobile.convert(net, tmp_path / "a.tflite", image_size=size)
