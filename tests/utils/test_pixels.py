"""Images that contradict what a network takes are refused; suspicious ones are said to be."""

import numpy as np
import pytest

from keras_seqpar.utils.pixels import IMAGENET, PIXELS, check_values, limits_of

NOISE = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
LITE = limits_of(([127.0] * 3, [128.0] * 3))


def check(values, limits):
    return check_values(values, limits, "images", "net.tflite")


def test_limits():
    assert limits_of(([0.0] * 3, [1.0] * 3)) == PIXELS
    assert limits_of(([127.0] * 3, [128.0] * 3)) == (-127 / 128, 1)
    low, high = limits_of(([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))
    assert low == pytest.approx(-2.118, abs=1e-3) and high == pytest.approx(2.640, abs=1e-3)
    assert limits_of(None) is None and limits_of(([0.0], [0.0])) is None


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "float32", "float64"])
def test_what_fits(dtype):
    assert check(NOISE.astype(dtype), PIXELS) is None
    assert check(NOISE.astype(dtype), None) is None
    assert check(np.zeros((1, 8, 8, 3), dtype), PIXELS) is None  # a black image


def test_rounding_and_noise_fit():
    assert check(NOISE + np.float32(0.25), PIXELS) is None
    assert check(np.array([-0.3, 255.4]), PIXELS) is None
    for limits in (IMAGENET, LITE):
        low, high = limits
        assert check(np.linspace(low, high, 90), limits) is None
        assert check(np.random.default_rng(0).normal(size=100_000), limits) is None
    assert check(np.linspace(0, 1, 90), (0.0, 1.0)) is None  # divided by 255 is right there


@pytest.mark.parametrize(
    ("values", "limits", "message"),
    [
        (
            NOISE - 128.0,
            PIXELS,
            r"float64 in -128 .. 127 do not fit net.tflite, which takes pixels",
        ),
        (NOISE / 127.5 - 1, PIXELS, "-1 .. 1 .* takes pixels of 0 to 255. Give the pixels them"),
        (NOISE.astype("uint16") * 257, PIXELS, "uint16 in .* takes pixels of 0 to 255"),
        (NOISE.astype("int8"), PIXELS, "int8 in -1.. .* takes pixels of 0 to 255"),
        (NOISE, LITE, "uint8 in .* takes normalized input of -0.992 to 1. Normalize them"),
        (NOISE.astype("int64"), IMAGENET, "int64 in .* normalized input of -2.2 to 2.7"),
        (NOISE.astype("float32"), IMAGENET, r"normalized input .*: \(pixels - mean\) / std"),
        (NOISE.astype("float32"), (0.0, 1.0), "normalized input of 0 to 1"),
        (NOISE * np.nan, None, "must be finite, but some values are NaN or infinite"),
        (np.where(NOISE == NOISE.max(), np.inf, NOISE), PIXELS, "must be finite"),
        (np.where(NOISE == NOISE.max(), -np.inf, 0), IMAGENET, "must be finite"),
    ],
)
def test_contradictions(values, limits, message):
    with pytest.raises(ValueError, match=message):
        check(values, limits)


@pytest.mark.parametrize("values", [NOISE > 9, NOISE.astype(object), NOISE.astype(str), NOISE * 1j])
def test_no_numbers(values):
    with pytest.raises(TypeError, match="images must be an array of integers or floats, got "):
        check(values, PIXELS)


def test_divided_pixels_are_suspicious():
    divided = (NOISE / 255).astype("float32")
    assert check(divided, PIXELS) == (
        "images of float32 in 0 .. 1 do not fit net.tflite, which takes pixels of 0 to 255. "
        "Multiply them by 255."
    )
    assert "Multiply" in check(NOISE % 2, PIXELS)
    for limits in (IMAGENET, LITE):
        assert "Normalize them, not only divide them" in check(divided, limits)
        assert check(divided * 0.5, limits) is None  # could be a dark image
    assert check(divided, None) is None
