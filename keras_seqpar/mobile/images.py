"""Checks that images are what a network takes. Needs NumPy only."""

from collections.abc import Iterator, Sequence

import numpy as np

# Normalized pixels are between -2.2 and 2.7; larger values than this are pixels by mistake.
MOST_NORMALIZED = 10


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
    low, high = float(images.min()), float(images.max())
    if not np.isfinite([low, high]).all():
        raise ValueError(f"{what} must be finite, but some values are NaN or infinite.")
    found = f"{what} of {images.dtype} in {low:g} .. {high:g} do not fit"
    if pixels and images.dtype.kind == "f":
        takes = f"{who}, which takes pixels of 0 to 255 and normalizes them"
        if low < 0 or high > 255:
            raise ValueError(f"{found} {takes}. Give the pixels themselves.")
        if high <= 1:
            raise ValueError(f"{found} {takes}. Multiply them by 255.")
    if pixels is False and (images.dtype == np.uint8 or max(-low, high) > MOST_NORMALIZED):
        raise ValueError(
            f"{found} {who}, which takes normalized input. Normalize them with "
            "keras_seqpar.mobile.from_pixels(model, pixels), or build the network with "
            "include_preprocessing=True."
        )
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
