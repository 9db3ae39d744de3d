"""A small network that knows digits, and images for it."""

import types

import keras
import pytest

from keras_seqpar import data
from tests.qat.training import CATEGORIES, SIZE
from tests.references import digits_nets


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
    """The stored network; the best of its scores is 0.79 or more above the next."""
    return digits_nets.load("qat")
