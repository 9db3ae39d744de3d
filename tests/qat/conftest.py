"""A small network trained on digits through tf_keras, and images for it."""

import types

import keras
import pytest

import keras_seqpar as sp
from keras_seqpar import data, mobile
from tests.qat.training import CATEGORIES, SIZE, fit


@pytest.fixture(scope="session")
def digits() -> types.SimpleNamespace:
    """Images of three digits as float32, and their labels."""
    chosen = data.only(data.load("digits", image_size=SIZE), CATEGORIES)
    found = types.SimpleNamespace()
    for name, split in chosen.splits.items():
        images = split.read(range(len(split))).astype("float32")
        setattr(found, name, (images, split.labels))
    return found


@pytest.fixture(scope="session")
def trained(digits) -> keras.Model:
    """A PHL network that knows the digits."""
    model = sp.build_phl(
        CATEGORIES,
        family="resnet18",
        plan="early",
        width=0.125,
        input_shape=(SIZE, SIZE, 3),
        stem="small",
        include_preprocessing=True,
        seed=0,
    )
    twin = mobile.to_tf_keras(model, logits=True)
    fit(twin, digits, epochs=4, rate=3e-3)
    return mobile.from_tf_keras(twin, model)
