"""Checks of sizes that users give. Needs NumPy only."""

import numpy as np


def check_sizes(given, name: str, axes: str) -> tuple[int, ...]:
    """Checks that sizes are whole numbers of 1 or more, one per axis.

    Args:
        given: what a user gave.
        name: of the argument, for messages.
        axes: what the sizes are of, for example `"(height, width)"`.

    Returns:
        The sizes.

    Raises:
        ValueError: they are something else.

    Example:

    >>> check_sizes([96, 128], "image_size", "(height, width)")
    (96, 128)
    """
    numbers, count = np.asarray(given), axes.count(",") + 1
    if numbers.dtype.kind not in "iu" or numbers.shape != (count,) or (numbers < 1).any():
        raise ValueError(
            f"{name} must be {count} whole numbers of 1 or more, {axes}, got {given!r}."
        )
    return tuple(numbers.tolist())
