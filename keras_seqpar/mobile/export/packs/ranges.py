"""Calibration that gives a branch's input exactly the scale of the output that feeds it.

In int8 a file passes its integers on unchanged, so both must have the same scale and zero point.
TensorFlow's converter computes them from the smallest and largest value that it sees in
calibration. Hence a branch is calibrated on the output of the int8 trunk, scaled back to floats,
and on one more sample with the smallest and the largest value that this output can have. Scale and
zero point are compared afterwards, bit for bit; files in which they differ are refused.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from keras_seqpar.mobile.runtime.manifest import Tensor


def feature_samples(features: np.ndarray, tensor: Tensor) -> Iterator[list[np.ndarray]]:
    """Yields int8 features as floats, then a sample with the extremes that int8 can express.

    Args:
        features: `(n, ...)` int8.
        tensor: their scale and zero point.
    """
    low, high = extremes(tensor)

    def as_floats(some: np.ndarray) -> np.ndarray:
        values = (some.astype("int32") - tensor.zero_point) * np.float32(tensor.scale)
        return np.clip(values.astype("float32"), low, high)  # the ends may be rounded neighbors

    for some in features:
        yield [as_floats(some[None])]
    sample = as_floats(features[:1])
    sample.reshape(-1)[[0, -1]] = low, high
    yield [sample]


def extremes(tensor: Tensor) -> tuple[np.float32, np.float32]:
    """The smallest and largest value of an int8 tensor, from which its scale can be computed.

    The converter divides their difference by 255 in float32, so where the product of scale and
    integer was rounded, the quotient may be the scale's neighbor. The nearest floats that give
    the scale itself are taken.

    Args:
        tensor: int8.

    Returns:
        Both as float32. Rounding apart, `scale * (-128 - zero_point)` and
        `scale * (127 - zero_point)`.
    """
    scale = np.float32(tensor.scale)
    ends = [np.float32(scale * np.float32(q - tensor.zero_point)) for q in (-128, 127)]
    pairs = itertools.product(*map(_neighbors, ends))
    for low, high in pairs:
        if (high - low) / np.float32(255) == scale:
            return low, high
    return ends[0], ends[1]


def _neighbors(value: np.float32) -> list[np.float32]:
    """A float and the floats around it, the nearest first; for zero only zero."""
    found = [value]
    if value:
        for direction in (np.float32(np.inf), np.float32(-np.inf)):
            near = value
            for _ in range(3):
                near = np.nextafter(near, direction)
                found.append(near)
    return sorted(found, key=lambda near: abs(float(near) - float(value)))
