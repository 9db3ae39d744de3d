"""First layers are rewritten for phones, and compute the same."""

import keras
import pytest

from keras_seqpar.mobile.export.first_layers import rewrite_first_layers
from tests import harness
from tests.mobile.clients import noise

on_tensorflow = pytest.mark.only_backend("tensorflow")


@on_tensorflow
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((3, 3), (3, 3)), ((1, 0), (1, 2))])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (4, 4), (3, 2), (1, 3), (2, 3)])
def test_first_convolutions_read_folded_columns(padding, kernel, stride):
    inputs = keras.Input((16, 12, 3))
    x = keras.layers.ZeroPadding2D(padding)(inputs)
    x = keras.layers.Conv2D(4, kernel, strides=stride, activation="relu")(x)
    net = keras.Model(inputs, x)
    net = keras.Model(again := keras.Input((16, 12, 3)), net(again))  # also where it is nested
    harness.randomize(net)
    made = rewrite_first_layers(net, (16, 12))
    (convolution,) = (x for x in made.layers if isinstance(x, keras.layers.Conv2D))
    assert convolution.strides == (stride, 1)
    assert convolution.kernel.shape[2] == 3 * stride
    images = noise(2, size=16)[:, :, :12].astype("float32")
    wanted = harness.predict(net, images)
    assert harness.error(harness.predict(made, images), wanted) < 1e-5


@on_tensorflow
def test_other_convolutions_stay():
    """Of stride 1, over many channels, of an odd width, padded by themselves, dilated."""
    for channels, width, options in (
        (3, 12, {}),
        (5, 12, {"strides": 2}),
        (3, 11, {"strides": 2}),
        (3, 12, {"strides": 2, "padding": "same"}),
        (3, 12, {"dilation_rate": 2}),
    ):
        inputs = keras.Input((16, width, channels))
        net = keras.Model(inputs, keras.layers.Conv2D(4, 3, **options)(inputs))
        assert rewrite_first_layers(net, (16, width)).layers[1] is net.layers[1]


@on_tensorflow
def test_sequential_networks_are_rewritten_too():
    net = keras.Sequential(
        [
            keras.Input((16, 12, 3)),
            keras.layers.Rescaling([0.1, 0.2, 0.3], [0.0, 1.0, 2.0]),
            keras.layers.Conv2D(4, 4, strides=4),
        ]
    )
    harness.randomize(net)
    made = rewrite_first_layers(net, (16, 12))
    (convolution,) = (x for x in made.layers if isinstance(x, keras.layers.Conv2D))
    assert convolution.strides == (4, 1)
    assert not any(isinstance(x, keras.layers.Rescaling) for x in made.layers)
    images = noise(2, size=16)[:, :, :12].astype("float32")
    wanted = harness.predict(net, images)
    assert harness.error(harness.predict(made, images), wanted) < 1e-5
