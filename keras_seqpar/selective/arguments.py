"""Checks of the arguments of streams. Imports no Keras."""

from collections.abc import Sequence

RECEPTIVE_FIELD = "receptive_field"  # value of `margin` with which a stream is exact


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


def check_regions(margin, min_region_pixels, max_cost_share, refresh, shape: Sequence[int]) -> None:
    """Checks arguments of `region_stream`.

    Args:
        margin: see `region_stream`.
        min_region_pixels: likewise.
        max_cost_share: likewise.
        refresh: the number of frames from one full run to the next; `None` for never.
        shape: `(height, width)` of a frame.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.
    """
    check_number("margin", margin, 0, allow_receptive_field=True)
    check_number("min_region_pixels", min_region_pixels, 1, allow_receptive_field=False)
    if min_region_pixels > shape[0] * shape[1]:
        raise ValueError(
            f"min_region_pixels={min_region_pixels} exceeds the {shape[0] * shape[1]} positions of "
            f"a frame of {shape[0]}x{shape[1]}, so no change would ever count."
        )
    if refresh is not None:
        check_number("refresh", refresh, 1, allow_receptive_field=False)
    share = max_cost_share
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise ValueError(f"max_cost_share must be a share above 0 and up to 1, got {share!r}.")


def parse_extent(name: str, text: str) -> int | str:
    """A number of pixels, or `"receptive_field"`, from a flag.

    Args:
        name: of the flag.
        text: its value.

    Raises:
        ValueError: another text.
    """
    if text == RECEPTIVE_FIELD:
        return text
    if text.isdigit():
        return int(text)
    raise ValueError(f"--{name} must be a whole number or receptive_field, got {text!r}.")
