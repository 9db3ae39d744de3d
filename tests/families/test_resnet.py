import functools

import keras
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import keras_seqpar as sp
from keras_seqpar.families.resnet import FAMILIES
from tests import harness

# Parameters and GMACs at 224 pixels with 1,000 categories. ResNet-18 to -152: torchvision's
# documentation of its weights (its "GFLOPS" are multiply-accumulates); ResNet-200: timm's
# table of results (its GMACs are at 256 pixels, so they are left out).
PUBLISHED = {
    "resnet18": (11_689_512, 1.81),
    "resnet34": (21_797_672, 3.66),
    "resnet50": (25_557_032, 4.09),
    "resnet101": (44_549_160, 7.80),
    "resnet152": (60_192_808, 11.51),
    "resnet200": (64_673_832, None),
}


@pytest.mark.only_backend("torch")  # the one that can build without allocating
@pytest.mark.parametrize("family", PUBLISHED)
def test_counts_are_the_published_ones(family):
    params, gmacs = PUBLISHED[family]
    with keras.device("meta"):
        model = sp.build_plain(1000, family=family)
    counted = sp.cost(model)
    assert counted.params == params
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == params
    if gmacs:
        assert abs(counted.macs / 1e9 - gmacs) < 0.01


def test_families_are_complete():
    assert [name for name in FAMILIES if not name.endswith("_v1")] == list(PUBLISHED)


def test_the_arithmetic_is_timms():
    model = sp.build_plain(2, family="resnet50", width=0.125, input_shape=(64, 64, 3))
    layers = {layer.name: layer for layer in harness.leaves(model)}
    convolutions = [x for x in layers.values() if isinstance(x, keras.layers.Conv2D)]
    assert len(convolutions) == 53
    assert not any(x.use_bias for x in convolutions)
    strided = {x.name for x in convolutions if x.strides != (1, 1)}
    assert strided == {"stem_conv"} | {
        f"stage{i}_block1_{part}" for i in (2, 3, 4) for part in ("conv2", "shortcut")
    }
    norms = [x for x in layers.values() if isinstance(x, keras.layers.BatchNormalization)]
    assert len(norms) == 53
    assert {(x.epsilon, x.momentum) for x in norms} == {(1e-5, 0.9)}


def convolve(x, kernel, stride):
    """A convolution with symmetric padding, from its definition."""
    size = kernel.shape[0]
    x = np.pad(x, ((0, 0), *[(size // 2, size // 2)] * 2, (0, 0)))
    windows = sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("bhwcij,ijco->bhwo", windows, kernel)


def reference(model, x, repeats, bottleneck, stem):
    """The features before pooling, computed in double precision from named weights."""
    named = {
        f"{layer.name}/{w.name}": harness.array(w).astype("float64")
        for layer in harness.leaves(model)
        for w in layer.weights
    }

    def conv_norm(x, name, stride=1):
        x = convolve(x, named[f"{name}/kernel"], stride)
        mean, variance, gamma, beta = (
            named[f"{name}_norm/{w}"] for w in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    def relu(x):
        return np.maximum(x, 0)

    x = relu(conv_norm(x.astype("float64"), "stem_conv", 1 if stem == "small" else 2))
    if stem == "standard":
        x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        x = sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max((-1, -2))
    for s, count in enumerate(repeats, 1):
        for b in range(1, count + 1):
            name = f"stage{s}_block{b}"
            stride = 2 if s > 1 and b == 1 else 1
            if bottleneck:
                y = relu(conv_norm(x, f"{name}_conv1"))
                y = relu(conv_norm(y, f"{name}_conv2", stride))
                y = conv_norm(y, f"{name}_conv3")
            else:
                y = relu(conv_norm(x, f"{name}_conv1", stride))
                y = conv_norm(y, f"{name}_conv2")
            if f"{name}_shortcut/kernel" in named:
                x = conv_norm(x, f"{name}_shortcut", stride)
            x = relu(x + y)
    return x, x.mean((1, 2)) @ named["logits/kernel"] + named["logits/bias"]


@pytest.mark.parametrize(
    ("family", "repeats", "stem", "shape"),
    [
        ("resnet18", (2, 2, 2, 2), "small", (16, 16, 3)),
        ("resnet18", (2, 2, 2, 2), "standard", (65, 47, 3)),
        ("resnet50", (3, 4, 6, 3), "small", (11, 18, 1)),
    ],
)
def test_the_network_computes_what_its_definition_says(family, repeats, stem, shape):
    model = sp.build_plain(
        5, family=family, width=0.125, stem=stem, input_shape=shape, classifier_activation=None
    )
    harness.randomize(model)
    x = harness.images(model)
    tap, logits = reference(model, x, repeats, family == "resnet50", stem)
    assert harness.error(harness.predict(model.get_layer("trunk"), x), tap) < 1e-5
    assert harness.error(harness.predict(model, x), logits) < 1e-5


@functools.cache
def _any_size(stem):
    return sp.build_plain(2, family="resnet18", width=0.125, stem=stem, input_shape=(None, None, 3))


@pytest.mark.parametrize("size", [32, 33, 47, 63, 64, 65, 96])
@pytest.mark.parametrize(("stem", "stride"), [("standard", 32), ("small", 8)])
def test_resolution_is_divided_and_rounded_up(stem, stride, size):
    trunk = _any_size(stem).get_layer("trunk")
    spec = trunk.compute_output_shape((1, size, size + 5, 3))
    assert tuple(spec) == (1, -(-size // stride), -(-(size + 5) // stride), 64)
