"""Settings of streams as commands read them from their flags."""

import dataclasses
from typing import Any

from keras_seqpar.selective.arguments import RECEPTIVE_FIELD


@dataclasses.dataclass(frozen=True)
class Detection:
    """How changes between frames are found; see `keras_seqpar.selective.stream`.

    Args:
        threshold: difference from which on a pixel counts as changed, or `"auto"`; 0 accepts every
            difference.
        luminance: compare luminance instead of channels.
        drop_single: leave out changed pixels without a changed neighbor.
        dilate: pixels by which changes are grown.
    """

    threshold: float | str = 0.0
    luminance: bool = False
    drop_single: bool = False
    dilate: int = 0

    def arguments(self) -> dict[str, Any]:
        """Arguments of a stream. Luminance and neighbors only matter above a threshold of 0."""
        arguments: dict[str, Any] = {"threshold": self.threshold, "dilate": self.dilate}
        if self.threshold:
            arguments |= {"luminance": self.luminance, "drop_single": self.drop_single}
        return arguments


@dataclasses.dataclass(frozen=True)
class Updates:
    """What is computed again after a change; see `stream` and `region_stream`.

    Args:
        reach: pixels around a change that are computed again, or `"receptive_field"`; `None` for
            the default of the kind of network.
        refresh: frames from one full run to the next; `None` for never.
        freeze: make weights constants (TensorFlow only).
        prune: of networks that predict categories: share up to which changes stop inside.
        margin: of segmentation: pixels of context around a region, or `"receptive_field"`.
        least: of segmentation: changed pixels that a region must have.
    """

    reach: int | str | None = None
    refresh: int | None = None
    freeze: bool = False
    prune: float = 0.0
    margin: int | str = 8
    least: int = 12


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
