"""Calibration: real images from which the ranges of the activations are measured."""

from collections.abc import Sequence

import numpy as np

from keras_seqpar.mobile.images import check_array, check_spread
from keras_seqpar.utils.warning import warn_user

# Fewer images than this leave the ranges of the activations to chance.
FEW_IMAGES = 50


def check_calibration(
    images, quantization: str, size: Sequence[int | None], pixels: bool | None, who: str
) -> np.ndarray:
    """Checks calibration images, and warns where there are few.

    Args:
        images: what was given.
        quantization: of the file that needs them.
        size: `(height, width, channels)` of what is calibrated; `None` allows any.
        pixels: `True` if that takes pixels of 0 to 255, `False` if it takes normalized images,
            `None` if that is unknown.
        who: how to call it in a message.

    Returns:
        The images as an array `(n, height, width, channels)`, uint8 or floats.

    Raises:
        TypeError: no array of uint8 or floats.
        ValueError: no images, images that do not fit the network, or all of one value.
    """
    if images is None:
        raise ValueError(
            f"quantization={quantization!r} needs calibration: some hundred real images of the "
            "kind that the network will see, as an array (n, height, width, channels)."
        )
    images = check_array(images, size, "calibration images", pixels, who)
    check_spread(images)
    if len(images) < FEW_IMAGES:
        warn_user(
            f"Calibration on {len(images)} image(s): the ranges of the activations may be too "
            f"narrow. Take {FEW_IMAGES} or more, of every category."
        )
    return images


def check_no_gains(has_gains: bool, quantization: str) -> None:
    """Refuses integer activations of a network with a gains input.

    Raises:
        ValueError: it has one.
    """
    if has_gains:
        raise ValueError(
            f"A network with a gains input cannot become {quantization} without a limit: integers "
            "cannot go beyond what was calibrated. Give keras_seqpar.mobile.convert the largest "
            "gain, max_gain=2, say; or take quantization='dynamic', or set constant gains with "
            "keras_seqpar.attend."
        )
