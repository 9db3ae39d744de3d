"""Filling networks with the ResNets of keras.applications."""

import functools
import types
from unittest import mock

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import weights
from keras_seqpar.families.base import IMAGENET_MEAN, IMAGENET_STD
from tests import harness
from tests.weights.sources import build, fails, fixed, skip_initial_values


@pytest.fixture(autouse=True)
def _zeros(monkeypatch):
    skip_initial_values(monkeypatch)


def _zeros_of(self, shape, dtype=None):
    return keras.ops.zeros(shape, dtype)


@functools.cache
def keras_net() -> keras.Model:
    """keras.applications.ResNet50 with random weights; logits."""
    with mock.patch.object(keras.initializers.GlorotUniform, "__call__", _zeros_of):
        base = keras.applications.ResNet50(
            weights=None, include_top=False, pooling="avg", input_shape=(None, None, 3)
        )
    logits = keras.layers.Dense(10, name="predictions")(base.output)
    net = keras.Model(base.input, logits, name="resnet50")
    harness.randomize(net)
    return net


@functools.cache
def ours_from_keras(convert_input: bool) -> keras.Model:
    """The plain network with the weights of `keras_net`; logits."""
    model = build(
        "resnet50",
        family="resnet50_v1",
        plain=True,
        width=1.0,
        input_shape=(None, None, 3),
        classifier_activation=None,
    )
    report = weights.from_keras_applications(model, keras_net(), convert_input=convert_input)
    assert report.source == "keras.applications:resnet50"
    assert len(report.names) == len(model.weights) and not report.kept and not report.ignored
    return model


def outputs_of(model, names):
    return keras.Model(model.input, [model.get_layer(name).output for name in names])


@pytest.mark.parametrize("size", [(64, 64), (71, 97)])
def test_the_v1_network_computes_what_keras_computes(size):
    model = ours_from_keras(False)
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32") * 60
    ends = [f"conv{i}_block{n}_out" for i, n in ((2, 3), (3, 4), (4, 6), (5, 3))]
    want = outputs_of(keras_net(), [*ends, "avg_pool", "predictions"])(x, training=False)
    ends = [f"stage{i}_block{n}_relu" for i, n in ((1, 3), (2, 4), (3, 6), (4, 3))]
    found = outputs_of(model.get_layer("trunk"), ends)(x, training=False)
    found += outputs_of(model, ["pool", "logits"])(x, training=False)
    for a, b in zip(found, want, strict=True):
        assert harness.error(harness.array(a), harness.array(b)) < 1e-4


def test_converted_input_differs_at_the_borders_only():
    """What the mean colors differ by meets padding with zeros there, and nowhere else."""
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    theirs = keras.applications.resnet.preprocess_input(pixels.copy())
    ours = (pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD
    want = harness.predict(outputs_of(keras_net(), ["conv1_bn"]), theirs)
    trunk = ours_from_keras(True).get_layer("trunk")
    found = harness.predict(outputs_of(trunk, ["stem_conv_norm"]), ours.astype("float32"))
    inner = slice(2, -2)
    assert harness.error(found[:, inner, inner], want[:, inner, inner]) < 1e-5
    assert 1e-5 < harness.error(found, want) < 1e-2
    logits = harness.predict(keras_net(), theirs)
    assert (
        harness.error(harness.predict(ours_from_keras(True), ours.astype("float32")), logits) < 0.01
    )


def test_the_place_of_the_stride_is_no_detail():
    """Why the weights of Keras are refused by networks with timm's arithmetic."""
    v1 = ours_from_keras(False)
    timms = build("resnet50", plain=True, width=1.0, classifier_activation=None)
    text = fails(ValueError, "do not fit", timms, v1, fill=lambda a, b: weights.copy_weights(b, a))
    assert "9 layers that compute something else:\n    stage2_block1_conv1: strides" in text
    for key, variable in weights.named_weights(v1).items():
        weights.named_weights(timms)[key].assign(harness.array(variable))
    x = harness.images(timms)
    assert harness.error(harness.predict(timms, x), harness.predict(v1, x)) > 0.1
    text = fails(
        ValueError, "strides in 3x3", timms, keras_net(), fill=weights.from_keras_applications
    )
    assert "Build the family resnet50_v1, resnet101_v1 or resnet152_v1" in text


@pytest.mark.only_backend("torch")  # names are the same everywhere, torch builds quickest
def test_the_deeper_nets_of_keras_fit():
    net = keras.applications.ResNet101(weights=None, include_top=False)
    model = build("resnet101", family="resnet101_v1", width=1.0)
    report = weights.from_keras_applications(model, net)
    assert report.names == tuple(weights.named_weights(model.get_layer("trunk")))
    assert all(name.startswith("conv5_block") for name in report.ignored)


def test_counts_of_v1_are_those_of_timms_arithmetic_with_fewer_macs():
    v1, ours = (
        sp.cost(build("resnet50", plain=True, family=f)) for f in ("resnet50_v1", "resnet50")
    )
    assert v1.params == ours.params
    assert v1.macs < ours.macs


def test_other_networks_of_keras_are_refused():
    def refused(match, source):
        model = fixed("resnet50", family="resnet50_v1")
        return fails(ValueError, match, model, source, fill=weights.from_keras_applications)

    assert "Use from_timm" in refused("is a ConvNeXt of the first version", "ConvNeXtTiny")
    assert "Use ResNet50," in refused("is a ResNet V2", "ResNet50V2")
    assert "Did you mean 'ResNet50'" in refused("Unknown network", "resnet50")
    inputs = keras.Input((8, 8, 3))
    for name, match in (
        ("convnext_base", "of the first version"),
        ("resnet101v2", "is a ResNet V2"),
        ("mine", r"'mine' is no ResNet of keras.applications: ResNet50, ResNet101, ResNet152 fit"),
    ):
        refused(match, keras.Model(inputs, keras.layers.ReLU()(inputs), name=name))
    text = refused("do not fit", keras_net())  # of full width
    assert "stem_conv/kernel: (7, 7, 3, 64) given, (7, 7, 3, 8) wanted" in text
    with pytest.raises(TypeError, match=r"must be a keras\.Model or one of ResNet50, "):
        weights.from_keras_applications(fixed("resnet50", family="resnet50_v1"), {})


def test_names_of_keras_are_downloaded(monkeypatch):
    asked = []

    def create(include_top):
        asked.append(include_top)
        if len(asked) == 3:
            raise OSError("no route to host")
        return net

    net = keras_net()
    monkeypatch.setattr(keras.applications, "ResNet50", create)
    model = build("resnet50", family="resnet50_v1", width=1.0)
    assert weights.load(model, "keras:ResNet50").names[0] == "stem_conv/kernel"
    plain = build("resnet50", family="resnet50_v1", width=1.0, plain=True)
    weights.from_keras_applications(plain, "ResNet50")
    assert asked == [False, True]
    fails(ValueError, "cannot load the ImageNet weights of ResNet50: no route", model,
          "ResNet50", fill=weights.from_keras_applications)  # fmt: skip


def test_only_color_input_is_converted():
    net = types.SimpleNamespace(name="gray")
    from keras_seqpar.weights.keras_applications import _convert_input

    with pytest.raises(ValueError, match="'gray' takes 1 channels.*Give convert_input=False"):
        _convert_input({"stem_conv/kernel": np.zeros((7, 7, 1, 64))}, net)
