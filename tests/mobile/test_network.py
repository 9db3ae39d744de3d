"""What the mobile side reads of a network, whatever kind it is."""

import keras
import pytest

import keras_seqpar as sp
from keras_seqpar.mobile.network import in_float32, labels_of, read_network
from keras_seqpar.networks.thresholds import Threshold
from tests import harness
from tests.mobile.clients import noise
from tests.mobile.networks import external, network

LABELS = harness.LABELS[:2]


def test_networks_of_this_package():
    model = sp.with_threshold(network(), Threshold(0.5))
    found = read_network(model)
    assert (found.name, found.labels, found.outputs) == (model.name, LABELS, 2)
    assert found.takes_pixels is True and found.normalization == ([0.0] * 3, [1.0] * 3)
    assert found.threshold == Threshold(0.5) and found.gains is None
    assert read_network(sp.attention_input(network())).gains == 2
    normalized = read_network(harness.network(LABELS))
    assert normalized.takes_pixels is False
    assert normalized.normalization[0] == pytest.approx([123.675, 116.28, 103.53])
    assert normalized.normalization[1] == pytest.approx([58.395, 57.12, 57.375])


def test_the_branches_of_a_fused_network_are_converted_one_by_one():
    model = network()
    found = read_network(sp.fuse(model))
    assert found.labels == LABELS
    assert harness.same_values(harness.values(found.model), harness.values(model))
    assert [layer.name for layer in found.model.layers] == [layer.name for layer in model.layers]


def test_networks_from_elsewhere():
    found = read_network(external())
    assert found.parts is found.labels is found.takes_pixels is found.normalization is None
    assert found.threshold is None and found.outputs == 4
    assert labels_of(external()) is None and labels_of(network()) == LABELS
    with pytest.raises(TypeError, match=r"got 'net.keras' of type str.*load_model"):
        read_network("net.keras")


def test_images_are_checked_for_what_the_network_takes():
    pixels = read_network(network())
    images = noise(2)
    assert pixels.check_images(images, (16, 16, 3)) is images
    with pytest.raises(ValueError, match=f"do not fit the model '{pixels.name}', which takes pix"):
        pixels.check_images(images / 255, (16, 16, 3), "frames")
    assert read_network(external()).check_images(images / 255, (None, None, 3)).shape == (
        2,
        16,
        16,
        3,
    )


def test_networks_in_float32_are_left_alone():
    model = network()
    assert in_float32(model) is model
    layer = keras.layers.Dense(2)
    quantized = keras.Sequential([keras.Input((4,)), layer], name="small")
    quantized.quantize("int8")
    with pytest.raises(ValueError, match="'small' was quantized by Keras .*Convert the original"):
        in_float32(quantized)
