"""Calibration gives a branch the very scale of what feeds it."""

import keras
import numpy as np
import pytest

from keras_seqpar.mobile.export.packs import part_files, ranges
from keras_seqpar.mobile.runtime.manifest import Tensor

pytestmark = pytest.mark.only_backend("tensorflow")


@pytest.mark.parametrize("seed", range(3))
def test_converter_gives_back_any_scale(seed):
    """What is computed from the extremes is the scale, for ranges with and without negatives."""
    rng = np.random.default_rng(seed)
    inputs = keras.Input((2, 2, 4))
    outputs = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(inputs))
    branch = keras.Model(inputs, outputs)
    for low in (np.float32(0), np.float32(-rng.uniform(0.01, 3))):
        high = np.float32(rng.uniform(0.01, 30))
        scale = (high - low) / np.float32(255)  # as the converter computes it
        zero = int(np.round(-128 - float(low) / float(scale)))
        tensor = Tensor((1, 2, 2, 4), "int8", float(scale), zero)
        features = rng.integers(-128, 128, (3, 2, 2, 4)).astype("int8")
        content = part_files.convert_part(
            branch,
            tensor.shape,
            "int8",
            lambda: ranges.feature_samples(features, tensor),  # noqa: B023
            ("int8", "float32"),
            ("features", "logit"),
            {},
        )
        from ai_edge_litert.interpreter import Interpreter

        (detail,) = Interpreter(model_content=content).get_input_details()
        assert detail["quantization"] == (tensor.scale, tensor.zero_point)


def test_extremes_give_back_the_scale():
    rng = np.random.default_rng(0)
    lows = np.concatenate([np.zeros(300), -rng.uniform(0.001, 9, 300)]).astype("float32")
    naive = 0
    for low, high in zip(lows, rng.uniform(0.001, 90, 600).astype("float32"), strict=True):
        scale = (high - low) / np.float32(255)
        zero = int(np.round(-128 - float(low) / float(scale)))
        tensor = Tensor((1,), "int8", float(scale), zero)
        found = ranges.extremes(tensor)
        assert (found[1] - found[0]) / np.float32(255) == scale
        ends = [scale * np.float32(q - zero) for q in (-128, 127)]
        naive += (ends[1] - ends[0]) / np.float32(255) != scale
        assert np.allclose(found, ends, rtol=1e-6)
    assert naive > 0  # so that the search is not for nothing
