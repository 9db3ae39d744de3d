"""What goes into a .tflite file: images and gains, checked and scaled. Needs NumPy only."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_seqpar.utils.pixels import PIXELS, Limits, limits_of

_LEAST_WHITE = 64  # the largest value of an input of 0 or more that says: these are pixels


def check_images(images, shape: Sequence[int], who: str) -> np.ndarray:
    """Checks that images are one or more, and of the size that a file takes.

    Raises:
        ValueError: they are not.
    """
    images = np.asarray(images)
    if images.shape[1:] != tuple(shape) or not len(images):
        hint = " Add a batch axis: images[None]." if images.shape == tuple(shape) else ""
        raise ValueError(
            f"{who} takes images of shape (n, {', '.join(map(str, shape))}), got "
            f"{images.shape}.{hint}"
        )
    return images


def encode(values: np.ndarray, detail: dict) -> np.ndarray:
    """Scales values to the integers of an input; floats stay."""
    dtype = np.dtype(detail["dtype"])
    scale, zero = detail["quantization"]
    if dtype.kind not in "iu" or not scale:
        return values.astype(dtype)
    if (values.dtype, dtype, scale, zero) == (np.uint8, np.uint8, 1, 0):
        return values
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(dtype)


def limit_gains(gains: np.ndarray, most: float | None, who: str) -> tuple[np.ndarray, str | None]:
    """Clips gains to what a file was calibrated for.

    Args:
        gains: of any shape.
        most: the file's `max_gain`; `None` for no limit.
        who: name of the file.

    Returns:
        The gains, and `None` or a sentence that says that some were clipped.

    Raises:
        ValueError: gains that are negative or not finite.
    """
    if not (np.isfinite(gains) & (gains >= 0)).all():
        raise ValueError(f"gains must be finite and not negative, got {gains.tolist()}.")
    if most is None or not (gains > most).any():
        return gains, None
    return np.minimum(gains, most), (
        f"Gains up to {gains.max():g} are clipped to {most:g}: {who} was calibrated up to that. "
        "Convert again with a larger max_gain."
    )


def input_limits(path: Path, about: Mapping, image: Mapping) -> Limits | None:
    """The range of a file's images; `None` for floats of a file that does not state it."""
    if "mean" in about and "std" in about:
        try:
            return limits_of((about["mean"], about["std"]))
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"{str(path)!r} is damaged: it states the mean {about['mean']!r} and the standard "
                f"deviation {about['std']!r} of its images, which are no numbers per channel."
            ) from None
    dtype, (scale, zero) = np.dtype(image["dtype"]), image["quantization"]
    if dtype.kind not in "iu" or not scale:
        return None
    ends = np.iinfo(dtype)
    low, high = float(scale * (ends.min - zero)), float(scale * (ends.max - zero))
    # Pixels, calibrated on images that were not quite black or white somewhere.
    return PIXELS if abs(low) < 1 and _LEAST_WHITE < high < 256 else (low, high)
