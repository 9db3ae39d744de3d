"""Filling networks with backbones of KerasCV."""

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import weights
from keras_seqpar.families.efficientnet_lite import FAMILIES
from keras_seqpar.weights.keras_cv import NAMES
from tests import harness
from tests.weights.sources import fails, skip_initial_values


@pytest.fixture
def models():
    """KerasCV, or a skip where it is not installed."""
    return pytest.importorskip("keras_cv", exc_type=ImportError).models


@pytest.fixture(autouse=True)
def _zeros(monkeypatch):
    skip_initial_values(monkeypatch)


def backbone(models, family="efficientnet_lite0", *, size=64, rescaling=False, **options):
    """KerasCV's EfficientNet-Lite, without the download that its preset needs; random weights."""
    first, *rest = stages = FAMILIES[family].stages
    model = models.EfficientNetLiteBackbone(
        stackwise_kernel_sizes=[x.kernel for x in stages],
        stackwise_num_repeats=[x.repeats for x in stages],
        stackwise_input_filters=[32, first.channels, *(x.channels for x in rest[:-1])],
        stackwise_output_filters=[x.channels for x in stages],
        stackwise_expansion_ratios=[x.expansion for x in stages],
        stackwise_strides=[x.stride for x in stages],
        width_coefficient=1.0,
        depth_coefficient=1.0,
        include_rescaling=rescaling,
        input_shape=(size, size, 3),
        **options,
    )
    harness.randomize(model)
    return model


def plain(size=64, family="efficientnet_lite0", **options):
    return sp.build_plain(3, family=family, input_shape=(size, size, 3), **options)


def last_map(model):
    """The network up to what KerasCV's backbone returns."""
    return keras.Model(model.input, model.get_layer("pool_conv_relu").output)


@pytest.mark.parametrize("size", [64, 75])
def test_the_network_computes_what_the_backbone_computes(models, size):
    source, model = backbone(models, size=size), plain(size)
    filled = weights.from_keras_cv(model, source)
    assert filled.kept == ("logits/kernel", "logits/bias") and not filled.ignored
    x = harness.images(model)
    found, want = (harness.predict(net, x, compiled=True) for net in (last_map(model), source))
    assert harness.error(found, want) < 1e-5


@pytest.mark.only_backend("tensorflow")
def test_converted_input_differs_at_the_borders_only(models):
    source, model = backbone(models, rescaling=True), plain()
    weights.from_keras_cv(model, source)
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    ends = [("stem_bn", source, pixels),
            ("stem_conv_norm", model.get_layer("trunk"), (pixels - 127) / 128)]  # fmt: skip
    want, found = (
        harness.predict(keras.Model(net.input, net.get_layer(name).output), x)
        for name, net, x in ends
    )
    inner = slice(1, -1)
    assert harness.error(found[:, inner, inner], want[:, inner, inner]) < 1e-5
    weights.from_keras_cv(model, source, convert_input=False)
    found = harness.predict(last_map(model), pixels / 255)
    assert harness.error(found, harness.predict(source, pixels)) < 1e-5


@pytest.mark.only_backend("tensorflow")  # names are the same everywhere
def test_trunks_take_the_beginning_and_presets_are_loaded_by_name(models, monkeypatch):
    asked = []

    def from_preset(name):
        asked.append(name)
        if "b1" in name:
            raise OSError("no route to host")
        return backbone(models)

    monkeypatch.setattr(models.EfficientNetLiteBackbone, "from_preset", from_preset)
    options = {"family": "efficientnet_lite0", "input_shape": (64, 64, 3)}
    model = sp.build_phl(["a", "b"], **options)
    filled = weights.load(model, "keras_cv:efficientnetlite_b0")
    trunk = weights.named_weights(model.get_layer("trunk"))
    assert filled.names == tuple(trunk) and asked == ["efficientnetlite_b0"]
    theirs = list(weights.named_weights(backbone(models)))
    assert list(filled.ignored) == theirs[len(trunk) :]  # what comes after the trunk
    fails(ValueError, "KerasCV cannot load the preset 'efficientnetlite_b1': no route", model,
          "efficientnetlite_b1", fill=weights.from_keras_cv)  # fmt: skip
    deeper = sp.build_phl(["a"], **{**options, "family": "efficientnet_lite1"})
    text = fails(ValueError, "do not fit", deeper, backbone(models), fill=weights.from_keras_cv)
    assert "missing in the source:\n    stage2_block3_expand/kernel" in text
    assert len(NAMES) == 5


@pytest.mark.only_backend("tensorflow")
def test_other_backbones_are_refused_with_what_fits(models):
    def refused(match, source, model):
        return fails(ValueError, match, model, source, fill=weights.from_keras_cv)

    model = plain()
    text = refused("'resnet50_imagenet' is no EfficientNet-Lite of KerasCV", "resnet50_imagenet",
                   model)  # fmt: skip
    assert "efficientnetlite_b0, efficientnetlite_b1" in text and "trunk=backbone" in text
    refused("Did you mean 'efficientnetlite_b0'", "efficientnetlite_0", model)
    resnet = models.ResNetBackbone(
        stackwise_filters=[8], stackwise_blocks=[1], stackwise_strides=[1],
        include_rescaling=False, input_shape=(32, 32, 3),
    )  # fmt: skip
    refused("is no EfficientNet-Lite of KerasCV", resnet, model)
    refused(r"activation=\['silu'\].*'relu6'", backbone(models, activation="silu"), model)
    refused("has no weights in keras_cv. efficientnet_lite0, ", "x/y", harness.network(["a"]))
    with pytest.raises(TypeError, match=r"must be a keras\.Model or one of efficientnetlite_b0"):
        weights.from_keras_cv(model, {})
