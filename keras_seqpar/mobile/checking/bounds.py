"""How far a .tflite file may differ from its Keras network, and what a comparison proves."""

import dataclasses
import math

import numpy as np

CONFIDENCE = 0.95
# With that confidence, the agreement on all images may be so far below the bound, not further. A
# file that a bound of 0.97 should stop, with an agreement below 0.94, passes once in 20 times at
# most, on however few images. Without a disagreement that takes 49 images.
MARGIN = 0.03
# Where no score may be further off than this, the errors decide, and few images are enough.
SMALL_ERROR = 0.01


@dataclasses.dataclass(frozen=True)
class Bounds:
    """How far a file may differ from its Keras network.

    Args:
        max_error: largest difference of any score, relative to the range (largest minus
            smallest) of all of Keras's scores.
        min_agreement: least share of images for which both predict the same category, and for
            which both decide the same about none of these.
        max_accuracy_drop: how far the file's accuracy may be below Keras's; `None` for any.
        max_mean_error: largest mean of these differences; `None` for any.

    Example:

    >>> strict = Bounds(max_error=0.05, min_agreement=0.99)
    >>> strict.agreement_problem("top-1 agreement", share=0.9, images=100)
    'the top-1 agreement with Keras, 90.00% of 100 images, is below 99.00%'
    """

    max_error: float
    min_agreement: float
    max_accuracy_drop: float | None = None
    max_mean_error: float | None = None

    @property
    def min_proven(self) -> float | None:
        """What the comparison must prove of the agreement; `None` where errors are small."""
        if self.max_error <= SMALL_ERROR:
            return None
        return max(0.0, self.min_agreement - MARGIN)

    def agreement_problem(self, name: str, share: float, images: int) -> str | None:
        """What is wrong with an agreement: too low, or not proven; `None` if nothing is.

        Args:
            name: what the file agrees on.
            share: of the images.
            images: how many were compared.
        """
        if not share >= self.min_agreement:
            return (
                f"the {name} with Keras, {share:.2%} of {images} images, is below "
                f"{self.min_agreement:.2%}"
            )
        wanted, found = self.min_proven, proven(share, images)
        if wanted is None or found >= wanted:
            return None
        return (
            f"the {name} with Keras, {share:.2%} on {images} image{'s' * (images > 1)}, proves "
            f"only {found:.2%} or more ({CONFIDENCE:.0%} confidence), and the bound of "
            f"{self.min_agreement:.2%} needs {wanted:.2%}: compare on {needed(share, wanted)} or "
            "more images, or allow less with min_agreement"
        )


# Two to four times what was measured on trained ResNet-18 PHLs (digits at 32 pixels, accuracy 99 %,
# and Imagenette at 64 pixels, half trained, 55 %): largest errors of float32, float16, dynamic,
# int8 and int16x8: 2e-6, 0.005, 0.06, 0.13 and 0.04; mean errors on digits: 5e-9, 2e-5, 1e-4,
# 1.3e-3 and 4e-4 (small because most scores are near 0 or 1); least agreements: 1, 1, 0.987, 0.977.
# float32 differs by the order of summation and by batch normalization, which folds into
# convolutions; an accelerator that rounds products (TF32) differs more.
BOUNDS = {
    "float32": Bounds(1e-5, 0.99, max_mean_error=5e-6),
    "float16": Bounds(1e-2, 0.99, max_mean_error=2e-3),
    "dynamic": Bounds(0.15, 0.97, max_mean_error=0.01),
    "int8": Bounds(0.25, 0.97, max_mean_error=0.02),
    "int16x8": Bounds(0.15, 0.97, max_mean_error=0.01),
}
"""Quantization -> the bounds that `verify` holds its files to, unless it is given others.

Example:

>>> BOUNDS["int8"].min_agreement
0.97
"""
# Logits move less: no softmax turns a small error near 0 into a large one. Measured on digits, the
# largest: 2e-7, 8e-4, 0.006, 0.02 and 0.015; mean: 4e-8, 1e-4, 1e-3, 2.7e-3 and 1.8e-3.
LOGIT_BOUNDS = {
    "float32": Bounds(1e-5, 0.99, max_mean_error=5e-6),
    "float16": Bounds(5e-3, 0.99, max_mean_error=1e-3),
    "dynamic": Bounds(0.05, 0.97, max_mean_error=0.01),
    "int8": Bounds(0.1, 0.97, max_mean_error=0.02),
    "int16x8": Bounds(0.05, 0.97, max_mean_error=0.01),
}


def bounds_for(
    usual: Bounds | None,
    max_error: float | None,
    min_agreement: float | None,
    max_accuracy_drop: float | None,
) -> Bounds | None:
    """The bounds that were asked for, else the usual ones.

    Args:
        usual: of the file's quantization, if that is known.
        max_error: replaces the usual one; the bound of the mean error changes with it.
        min_agreement: replaces the usual one.
        max_accuracy_drop: as in `Bounds`.

    Returns:
        The bounds; `None` where one is neither given nor usual.
    """
    mean = max_error
    if usual is not None:
        mean = usual.max_mean_error
        if max_error is not None and mean is not None:
            mean *= max_error / usual.max_error
        max_error = usual.max_error if max_error is None else max_error
        min_agreement = usual.min_agreement if min_agreement is None else min_agreement
    if max_error is None or min_agreement is None:
        return None
    return Bounds(max_error, min_agreement, max_accuracy_drop, mean)


def proven(share: float, count: int) -> float:
    """The share of all images that a share of some proves, with 95 % confidence.

    Args:
        share: of the images that were looked at.
        count: how many these were, 1 or more.

    Returns:
        The lower end of the one-sided Clopper-Pearson interval. 0.05 for one image that agrees.

    Example:

    >>> round(proven(1.0, 49), 3)
    0.941
    """
    misses = round((1 - share) * count)
    if misses >= count:
        return 0.0
    k = np.arange(misses + 1)
    ways = np.array([math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1)
                     for i in k])  # fmt: skip
    low, high = 0.0, 1.0
    for _ in range(50):  # at `low`, so few misses are rarer than 1 - CONFIDENCE
        middle = (low + high) / 2
        chance = np.exp(ways + k * math.log1p(-middle) + (count - k) * math.log(middle)).sum()
        low, high = (middle, high) if chance < 1 - CONFIDENCE else (low, middle)
    return low


def needed(share: float, wanted: float) -> int:
    """How many images with this share of agreement prove what is wanted."""
    count = 1
    while proven(share, count) < wanted:
        count = max(count + 1, int(1.02 * count))
    return count
