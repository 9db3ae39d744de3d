"""Reports of what streams can save."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_seqpar as sp
from keras_seqpar import selective
from tests import harness


# The counts are the same on every backend, and the network takes time to build.
@pytest.mark.only_backend("torch")
def test_bounds_of_resnet50_are_near_those_of_another_program():
    """An independent program counted 5.4, 3.6, 2.75 and 1.76 for a square at changing positions.

    Here the square is in the middle, from where changes spread farthest, so the bounds are a
    little lower.
    """
    model = sp.build_plain(10, family="resnet50", input_shape=(512, 512, 3))
    report = selective.report(model, (0.01, 0.05, 0.1, 0.25))
    elsewhere = (5.4, 3.6, 2.75, 1.76)
    assert all(0.88 * b < a < b for a, b in zip(report.bounds, elsewhere, strict=True))
    assert not report.barriers
    assert report.layers[0].name == "stem_conv_pad"
    (stem,) = (x for x in report.layers if x.name == "stem_conv")
    assert stem.reach == 3  # with stride 2, three windows of 7 rows hold a row of even number
    text = str(report)
    assert "at most faster by" in text
    assert "stem_conv " in text


APPLICATIONS = {  # -> whether a layer reads all positions, so that nothing is saved after it
    "ConvNeXtTiny": False,
    "DenseNet121": False,
    "EfficientNetB0": True,
    "EfficientNetV2B0": True,
    "InceptionResNetV2": False,
    "InceptionV3": False,
    "MobileNet": False,
    "MobileNetV2": False,
    "MobileNetV3Small": True,
    "NASNetMobile": False,
    "ResNet50": False,
    "ResNet50V2": False,
    "VGG16": False,
    "Xception": False,
}


@pytest.mark.only_backend("tensorflow")  # torch has no NASNet
@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_architecture_of_keras_applications_is_known(name):
    build = getattr(keras.applications, name)
    model = build(weights=None, include_top=False, input_shape=(96, 96, 3))
    report = selective.report(model, [0.001])
    assert not report.unsupported
    assert bool(report.barriers) == APPLICATIONS[name]
    assert report.bounds[0] > 1


def test_macs_are_those_of_cost():
    model = harness.network(harness.LABELS[:3])
    assert selective.report(model).macs == sp.cost(model).macs
    model = harness.network(harness.LABELS[:1], family="convnext_v2_atto")
    assert selective.report(model).macs == sp.cost(model).macs


def test_barriers_are_named():
    inputs = keras.Input((16, 16, 4))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    weights = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    x = layers.Multiply(name="scale")([x, layers.Dense(4, name="excite")(weights)])
    x = layers.Conv2D(8, 3, padding="same", name="behind")(x)
    model = keras.Model(inputs, layers.GlobalMaxPooling2D(name="pool")(x))
    report = selective.report(model, [0.01])
    assert list(report.barriers) == ["scale"]
    assert "depends on all" in report.barriers["scale"]
    shares = {x.name: x.shares[0] for x in report.layers}
    assert shares["conv"] < 0.2
    assert shares["behind"] == 1
    behind = 16 * 16 * 9 * 4 * 8
    conv = 16 * 16 * 9 * 4 * 4
    changed = np.ceil(shares["conv"] * 256)
    assert report.bounds[0] == pytest.approx(
        (conv + 16 + behind) / (changed * 9 * 16 + 16 + behind)
    )
    assert "Barrier 'scale'" in str(report)


def test_unsupported_layers_are_named_and_nothing_is_run():
    inputs = keras.Input((8, 8, 2))
    x = layers.Permute((2, 1, 3), name="turned")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 3, name="conv")(x))
    report = selective.report(model)
    assert list(report.unsupported) == ["turned"]
    assert "Permute" in report.unsupported["turned"]
    assert not report.barriers
    assert "Unsupported 'turned'" in str(report)


def test_arguments_are_checked():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 1)])
    with pytest.raises(ValueError, match="Pass input_shape"):
        selective.report(model)
    assert selective.report(model, input_shape=(8, 8, 3)).input_shape == (8, 8, 3)
    for shares in ((), (0.0,), (1.5,), (float("nan"),)):
        with pytest.raises(ValueError, match="shares must be numbers above 0"):
            selective.report(model, shares, input_shape=(8, 8, 3))
