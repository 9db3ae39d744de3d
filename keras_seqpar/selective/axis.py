"""How outputs lie along one axis of a frame. Needs no Keras: devices import this.

What a model's `Axis` is, `geometry.py` finds out.
"""

import dataclasses
import math
from fractions import Fraction

RECEPTIVE_FIELD = "receptive_field"  # the margin with which crops are exact


@dataclasses.dataclass(frozen=True)
class Axis:
    """Rows, or columns.

    Output `i` reads no input before `i * scale - before` and none behind `i * scale + after`.

    Args:
        size: inputs.
        outputs: outputs.
        stride: crops must begin at a multiple of it.
        scale: inputs per output.
        before: see above; in input positions.
        after: see above.
    """

    size: int
    outputs: int
    stride: int
    scale: Fraction
    before: int
    after: int

    def within(self, pixels: int | str) -> "Axis":
        """The same with a receptive field that ends after so many pixels; as it is for a word."""
        if isinstance(pixels, str):
            return self
        return dataclasses.replace(self, before=pixels, after=pixels + math.ceil(self.scale) - 1)

    def affected(self, first: int, last: int) -> tuple[int, int]:
        """The first and last output that reads inputs from `first` to `last`."""
        low = math.ceil((first - self.after) / self.scale)
        high = math.floor((last + self.before) / self.scale)
        return max(low, 0), min(high, self.outputs - 1)

    def needed(self, low: int, high: int) -> tuple[int, int]:
        """The inputs that outputs from `low` to `high` read: the first, and one past the last."""
        first = math.floor(low * self.scale) - self.before
        last = math.ceil(high * self.scale) + self.after
        return max(first, 0), min(last + 1, self.size)

    def known(self, start: int, end: int) -> tuple[int, int]:
        """The first and last output that a crop `[start, end)` gives as the whole frame does."""
        low = 0 if start == 0 else math.ceil((start + self.before) / self.scale)
        high = math.floor((end - 1 - self.after) / self.scale)
        return low, self.outputs - 1 if end == self.size else high


def check_number(name: str, value, lowest: int, words: bool) -> None:
    """Makes sure that an argument is a whole number.

    Args:
        name: of the argument.
        value: what was given.
        lowest: the least that is allowed.
        words: allow `"receptive_field"` as well.

    Raises:
        TypeError: no number.
        ValueError: a smaller one, or another word.
    """
    if words and value == RECEPTIVE_FIELD:
        return
    other = f" or {RECEPTIVE_FIELD!r}" if words else ""
    message = f"{name} must be a whole number of {lowest} or more{other}, got {value!r}."
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(message)
    if isinstance(value, str) or value < lowest:
        raise ValueError(message)


def check_refresh(refresh) -> None:
    """Makes sure of how many frames there are from one full run to the next; as `check_number`."""
    if refresh is not None:
        check_number("refresh", refresh, 1, words=False)


def check_crops(margin, reach, least, refresh, most) -> None:
    """Makes sure of what streams of crops are given; see `SegmentationStream`.

    Raises:
        TypeError: one of them is of the wrong type.
        ValueError: one is out of range.
    """
    for name, value, lowest in (
        ("margin", margin, 0),
        ("reach", reach, 0),
        ("least", least, 1),
    ):
        check_number(name, value, lowest, words=name in ("margin", "reach"))
    check_refresh(refresh)
    if isinstance(most, bool) or not isinstance(most, (int, float)) or not 0 < most <= 1:
        raise ValueError(f"most must be a share above 0 and up to 1, got {most!r}.")
