"""Segmentation of a stream: the map of classes is renewed only in regions that changed.

Needs NumPy and an interpreter only, unless it is given a Keras model.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Union

import numpy as np

from keras_seqpar.selective.detector import largest_around
from keras_seqpar.selective.frame_stream import Stream
from keras_seqpar.selective.network import Network
from keras_seqpar.selective.planning.boxes import Box, cover
from keras_seqpar.selective.streams import open_network

if TYPE_CHECKING:
    import keras

RECEPTIVE_FIELD = "receptive_field"  # value of `margin` with which a stream is exact
CELL = 8  # pixels; changes in the same or in adjacent cells of this size are one region


def region_stream(
    network: Union[str, os.PathLike, "keras.Model"],
    *,
    margin: int | str = RECEPTIVE_FIELD,
    min_region_pixels: int = 1,
    max_cost_share: float = 1.0,
    refresh: int | None = None,
    scores: bool = False,
    **options,
) -> "RegionStream":
    """Makes a stream of a segmentation network that renews the regions that changed.

    Changed positions are grouped into regions. In every stored map, a region is computed again as
    far as its change reaches, but at most `margin` pixels around it. What is further away keeps the
    values that it had.

    With `margin="receptive_field"` the map equals that of a full run of the accepted frame: bit for
    bit on LiteRT, to rounding on Keras. With a threshold of 0 that is the frame itself. A margin in
    pixels is faster and not exact.

    Args:
        network: the path of a .tflite file, or a functional Keras model, from an image
            `(height, width, channels)` to a map `(height, width, classes)` of scores, of any
            resolution. With one class, positions with a score above 0.5 have the class 1.
        margin: pixels around a change up to which its effect is followed, or `"receptive_field"`
            for all of it.
        min_region_pixels: changed positions that a region must have; smaller regions wait until
            they grow.
        max_cost_share: share of a full frame's estimated cost from which on the full frame is
            computed instead; below it, the times that were measured so far choose.
        refresh: compute the full frame every `refresh` frames; `None` for never.
        scores: give the network's scores instead of classes.
        **options: further arguments of `stream`, such as `threshold` and `num_threads`.

    Returns:
        The stream; call it with frames. Its outputs are `(1, height, width)` classes, or with
        `scores` `(1, height, width, classes)`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the network does not give one map, or an argument is out of range; for further
            errors see `stream`.

    Example:

    >>> camera = region_stream("street.tflite", margin=7, threshold=24, min_region_pixels=12)
    >>> for frame in frames:  # (height, width, channels)
    ...     result = camera(frame)
    ...     print(result.output.shape, result.stats.mode, result.stats.boxes)
    (1, 32, 40) dense ((0, 0, 64, 80),)
    (1, 32, 40) cached ()
    """
    names = ("threshold", "detector", "include", "exclude", "color")
    of_frames = {name: options.pop(name) for name in names if name in options}
    return RegionStream(
        open_network(network, **options),
        margin=margin,
        min_region_pixels=min_region_pixels,
        max_cost_share=max_cost_share,
        refresh=refresh,
        scores=scores,
        **of_frames,
    )


class RegionStream(Stream):
    """A segmentation network with its state from frame to frame; made by `region_stream`.

    Attributes:
        margin: as for `region_stream`.

    Example:

    >>> camera = region_stream("street.tflite", margin=7, threshold=24)
    >>> result = camera(frames[0])
    >>> np.savez("camera.npz", **camera.state_dict())
    """

    def __init__(
        self,
        network: Network,
        *,
        margin: int | str,
        min_region_pixels: int,
        max_cost_share: float,
        refresh: int | None,
        scores: bool,
        **options,
    ):
        graph, shape = network.engine.plan.graph, network.inputs.shape[:2]
        _check(margin, min_region_pixels, max_cost_share, refresh, shape)
        shapes = [graph.tensors[i].shape for i in graph.outputs]
        if len(shapes) != 1 or len(shapes[0]) != 4:
            raise ValueError(
                f"A segmentation network gives one map (1, height, width, classes), but "
                f"{graph.name} gives outputs of the shapes {shapes}. Take a network of the map "
                "alone."
            )
        self.margin = margin
        self._margin = None if isinstance(margin, str) else margin
        self._least, self._most, self._refresh = min_region_pixels, max_cost_share, refresh
        self._since_full = 0
        self._number = next(iter(graph.outputs))
        output = graph.tensors[self._number]
        scales: Sequence[float] = getattr(output, "scales", ())
        self._half = output.zero + 0.5 / float(scales[0]) if len(scales) else 0.5
        *_, classes = shapes[0]
        self._classes: np.ndarray | None = None
        if not scores:
            self._classes = np.zeros(shapes[0][:3], "uint8" if classes <= 256 else "int32")
        super().__init__(network, **options)

    def _compute(
        self, frame: np.ndarray, changed: np.ndarray | None, everything: bool
    ) -> tuple[str, Sequence[Box]]:
        self._since_full += 1
        if changed is not None and self._least > 1:
            changed = without_small(changed, self._least)
        boxes = [] if changed is None else cover(changed)
        if not everything and self._refresh is not None and self._since_full >= self._refresh:
            all_ = np.ones(frame.shape[:2], bool) if self._wanted is None else self._wanted
            boxes, everything, self._complete = cover(all_), True, False
        work = self._follow(boxes, everything)
        if boxes and work.cost >= self._most * self._engine.everything.cost:
            work = self._engine.everything
        mode = self._renew(frame, boxes, work)
        whole = [(0, 0, *self._graph.tensors[self._number].grid)]
        if mode == "dense":
            self._since_full = 0
            self._take(whole)
        elif mode == "boxes":
            self._take(work.changed.get(self._number, whole if work.dense else []))
        return mode, boxes

    def _take(self, boxes: Sequence[Box]) -> None:
        """Takes over the classes in boxes of the output."""
        if self._classes is None:
            return
        output = self._engine.output(self._number)
        for top, left, bottom, right in boxes:
            found = output[:, top:bottom, left:right]
            self._classes[:, top:bottom, left:right] = (
                found[..., 0] > self._half if found.shape[-1] == 1 else found.argmax(-1)
            )

    def _output(self) -> np.ndarray | dict[str, np.ndarray]:
        return super()._output() if self._classes is None else self._classes.copy()

    @property
    def state_bytes(self) -> int:
        """Size in bytes of all that is kept from frame to frame."""
        return super().state_bytes + (0 if self._classes is None else self._classes.nbytes)


def without_small(changed: np.ndarray, least: int) -> np.ndarray:
    """A boolean map without regions of fewer than `least` true positions.

    Changes are of one region where they are in one cell of 8x8 positions or in two cells that
    touch, also at a corner.
    """
    height, width = changed.shape
    cells = np.pad(changed, ((0, -height % CELL), (0, -width % CELL)))
    counts = cells.reshape(-1, CELL, cells.shape[1]).sum(1, "uint16")
    counts = counts.reshape(len(counts), -1, CELL).sum(2)
    region = np.arange(1, counts.size + 1).reshape(counts.shape) * (counts > 0)
    before = np.zeros_like(region)
    while (region != before).any():  # cells take the largest number that they touch
        before, region = region, largest_around(region) * (counts > 0)
    large = np.bincount(region.ravel(), counts.ravel()) >= least
    kept = (large[region] & (counts > 0)).repeat(CELL, 1).repeat(CELL, 0)
    return changed & kept[:height, :width]


def parse_margin(name: str, text: str) -> int | str:
    """A number of pixels, or `"receptive_field"`, from the text of a flag."""
    if text == RECEPTIVE_FIELD:
        return text
    if text.isdigit():
        return int(text)
    raise ValueError(f"--{name} must be a whole number or receptive_field, got {text!r}.")


def _check(margin, min_region_pixels, max_cost_share, refresh, shape: Sequence[int]) -> None:
    """Checks arguments of `region_stream`, for frames of `(height, width)`."""
    for name, value, lowest, other in (
        ("margin", margin, 0, RECEPTIVE_FIELD),
        ("min_region_pixels", min_region_pixels, 1, 1),
        ("refresh", refresh, 1, None),
    ):
        if value == other and not isinstance(value, bool):
            continue
        known = f" or {other!r}" if name == "margin" else ""
        message = f"{name} must be a whole number of {lowest} or more{known}, got {value!r}."
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise TypeError(message)
        if isinstance(value, str) or value < lowest:
            raise ValueError(message)
    if min_region_pixels > shape[0] * shape[1]:
        raise ValueError(
            f"min_region_pixels={min_region_pixels} exceeds the {shape[0] * shape[1]} positions of "
            f"a frame of {shape[0]}x{shape[1]}, so no change would ever count."
        )
    share = max_cost_share
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise ValueError(f"max_cost_share must be a share above 0 and up to 1, got {share!r}.")
