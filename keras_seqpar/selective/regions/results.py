"""What a segmentation stream gives: the map, and what it took."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_seqpar.selective.regions import crops as regions
from keras_seqpar.selective.regions.geometry import Geometry


@dataclasses.dataclass(frozen=True)
class SegmentationStats:
    """What one frame took.

    Args:
        mode: `"full"`, `"regions"`, or `"cached"` (nothing changed, nothing computed); `"mixed"`
            for a batch whose items differ.
        changed: share of the frame's positions that changed.
        recomputed: share of the frame's area that went through the network; overlapping crops
            count twice.
        regions: number of crops.
        milliseconds: from frame to output, without the comparison.
        agreement: share of positions with the same class as in a run of the whole frame, where
            that was asked for; else `None`. What the threshold lets pass, noise in the first
            place, and narrow margins both cost of it.
        crop_agreement: the same with a run of the frame as it was accepted, without what the
            threshold lets pass: what narrow margins alone cost.
        since_full: frames since the whole frame was computed.
        traces: how often anything was compiled for this stream so far.
        state_bytes: size of everything that is kept from frame to frame.
    """

    mode: str
    changed: float
    recomputed: float
    regions: int
    milliseconds: float
    agreement: float | None
    crop_agreement: float | None
    since_full: int
    traces: int
    state_bytes: int


@dataclasses.dataclass(frozen=True)
class SegmentationResult:
    """What a segmentation stream gives for a frame.

    Args:
        output: `(batch, height, width)` classes, or scores with one more axis.
        stats: what it took; for a batch, summed or averaged over its items.
        items: what each item of the batch took.
        crops: per item the boxes `(top, left, bottom, right)` that went through the network, in
            pixels.
        reference: where a comparison was asked for, what a run of the whole frame gives.
    """

    output: np.ndarray
    stats: SegmentationStats
    items: tuple[SegmentationStats, ...]
    crops: tuple[tuple[regions.Box, ...], ...]
    reference: np.ndarray | None = None


def finish(found: Geometry, scores: bool):
    """What turns a model's output into what is kept: classes, or the scores as they are."""
    if scores:
        return lambda output: output
    classes = found.output_shape[2]
    if classes == 1:
        return lambda output: ops.cast(output[..., 0] > 0.5, "uint8")
    kind = "uint8" if classes <= 256 else "int32"
    return lambda output: ops.cast(ops.argmax(output, axis=-1), kind)


def agreement(maps, others, item: int) -> float | None:
    """Share of positions of the same class in an item of two batches; `None` without a second."""
    if others is None:
        return None
    mine, theirs = maps[item], others[item]
    if mine.ndim == 3:
        one = mine.shape[2] == 1
        mine, theirs = ((x[..., 0] > 0.5 if one else x.argmax(-1)) for x in (mine, theirs))
    return float((mine == theirs).mean())


def together(items: Sequence[SegmentationStats]) -> SegmentationStats:
    """The statistics of a batch: sums of what was done, means of shares."""
    if len(items) == 1:
        return items[0]
    modes = {x.mode for x in items}
    return dataclasses.replace(
        items[-1],
        mode=modes.pop() if len(modes) == 1 else "mixed",
        changed=float(np.mean([x.changed for x in items])),
        recomputed=float(np.mean([x.recomputed for x in items])),
        regions=sum(x.regions for x in items),
        milliseconds=sum(x.milliseconds for x in items),
        agreement=_mean([x.agreement for x in items]),
        crop_agreement=_mean([x.crop_agreement for x in items]),
        since_full=max(x.since_full for x in items),
    )


def _mean(values: Sequence) -> float | None:
    return None if None in values else float(np.mean(values))
