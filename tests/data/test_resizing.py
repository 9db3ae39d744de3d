"""Resizing by Numba: the bits of Pillow."""

import sys

import numpy as np
import pytest

from keras_seqpar.data import streaming
from keras_seqpar.utils.images import square_of

Image = pytest.importorskip("PIL.Image")
resizing = pytest.importorskip("keras_seqpar.data.resizing")
pytestmark = pytest.mark.only_backend("tensorflow")  # nothing of a backend


def images(count):
    """Images and sizes of squares: blocks of strong colors, so that the filter overshoots."""
    rng = np.random.default_rng(0)
    for i in range(count):
        width, height, size = rng.integers(1, 90, 3)
        if i % 3 == 0:
            size = max(1, min(width, height) - rng.integers(6))  # about the size of the image
        blocks = rng.choice([0, 40, 128, 215, 255], (-(-height // 3), -(-width // 2), 3))
        pixels = blocks.repeat(3, 0).repeat(2, 1)[:height, :width].astype("uint8")
        yield Image.fromarray(pixels), int(size)
    for width, height, size in ((500, 375, 224), (375, 500, 224), (2, 2000, 7), (1600, 1200, 33)):
        yield Image.fromarray(rng.integers(0, 256, (height, width, 3), "uint8")), size


def test_the_bits_are_those_of_pillow():
    for image, size in images(400):
        out = np.empty((size, size, 3), "uint8")
        resizing.square_into(image, out)
        assert np.array_equal(out, square_of(image, size)), (image.size, size)


def test_without_numba_pillow_resizes(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_seqpar.data.resizing", None)
    resize = streaming.fast_resizing.__wrapped__()
    assert resize is not resizing.square_into
    for image, size in images(3):
        out = np.empty((size, size, 3), "uint8")
        resize(image, out)
        assert np.array_equal(out, square_of(image, size))
