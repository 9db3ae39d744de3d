"""Pieces of measurements of streams of crops: boxes, means over frames."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

MEANS = ("changed", "recomputed", "agreement", "crop_agreement", "full")


def can_freeze(freeze: bool) -> bool:
    """Whether weights become constants: the flag, on the backend that can (TensorFlow)."""
    return freeze and keras.backend.backend() == "tensorflow"


def random_box(rng: np.random.Generator, share: float, shape: Sequence[int]) -> tuple[slice, slice]:
    """A box of the frame's proportions at a random place, as two slices.

    Args:
        rng: source of the place.
        share: of the frame's area.
        shape: `(height, width)` of the frame.
    """
    sides = [max(1, round(size * share**0.5)) for size in shape]
    starts = [
        int(rng.integers(0, size - side + 1)) for size, side in zip(shape, sides, strict=True)
    ]
    rows, columns = (slice(a, a + side) for a, side in zip(starts, sides, strict=True))
    return rows, columns


def average_frames(frames: Sequence[Mapping[str, Any]], count: str = "regions") -> dict[str, float]:
    """Averages measurements of a stream of crops beside one of full frames.

    Args:
        frames: one mapping per frame, with `"ms"` and `"ms_whole"` (milliseconds of both), the
            keys of `MEANS`, and the number of crops.
        count: the key of the number of crops.

    Returns:
        Means; medians of the milliseconds; `faster` is the quotient of the medians,
        `faster_in_all` that of the sums, full runs included.
    """
    result = {key: float(np.mean([x[key] for x in frames])) for key in (*MEANS, count)}
    stream, whole = ([x[key] for x in frames] for key in ("ms", "ms_whole"))
    return result | {
        "least_agreement": min(x["agreement"] for x in frames),
        "ms": statistics.median(stream),
        "ms_whole": statistics.median(whole),
        "faster": statistics.median(whole) / statistics.median(stream),
        "faster_in_all": sum(whole) / sum(stream),
    }
