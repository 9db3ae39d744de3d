"""Whether images are in the range that a network takes. Needs NumPy only."""

import math
from collections.abc import Sequence

import numpy as np

Limits = tuple[float, float]
PIXELS: Limits = (0.0, 255.0)
IMAGENET: Limits = (-2.2, 2.7)  # pixels that are normalized with ImageNet's mean and deviation

# How far values may be beyond the limits. Pixels must round to 0 to 255. Normalized values may be
# two ranges beyond: noise and resizing go over the limits a little, pixels by mistake go far.
_ROUNDING, _RANGES = 0.5, 2


def limits_of(normalization: tuple[Sequence[float], Sequence[float]] | None) -> Limits | None:
    """The range of what a network takes.

    Args:
        normalization: mean and standard deviation per channel, in pixels, that turn pixels into
            the network's input; `None` where that is unknown.

    Returns:
        The smallest and the largest value that a pixel of 0 to 255 becomes: `PIXELS` for a network
        that takes pixels. `None` where it is unknown.

    Example:

    >>> limits_of(([127.0, 127.0, 127.0], [128.0, 128.0, 128.0]))
    (-0.9921875, 1.0)
    """
    if normalization is None:
        return None
    mean, std = (np.array(values, "float64") for values in normalization)
    with np.errstate(all="ignore"):
        ends = (np.array(PIXELS)[:, None] - mean) / std
    return (float(ends.min()), float(ends.max())) if np.isfinite(ends).all() else None


def check_values(values: np.ndarray, limits: Limits | None, what: str, who: str) -> str | None:
    """Refuses images that a network cannot be meant to take, and says what is only suspicious.

    Refused are values that are no numbers, NaN or infinite; for a network that takes pixels, values
    outside of 0 to 255; for one that takes normalized input, integers and values far outside of its
    range. Suspicious are images of 0 to 1 where that is not the range, as of pixels divided by 255.

    Args:
        values: one image or several, not empty.
        limits: from `limits_of`; `None` where the range is unknown.
        what: how to call the images in a message, in the plural: "images", "frames".
        who: how to call the network in a message: "the model 'x'".

    Returns:
        `None`, or a sentence that says what is suspicious. Warn with it once.

    Raises:
        TypeError: no array of integers or floats.
        ValueError: values that contradict what the network takes.

    Example:

    >>> check_values(images / 255, PIXELS, "images", "pets.tflite")
    'images of float64 in 0 .. 1 do not fit pets.tflite, which takes pixels of 0 to 255. ...'
    """
    if values.dtype.kind not in "fiu":
        raise TypeError(f"{what} must be an array of integers or floats, got {values.dtype}.")
    low, high = float(values.min()), float(values.max())  # NaN if there is one
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{what} must be finite, but some values are NaN or infinite.")
    if limits is None:
        return None
    found = f"{what} of {values.dtype} in {low:g} .. {high:g} do not fit {who}, which takes"
    if limits == PIXELS:
        if low < -_ROUNDING or high > PIXELS[1] + _ROUNDING:
            raise ValueError(
                f"{found} pixels of 0 to 255. Give the pixels themselves, neither normalized nor "
                "divided; clip what a resize made larger."
            )
        if low >= 0 and 0 < high <= 1:
            return f"{found} pixels of 0 to 255. Multiply them by 255."
        return None
    least, most = limits
    found = f"{found} normalized input of {least:.3g} to {most:.3g}. Normalize them"
    how = (
        "(pixels - mean) / std, with keras_seqpar.mobile.from_pixels(model, pixels) or with mean "
        "and std of the file's `about`; or build the network with include_preprocessing=True."
    )
    room = _RANGES * (most - least)
    if values.dtype.kind != "f" or low < least - room or high > most + room:
        raise ValueError(f"{found}: {how}")
    divided = 0 <= low < 0.1 and 0.9 < high <= 1 and not (abs(least) < 0.1 and most < 1.1)
    return f"{found}, not only divide them: {how}" if divided else None
