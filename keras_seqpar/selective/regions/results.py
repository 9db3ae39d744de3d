"""What a segmentation stream returns: the map, and statistics about how it was computed."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_seqpar.selective.regions.crops import Box
from keras_seqpar.selective.regions.geometry import Geometry


@dataclasses.dataclass(frozen=True)
class SegmentationStats:
    """Statistics about one frame: plain numbers and texts, so `dataclasses.asdict` gives JSON.

    Args:
        mode: `"full"` (the full frame was computed), `"regions"` (only crops were) or `"cached"`
            (nothing changed, nothing was computed); `"mixed"` for a batch whose images differ.
        changed: share of the frame's positions that changed.
        recomputed: share of the frame's area that went through the network; where crops overlap,
            the area counts twice.
        regions: number of crops.
        milliseconds: time from frame to output, without the comparison and warming up.
        warm_up_milliseconds: time that this frame waited for compiling and measuring, see
            `SegmentationStream.warm_up`; 0 for most frames.
        agreement: with `compare=True`, the share of positions with the same class as in a full
            run of the frame; else `None`. Both small differences below the threshold (noise,
            mostly) and margins narrower than the receptive field reduce it.
        crop_agreement: the same, compared with a full run of the accepted frame, in which
            differences below the threshold are left out: only narrow margins reduce it.
        since_full: number of frames since the full frame was computed.
        traces: how often anything was compiled for this stream so far.
        state_bytes: size of all that the stream keeps from frame to frame.
    """

    mode: str
    changed: float
    recomputed: float
    regions: int
    milliseconds: float
    warm_up_milliseconds: float
    agreement: float | None
    crop_agreement: float | None
    since_full: int
    traces: int
    state_bytes: int


@dataclasses.dataclass(frozen=True)
class SegmentationResult:
    """What a segmentation stream returns for a frame.

    Args:
        output: `(batch, height, width)` classes; with `scores=True`, scores with one more axis.
        stats: statistics; of a batch, sums or means over its images.
        items: statistics of each image of the batch.
        crops: for each image of the batch, the boxes `(top, left, bottom, right)` in pixels that
            went through the network.
        reference: with `compare=True`, the output of a full run of the frame; else `None`.
    """

    output: np.ndarray
    stats: SegmentationStats
    items: tuple[SegmentationStats, ...]
    crops: tuple[tuple[Box, ...], ...]
    reference: np.ndarray | None = None


def output_function(geometry: Geometry, scores: bool):
    """A function that turns the network's output into what a stream keeps.

    Args:
        geometry: of the network.
        scores: keep the scores; else the classes.
    """
    if scores:
        return lambda output: output
    classes = geometry.output_shape[2]
    if classes == 1:
        return lambda output: ops.cast(output[..., 0] > 0.5, "uint8")
    kind = "uint8" if classes <= 256 else "int32"
    return lambda output: ops.cast(ops.argmax(output, axis=-1), kind)


def agreement(maps, others, item: int) -> float | None:
    """The share of positions that have the same class in two batches of maps.

    Args:
        maps: classes or scores.
        others: the maps to compare with; with `None`, the result is `None`.
        item: index of the image in the batch.
    """
    if others is None:
        return None
    mine, theirs = maps[item], others[item]
    if mine.ndim == 3:
        one = mine.shape[2] == 1
        mine, theirs = ((x[..., 0] > 0.5 if one else x.argmax(-1)) for x in (mine, theirs))
    return float((mine == theirs).mean())


def of_batch(items: Sequence[SegmentationStats]) -> SegmentationStats:
    """The statistics of a batch: sums of numbers and times, means of shares."""
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
        warm_up_milliseconds=sum(x.warm_up_milliseconds for x in items),
        agreement=_mean([x.agreement for x in items]),
        crop_agreement=_mean([x.crop_agreement for x in items]),
        since_full=max(x.since_full for x in items),
    )


def _mean(values: Sequence) -> float | None:
    return None if None in values else float(np.mean(values))
