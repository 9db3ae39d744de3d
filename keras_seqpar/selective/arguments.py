"""Checks of the arguments of streams. Imports no Keras."""

import math
from collections.abc import Sequence

from keras_seqpar.utils.names import unknown_name

RECEPTIVE_FIELD = "receptive_field"  # value of `margin` and `reach` with which a stream is exact


def check_number(name: str, value, lowest: int, allow_receptive_field: bool) -> None:
    """Checks that an argument is an integer of at least `lowest`.

    Args:
        name: name of the argument, for the message.
        value: the value that was passed.
        lowest: the smallest value that is allowed.
        allow_receptive_field: whether `"receptive_field"` is allowed as well.

    Raises:
        TypeError: `value` is neither an integer nor a string.
        ValueError: `value` is too small, or is another string.
    """
    if allow_receptive_field and value == RECEPTIVE_FIELD:
        return
    other = f" or {RECEPTIVE_FIELD!r}" if allow_receptive_field else ""
    message = f"{name} must be a whole number of {lowest} or more{other}, got {value!r}."
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(message)
    if isinstance(value, str) or value < lowest:
        raise ValueError(message)


def check_refresh(refresh) -> None:
    """Checks `refresh`, the number of frames from one full run to the next.

    Args:
        refresh: an integer of at least 1, or `None` for no full runs after the first frame.

    Raises:
        TypeError: `refresh` is not an integer.
        ValueError: `refresh` is less than 1.
    """
    if refresh is not None:
        check_number("refresh", refresh, 1, allow_receptive_field=False)


def check_crops(margin, reach, least, refresh, most) -> None:
    """Checks the arguments that all streams of crops take; see `SegmentationStream`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.
    """
    for name, value, lowest in (
        ("margin", margin, 0),
        ("reach", reach, 0),
        ("least", least, 1),
    ):
        check_number(name, value, lowest, allow_receptive_field=name in ("margin", "reach"))
    check_refresh(refresh)
    if isinstance(most, bool) or not isinstance(most, (int, float)) or not 0 < most <= 1:
        raise ValueError(f"most must be a share above 0 and up to 1, got {most!r}.")


def check_least(least: int, shape: Sequence[int]) -> None:
    """Checks that a region can have the changed positions that it must have.

    Args:
        least: changed positions that a region must have.
        shape: `(height, width, ...)` of a frame.

    Raises:
        ValueError: a frame has fewer positions.
    """
    if least > shape[0] * shape[1]:
        raise ValueError(
            f"least={least} exceeds the {shape[0] * shape[1]} positions of a frame of "
            f"{shape[0]}x{shape[1]}, so no change would ever count."
        )


def check_stream(unsupported, calibrate, prune, reach, refresh) -> None:
    """Checks arguments of `stream`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.
    """
    if unsupported not in ("error", "dense"):
        raise ValueError(unknown_name("value of unsupported", unsupported, ("error", "dense")))
    if isinstance(calibrate, bool) or not isinstance(calibrate, (int, float)) or calibrate < 0:
        raise ValueError(f"calibrate must be a number of seconds of 0 or more, got {calibrate!r}.")
    if isinstance(prune, bool) or not isinstance(prune, (int, float)) or not 0 <= prune < math.inf:
        raise ValueError(f"prune must be a finite share of 0 or more, got {prune!r}.")
    check_number("reach", reach, 0, allow_receptive_field=True)
    check_refresh(refresh)
