"""Networks on trunks that this package did not build."""

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import selective, weights
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.features import split_branch
from tests import harness

MOBILE = {"family": "efficientnet_lite0", "width": 0.25}
TREE = {"pets": ["cat", "dog"], "car": None}


def mobilenet(size=48):
    return keras.applications.MobileNetV3Small(
        (size, size, 3), weights=None, include_top=False, alpha=0.75, minimalistic=True
    )


def keras_cv_backbone():
    keras_cv = pytest.importorskip("keras_cv", exc_type=ImportError)
    return keras_cv.models.ResNetBackbone(
        stackwise_filters=[8, 16],
        stackwise_blocks=[1, 1],
        stackwise_strides=[1, 2],
        include_rescaling=True,
        input_shape=(32, 32, 3),
    )


def own():
    image = keras.Input((24, 24, 3))
    x = keras.layers.Conv2D(8, 3, 2, padding="same", name="first", activation="relu")(image)
    x = keras.layers.SeparableConv2D(12, 3, padding="same", name="second")(x)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(5, name="head")(pooled), name="mine")


def test_a_network_on_mobilenet_holds_all_contracts(tmp_path):
    trunk = mobilenet()
    model = sp.build_nhl(TREE, trunk=trunk, include_preprocessing=True, **MOBILE)
    assert model.name == "nhl_" + trunk.name and model.input_shape == trunk.input_shape
    harness.randomize(model)
    harness.check_network(model, tmp_path)
    x = harness.images(model)
    want = harness.logits(model, x)
    cut = sp.cutout(model, ["car", "cat"])
    assert harness.error(harness.logits(cut, x), want[:, [2, 0]]) < 1e-6
    assert harness.error(harness.logits(sp.cutout(harness.reload(cut, tmp_path), ["cat"]), x),
                         want[:, :1]) < 1e-6  # fmt: skip
    assert sp.cost(cut).macs < sp.cost(model).macs
    louder = harness.logits(sp.attend(model, {"cat": 2.0}), x)
    assert np.abs(louder - want)[:, 0].max() > 1e-4
    assert harness.error(louder[:, 1:], want[:, 1:]) < 1e-6
    assert find_parts(model).build.trunk == trunk.name
    assert len(split_branch(model, "cat")) == 2


@pytest.mark.only_backend("tensorflow")  # KerasCV's backbones are Keras models on all of them
def test_a_backbone_of_keras_cv_is_a_trunk(tmp_path):
    model = sp.build_phl(["cat", "dog"], trunk=keras_cv_backbone(), plan="small", **MOBILE)
    harness.randomize(model)
    harness.check_network(model, tmp_path)
    cut = sp.cutout(model, ["dog"])
    x = harness.images(model)
    assert harness.error(harness.logits(cut, x), harness.logits(model, x)[:, 1:]) < 1e-6


def test_a_trunk_ends_where_it_is_told_to_and_shares_its_weights():
    model = own()
    net = sp.build_phl(["a", "b"], trunk=model, trunk_end="first", plan="small", **MOBILE)
    assert net.get_layer("trunk").output_shape == (None, 12, 12, 8)
    assert net.get_layer("trunk").get_layer("first") is model.get_layer("first")
    assert net.name == "phl_mine" and net.input_shape == (None, 24, 24, 3)


@pytest.mark.only_backend("tensorflow")
def test_streams_run_networks_on_trunks_of_others():
    model = sp.build_phl(["a", "b"], trunk=own(), trunk_end="second", plan="small", **MOBILE)
    harness.randomize(model)
    camera = selective.stream(model, engine="keras")
    frame = np.random.default_rng(0).normal(size=(24, 24, 3)).astype("float32")
    camera(frame)
    frame[3:6, 4:9] += 1
    assert harness.error(camera(frame).output, harness.predict(model, frame[None])) < 1e-5


def test_trunks_that_cannot_be_say_why():
    build = sp.build_phl
    with pytest.raises(TypeError, match=r"trunk must be a keras\.Model, got 'resnet50'"):
        build(["a"], trunk="resnet50")
    with pytest.raises(TypeError, match=r"trunk must be a keras\.Model, got None"):
        build(["a"], trunk_end="first")
    with pytest.raises(ValueError, match=r"ends in \(None, 5\).*last layer with a map is 'second'"):
        build(["a"], trunk=own())
    with pytest.raises(ValueError, match="Unknown layer 'frist'.*first"):
        build(["a"], trunk=own(), trunk_end="frist")
    with pytest.raises(ValueError, match=r"input_shape is \(32, 32, 3\), but the trunk takes"):
        build(["a"], trunk=own(), trunk_end="first", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="weights fill a trunk of the family"):
        build(["a"], trunk=own(), trunk_end="first", weights="imagenet")
    vector = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)], name="dense")
    with pytest.raises(ValueError, match="takes one image, .* but 'dense' takes"):
        build(["a"], trunk=vector)
    net = build(["a"], trunk=own(), trunk_end="first", plan="small", **MOBILE)
    with pytest.raises(ValueError, match="is of the model 'mine', not of a family"):
        sp.plain_twin(net)
    with pytest.raises(ValueError, match="weights"):
        weights.load(net, "imagenet")
