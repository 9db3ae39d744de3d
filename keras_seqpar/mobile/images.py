"""Checks that images are what a network takes. Needs NumPy only."""

from collections.abc import Iterator, Sequence

import numpy as np

from keras_seqpar.utils.pixels import IMAGENET, PIXELS, check_values


def check_array(
    images, size: Sequence[int | None], what: str, pixels: bool | None, who: str
) -> np.ndarray:
    """Checks that images are what a network takes.

    Args:
        images: what was given.
        size: `(height, width, channels)` wanted; `None` allows any.
        what: how to call the images in a message.
        pixels: `True` if the network takes pixels of 0 to 255, `False` if it takes normalized
            images, `None` if that is unknown.
        who: how to call the network in a message.

    Returns:
        The images as an array `(n, height, width, channels)`, uint8 or floats.

    Raises:
        TypeError: no array of uint8 or floats.
        ValueError: another shape, no image, NaN, or a range that the network does not take.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise TypeError(f"{what} must be an array of uint8 or floats, got {images.dtype}.")
    if images.ndim != 4 or any(
        want not in (None, have) for want, have in zip(size, images.shape[1:], strict=False)
    ):
        hint = " Add a batch axis: images[None]." if images.ndim == 3 else ""
        wanted = ", ".join("any" if s is None else str(s) for s in size)
        raise ValueError(f"{what} must have the shape (n, {wanted}), got {images.shape}.{hint}")
    if not len(images):
        raise ValueError(f"{what} must be one or more, got none.")
    limits = None if pixels is None else PIXELS if pixels else IMAGENET
    suspicious = check_values(images, limits, what, who)
    if suspicious:
        raise ValueError(suspicious)
    return images


def check_spread(images: np.ndarray) -> None:
    """Refuses calibration images that are all of one value.

    Raises:
        ValueError: they are.
    """
    if images.min() == images.max():
        raise ValueError(
            f"All values of the calibration images are {images.min()}: these are no real "
            "images, so the ranges of the activations would be wrong."
        )


def batches(images: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Yields all images as float32, in batches of one size; the last is filled from the first."""
    for start in range(0, len(images), batch):
        yield images[np.arange(start, start + batch) % len(images)].astype("float32")
