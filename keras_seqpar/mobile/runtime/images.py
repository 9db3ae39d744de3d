"""Are these the pictures that a network takes? Needs NumPy only."""

from collections.abc import Iterator, Sequence

import numpy as np

# Normalised pixels lie in -2.2 .. 2.7; larger values than this are pixels by mistake.
MOST_NORMALISED = 10


def check_array(
    pictures, size: Sequence[int | None], what: str, pixels: bool | None, who: str
) -> np.ndarray:
    """Checks that pictures are what a network takes.

    Args:
        pictures: what was given.
        size: `(height, width, channels)` wanted; `None` allows any.
        what: how to call the pictures in a message.
        pixels: the network takes pixels of 0 to 255 (`True`), normalised input (`False`), or
            nobody knows (`None`).
        who: how to call the network in a message.

    Returns:
        The pictures as an array `(n, height, width, channels)`, uint8 or floats.

    Raises:
        TypeError: no array of uint8 or floats.
        ValueError: another shape, no picture, NaN, or a range that the network does not take.
    """
    pictures = np.asarray(pictures)
    if pictures.dtype != np.uint8 and pictures.dtype.kind != "f":
        raise TypeError(f"{what} must be an array of uint8 or floats, got {pictures.dtype}.")
    if pictures.ndim != 4 or any(
        want not in (None, have) for want, have in zip(size, pictures.shape[1:], strict=False)
    ):
        hint = " Add a batch axis: pictures[None]." if pictures.ndim == 3 else ""
        wanted = ", ".join("any" if s is None else str(s) for s in size)
        raise ValueError(f"{what} must have the shape (n, {wanted}), got {pictures.shape}.{hint}")
    if not len(pictures):
        raise ValueError(f"{what} must be one or more, got none.")
    low, high = float(pictures.min()), float(pictures.max())
    if not np.isfinite([low, high]).all():
        raise ValueError(f"{what} must be finite, but some values are NaN or infinite.")
    found = f"{what} of {pictures.dtype} in {low:g} .. {high:g} do not fit"
    if pixels and pictures.dtype.kind == "f":
        takes = f"{who}, which takes pixels of 0 to 255 and normalises them"
        if low < 0 or high > 255:
            raise ValueError(f"{found} {takes}. Give the pixels themselves.")
        if high <= 1:
            raise ValueError(f"{found} {takes}. Multiply them by 255.")
    if pixels is False and (pictures.dtype == np.uint8 or max(-low, high) > MOST_NORMALISED):
        raise ValueError(
            f"{found} {who}, which takes normalised input. Normalise them with "
            "keras_seqpar.mobile.from_pixels(model, pixels), or build the network with "
            "include_preprocessing=True."
        )
    return pictures


def check_spread(pictures: np.ndarray) -> None:
    """Makes sure that calibration pictures are not all of one value.

    Raises:
        ValueError: they are.
    """
    if pictures.min() == pictures.max():
        raise ValueError(
            f"All values of the calibration pictures are {pictures.min()}: these are no real "
            "pictures, so the ranges of the activations would be wrong."
        )


def batches(pictures: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Yields all pictures as float32, in batches of one size; the last is filled from the first."""
    for start in range(0, len(pictures), batch):
        yield pictures[np.arange(start, start + batch) % len(pictures)].astype("float32")
