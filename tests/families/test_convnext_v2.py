import math

import keras
import numpy as np
import pytest
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view

import keras_seqpar as sp
from keras_seqpar.families.base import Initializers
from keras_seqpar.families.convnext_v2 import FAMILIES, ConvNeXtV2, Stage
from keras_seqpar.families.layers import GlobalResponseNorm, StochasticDepth
from tests import harness

# Millions of parameters and GMACs (called FLOPs there) at 224 pixels with 1,000 categories:
# the table of results of the reference code of arXiv 2301.00808.
PUBLISHED = {
    "convnext_v2_atto": (3.7, 0.55),
    "convnext_v2_femto": (5.2, 0.78),
    "convnext_v2_pico": (9.1, 1.37),
    "convnext_v2_nano": (15.6, 2.45),
    "convnext_v2_tiny": (28.6, 4.47),
    "convnext_v2_base": (89, 15.4),
    "convnext_v2_large": (198, 34.4),
    "convnext_v2_huge": (660, 115),
}
ATTO = {"family": "convnext_v2_atto", "width": 0.4}  # 16 channels in the first stage


def test_families_are_complete():
    assert list(FAMILIES) == list(PUBLISHED)


@pytest.mark.only_backend("torch")  # the one that can build without allocating
@pytest.mark.parametrize("family", PUBLISHED)
def test_counts_are_the_published_ones(family):
    params, gmacs = PUBLISHED[family]
    with keras.device("meta"):
        counted = sp.cost(sp.build_plain(1000, family=family))
    assert abs(counted.params / 1e6 - params) < max(0.06, 0.005 * params)
    assert abs(counted.macs / 1e9 - gmacs) < 0.01 * gmacs


@pytest.mark.only_backend("torch")  # what is built is the same everywhere
def test_the_arithmetic_is_timms():
    model = sp.build_plain(2, family="convnext_v2_atto", width=0.2, input_shape=(32, 32, 3))
    layers = list(harness.leaves(model))
    convolutions = [x for x in layers if isinstance(x, keras.layers.Conv2D)]
    depthwise = [x for x in layers if isinstance(x, keras.layers.DepthwiseConv2D)]
    assert len(depthwise) == 12
    assert len(convolutions) == 1 + 3 + 2 * 12
    assert all(x.use_bias for x in (*convolutions, *depthwise))
    assert {x.kernel_size for x in depthwise} == {(7, 7)}
    strided = {x.name: (x.strides, x.kernel_size) for x in convolutions if x.strides != (1, 1)}
    assert strided == {
        "stem_conv": ((4, 4), (4, 4)),
        **{f"stage{i}_down": ((2, 2), (2, 2)) for i in (2, 3, 4)},
    }
    norms = [x for x in layers if isinstance(x, keras.layers.LayerNormalization)]
    assert len(norms) == 1 + 3 + 12 + 1
    responses = [x for x in layers if isinstance(x, GlobalResponseNorm)]
    assert len(responses) == 12
    assert {x.epsilon for x in (*norms, *responses)} == {1e-6}
    for x in (*convolutions, *depthwise):
        kernel = harness.array(x.kernel)
        assert 0.012 < kernel.std() < 0.028 and np.abs(kernel).max() <= 0.04 + 1e-6
    block = [x.name.removeprefix("stage1_block1_") for x in layers if "stage1_block1_" in x.name]
    assert block == ["depthwise", "norm", "conv1", "gelu", "grn", "conv2", "add"]


def reference(model, x, repeats, small):
    """The features before pooling and the logits, in double precision from named weights."""
    named = {
        f"{layer.name}/{w.name}": harness.array(w).astype("float64")
        for layer in harness.leaves(model)
        for w in layer.weights
    }

    def conv(x, name, stride=1, pad=0):
        kernel = named[f"{name}/kernel"]
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        windows = sliding_window_view(x, kernel.shape[:2], axis=(1, 2))[:, ::stride, ::stride]
        return np.einsum("bhwcij,ijco->bhwo", windows, kernel) + named[f"{name}/bias"]

    def depthwise(x, name):
        x = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
        windows = sliding_window_view(x, (7, 7), axis=(1, 2))
        kernel = named[f"{name}/kernel"][..., 0]
        return np.einsum("bhwcij,ijc->bhwc", windows, kernel) + named[f"{name}/bias"]

    def norm(x, name):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        scale, shift = named[f"{name}/gamma"], named[f"{name}/beta"]
        return (x - mean) / np.sqrt(variance + 1e-6) * scale + shift

    def gelu(x):
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    def response(x, name):
        norms = np.linalg.norm(x, axis=(1, 2), keepdims=True)
        factor = norms / (norms.mean(-1, keepdims=True) + 1e-6)
        return x + named[f"{name}/gamma"] * x * factor + named[f"{name}/beta"]

    x = conv(x.astype("float64"), "stem_conv", *((1, 1) if small else (4, 0)))
    x = norm(x, "stem_conv_norm")
    for s, count in enumerate(repeats, 1):
        if f"stage{s}_down/kernel" in named:
            x = conv(norm(x, f"stage{s}_down_norm"), f"stage{s}_down", 2)
        for b in range(1, count + 1):
            name = f"stage{s}_block{b}"
            y = norm(depthwise(x, f"{name}_depthwise"), f"{name}_norm")
            y = response(gelu(conv(y, f"{name}_conv1")), f"{name}_grn")
            x = x + conv(y, f"{name}_conv2")
    pooled = norm(x.mean((1, 2)), "pool_norm")
    return x, pooled @ named["logits/kernel"] + named["logits/bias"]


@pytest.mark.parametrize(("stem", "shape"), [("small", (11, 18, 1)), ("standard", (65, 47, 3))])
def test_the_network_computes_what_its_definition_says(stem, shape):
    model = sp.build_plain(
        5,
        family="convnext_v2_atto",
        width=0.2,
        stem=stem,
        input_shape=shape,
        classifier_activation=None,
    )
    harness.randomize(model)
    x = harness.images(model)
    tap, logits = reference(model, x, (2, 2, 6, 2), stem == "small")
    trunk = model.get_layer("trunk")
    assert harness.error(harness.predict(trunk, x, compiled=True), tap) < 2e-5
    assert harness.error(harness.predict(model, x, compiled=True), logits) < 2e-5


@pytest.mark.parametrize("size", [32, 33, 63, 64, 65])
@pytest.mark.parametrize(("stem", "stride"), [("standard", 32), ("small", 8)])
def test_resolution_is_divided_and_rounded_down(stem, stride, size):
    trunk = harness.network(["a"], **ATTO, size=None, stem=stem).get_layer("trunk")
    stride //= 4  # this trunk has the first two stages only
    spec = trunk.compute_output_shape((1, size, size + 5, 3))
    assert tuple(spec) == (1, size // stride, (size + 5) // stride, 32)


def test_networks_hold_all_contracts(tmp_path):
    tree = {"ab": ["a", "b"], "c": None, "de": {"d2": ["d"], "e": None}}
    harness.check_network(harness.network(tree, **ATTO), tmp_path, compiled=True)


def test_names_of_categories_meet_no_layer():
    labels = ("stem", "pool", "stage1", "stage1_block1", "stage2_down", "a", "a_pool")
    harness.check_names(harness.build(labels, **ATTO))


def test_cutouts_are_columns():
    model = harness.network({"ab": ["a", "b"], "c": None}, **ATTO)
    x = harness.images(model)
    want = harness.logits(model, x)[:, [2, 0]]
    assert harness.error(harness.logits(sp.cutout(model, ["c", "a"]), x), want) < 1e-6


def test_a_gain_has_an_effect_on_the_logits():
    """In front of the layer normalization it would have none."""
    model = harness.network(["a", "b"], **ATTO)
    x = harness.images(model)
    plain = harness.logits(model, x)
    keen = harness.logits(sp.attend(model, {"a": 2.0}), x)
    assert harness.error(keen[:, 0], plain[:, 0]) > 0.01
    assert np.array_equal(keen[:, 1], plain[:, 1])


def test_a_stage_of_other_channels_without_stride_changes_them():
    family = FAMILIES["convnext_v2_atto"]
    x = keras.Input((5, 6, 8))
    init = Initializers(0)
    same = family.stage(x, Stage(8, 1), "a", init)
    other = family.stage(x, Stage(16, 1), "b", init)
    assert same.shape == (None, 5, 6, 8) and other.shape == (None, 5, 6, 16)
    names = {layer.name: layer for layer in keras.Model(x, [same, other]).layers}
    assert names["b_down"].kernel_size == (1, 1) and "a_down" not in names


def test_widths_follow_the_family():
    assert FAMILIES["convnext_v2_tiny"].scale == 1
    assert FAMILIES["convnext_v2_base"].scale == 128 / 96
    assert [s.channels for s in ConvNeXtV2.make(40, (1, 1, 1, 1)).stages] == [40, 80, 160, 320]


def test_the_seed_fixes_a_branch_whatever_its_neighbors():
    both, one = harness.build(["a", "b"], **ATTO), harness.build(["b"], **ATTO)
    for part in ("trunk", "branch_b"):
        a, b = (harness.values(model.get_layer(part)) for model in (both, one))
        assert harness.same_values(a, b)


def test_stochastic_depth_stands_in_front_of_the_additions():
    model = harness.build(["a"], **ATTO, drop_path_rate=0.2)
    drops = [x for x in harness.leaves(model) if isinstance(x, StochasticDepth)]
    assert [x.name for x in drops] == ["stage2_block1_drop", "a_stage3_block1_drop"]
    np.testing.assert_allclose([x.rate for x in drops], [0.1, 0.2])
    plain = harness.build(["a"], **ATTO)
    x = harness.images(model)
    assert np.array_equal(harness.predict(model, x), harness.predict(plain, x))


# Global response normalization.


def response(x, gamma, beta):
    x = x.astype("float64")
    norms = np.linalg.norm(x, axis=(1, 2), keepdims=True)
    return gamma * (x * norms / (norms.mean(-1, keepdims=True) + 1e-6)) + beta + x


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16", "float16"])
def test_response_norm_computes_its_formula(dtype):
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype("float32") * 300
    x = ops.cast(x, "bfloat16" if "b" in dtype else "float16" if "16" in dtype else "float32")
    layer = GlobalResponseNorm(dtype=dtype)
    layer.build((None, 4, 5, 6))
    gamma, beta = np.linspace(-1, 2, 6), np.linspace(3, 1, 6)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    want = response(harness.array(ops.cast(x, "float32")), gamma, beta)
    bound = 1e-6 if dtype == "float32" else 2e-2
    assert harness.error(harness.array(ops.cast(y, "float32")), want) < bound


def test_a_new_response_norm_is_the_identity_and_learns():
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype("float32")
    inputs = keras.Input((3, 3, 4))
    model = keras.Model(inputs, GlobalResponseNorm()(inputs))
    assert np.array_equal(harness.predict(model, x), x)
    assert all(harness.reached(model, ops.convert_to_tensor(x)))


def test_channels_of_zeros_have_finite_gradients():
    inputs = keras.Input((2, 2, 3))
    scaled = keras.layers.DepthwiseConv2D(1, name="scale")(inputs)
    model = keras.Model(inputs, GlobalResponseNorm()(scaled))
    harness.randomize(model)
    for x in (np.zeros((1, 2, 2, 3), "float32"), np.eye(3, dtype="float32")[[[[0] * 2] * 2]]):
        model.get_layer("scale").bias.assign(np.zeros(3))
        y = harness.predict(model, x)
        assert np.isfinite(y).all()
        assert all(np.isfinite(g).all() for g in harness.gradients(model, ops.convert_to_tensor(x)))


def test_response_norm_keeps_its_configuration():
    layer = GlobalResponseNorm(epsilon=1e-3, name="grn")
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "keras_seqpar>GlobalResponseNorm"
    again = keras.saving.deserialize_keras_object(config)
    assert again.epsilon == 1e-3 and keras.saving.serialize_keras_object(again) == config
