"""Which images a network of this package takes: pixels, or normalized pixels."""

import keras
import numpy as np

from keras_seqpar.families.base import Family
from keras_seqpar.networks.assembly import normalization
from keras_seqpar.networks.parts import Parts, find_parts

# Mean and standard deviation of each channel, in pixels.
Normalization = tuple[list[float], list[float]]


def normalization_of(parts: Parts, channels: int) -> tuple[bool | None, Normalization | None]:
    """Says which images a network takes.

    Args:
        parts: the parts of the network.
        channels: channels of its input.

    Returns:
        Whether it takes pixels of 0 to 255 (`False`: normalized pixels), and the mean and standard
        deviation that turn pixels into its input. Both are `None` where nothing says it.
    """
    if parts.build:
        pixels, mean, std = parts.build.include_preprocessing, parts.build.mean, parts.build.std
    else:  # saved before networks stored how they were built
        pixels = any(layer.name == "preprocessing" for layer in parts.trunk.layers)
        mean, std = normalization(Family, channels, pixels)
    if pixels:
        return True, ([0.0] * channels, [1.0] * channels)
    if mean is None or std is None:
        return None, None
    return False, (list(mean), list(std))


def from_pixels(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Turns pixels into what a network takes.

    Args:
        model: a network of this package.
        pixels: `(n, height, width, channels)` uint8.

    Returns:
        The pixels as they are, or normalized as float32.

    Raises:
        ValueError: the network is not of this package, so its input range is not known.

    Example:

    >>> scores = model(from_pixels(model, images))
    """
    try:
        parts = find_parts(model, allow_plain=True)
        takes_pixels, known = normalization_of(parts, model.inputs[0].shape[-1])
    except ValueError:
        known = None
    if known is None:
        raise ValueError(
            f"The model {model.name!r} is no network of this package: nothing says how its "
            "images are normalized."
        )
    if takes_pixels:
        return pixels
    mean, std = (np.array(values, "float32") for values in known)
    return (pixels - mean) / std
