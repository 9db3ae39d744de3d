"""Options and networks that cannot become a file are refused, and the messages say why."""

import os

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.networks.thresholds import Threshold
from tests import harness
from tests.mobile.clients import noise
from tests.mobile.networks import network

pytestmark = pytest.mark.only_backend("tensorflow")


ERRORS = {
    "no model": ({"model": "net.keras"}, TypeError, "got 'net.keras'.*load_model"),
    "quantization": ({"quantization": "int7"}, ValueError, "'int7'. Did you mean 'int8'.*dynamic"),
    "input_dtype": (
        {"input_dtype": "uint9", "quantization": "int8"},
        ValueError,
        "Unknown input_dtype 'uint9'. Did you mean 'uint8'",
    ),
    "16 bits": (
        {"input_dtype": "int8", "quantization": "int16x8", "calibration": noise()},
        ValueError,
        "needs quantization='int8'; a int16x8 file has 16-bit activations",
    ),
    "no calibration of 16x8": ({"quantization": "int16x8"}, ValueError, "'int16x8' needs calib"),
    "quantizer": ({"quantizer": "lite-rt"}, ValueError, "'lite-rt'. Did you mean 'litert'"),
    "quantizer of floats": (
        {"quantizer": "litert", "quantization": "float16"},
        ValueError,
        "makes dynamic and int8 files, not float16. Take quantizer='tensorflow'",
    ),
    "author": ({"author": ["me"]}, TypeError, r"author must be a text, got \['me'\]"),
    "floats": (
        {"output_dtype": "uint8"},
        ValueError,
        "output_dtype='uint8' needs quantization='int8'; a dynamic file",
    ),
    "batch": ({"batch_size": 0}, ValueError, "batch_size must be .* 1 or more, got 0"),
    "suffix": ({"path": "net.bin"}, ValueError, "must end in .tflite, got .*net.bin"),
    "no folder": ({"path": "nowhere/net.tflite"}, ValueError, "nowhere' does not exist. Make it"),
    "folder": ({"path": "sub.tflite"}, ValueError, "sub.tflite' is a folder"),
    "label count": ({"labels": ["a"]}, ValueError, "1 labels do not fit .* 2 outputs"),
    "label lines": ({"labels": ["a", "b\nc"]}, ValueError, r"'b\\nc' has the control character"),
    "labels": ({"labels": "ab"}, TypeError, "sequence of strings, got 'ab'"),
    "no calibration": ({"quantization": "int8"}, ValueError, "needs calibration: some hundred"),
    "calibration type": ({"calibration": noise().tolist()}, TypeError, "uint8 or floats, got int"),
    "calibration size": (
        {"calibration": noise(size=8)},
        ValueError,
        r"shape \(n, 16, 16, 3\), got \(60, 8, 8, 3\)",
    ),
    "one image": ({"calibration": noise()[0]}, ValueError, r"batch axis: images\[None\]"),
    "no image": ({"calibration": noise()[:0]}, ValueError, "one or more, got none"),
    "0 to 1": (
        {"calibration": noise() / 255},
        ValueError,
        "float64 in 0 .. [01].* do not fit .* takes pixels of 0 to 255.*Multiply them by 255",
    ),
    "normalized": ({"calibration": noise() / 64.0 - 2}, ValueError, "-2 .. .* Give the pixels"),
    "NaN": ({"calibration": noise() * np.nan}, ValueError, "must be finite"),
    "black": ({"calibration": noise() * np.uint8(0)}, ValueError, "no real images"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name, tmp_path):
    options, error, message = ERRORS[name]
    options = {"model": None, "path": "net.tflite", **options}
    model = options.pop("model") or network()
    path = tmp_path / options.pop("path")
    (tmp_path / "sub.tflite").mkdir()
    if "calibration" in options:
        options.setdefault("quantization", "int8")
    with pytest.raises(error, match=message):
        mobile.convert(model, path, **options)
    assert os.listdir(tmp_path) == ["sub.tflite"]


def test_pixels_for_a_network_that_takes_normalized_input(tmp_path):
    net = harness.network(harness.LABELS[:2])
    for images in (noise(), noise().astype("float32")):
        with pytest.raises(ValueError, match="takes normalized input.*include_preprocessing=True"):
            mobile.convert(net, tmp_path / "net.tflite", quantization="int8", calibration=images)


def test_few_calibration_images_are_said(tmp_path):
    with pytest.warns(UserWarning, match=r"Calibration on 3 image\(s\).*Take 50 or more"):
        mobile.convert(
            network(), tmp_path / "net.tflite", quantization="int8", calibration=noise(3)
        )


def test_networks_that_cannot_become_a_file(tmp_path):
    path = tmp_path / "net.tflite"
    for kind in ("int8", "int16x8"):
        with pytest.raises(
            ValueError, match=f"input cannot become {kind} without .*'dynamic'.*attend"
        ):
            mobile.convert(
                sp.attention_input(network()), path, quantization=kind, calibration=noise()
            )
    unsure = sp.with_threshold(network(), Threshold(0.0))
    with pytest.raises(ValueError, match=r"none of these, which int16x8 .*with_threshold\(model"):
        mobile.convert(unsure, path, quantization="int16x8", calibration=noise())
    tiny = sp.build_plain(
        ["a", "b"], family="convnext_v2_atto", input_shape=(32, 32, 3), width=0.125, seed=0
    )
    images = mobile.from_pixels(tiny, noise(size=32))
    with pytest.raises(ValueError, match=r"does not run in int16x8: .*Take another quantization"):
        mobile.convert(tiny, path, quantization="int16x8", calibration=images)
    vector = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)], name="vector")
    with pytest.raises(ValueError, match=r"'vector' takes float32 of shape \(5,\)"):
        mobile.convert(vector, path)
    with pytest.raises(ValueError, match="'unbuilt' has no known inputs"):
        mobile.convert(keras.Sequential([keras.layers.Dense(2)], name="unbuilt"), path)
    a, b = keras.Input((8, 8, 3), name="a"), keras.Input((8, 8, 3), name="b")
    with pytest.raises(ValueError, match=r"has the inputs \['a', 'b'\]"):
        mobile.convert(keras.Model([a, b], keras.layers.Add()([a, b])), path)
    with pytest.raises(ValueError, match="has 2 outputs"):
        mobile.convert(keras.Model(a, [a, keras.layers.ReLU()(a)]), path)
    assert not os.listdir(tmp_path)


def test_operations_that_tflite_lacks_are_refused(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.ops.erfinv(keras.layers.GlobalAveragePooling2D()(inputs) / 300)
    net = keras.Model(inputs, x, name="odd")
    with pytest.raises(ValueError, match=r"(?s)cannot convert the model 'odd'.*built-in.*Erfinv"):
        mobile.convert(net, tmp_path / "odd.tflite", quantization="float32", labels=False)
    assert not os.listdir(tmp_path)
