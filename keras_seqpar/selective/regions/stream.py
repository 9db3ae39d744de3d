"""Segmentation of a stream: only crops around changed regions go through the network.

Needs NumPy and an interpreter only, unless it is given a Keras model.
"""

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Union

import numpy as np

from keras_seqpar.selective.arguments import RECEPTIVE_FIELD, check_regions
from keras_seqpar.selective.detector import Detector
from keras_seqpar.selective.frame_stream import Computed, FrameStream
from keras_seqpar.selective.litert_engine.sessions import FileSessions
from keras_seqpar.selective.network import Network
from keras_seqpar.selective.regions.crops import Crop, CropCosts, CropPlanner, CropSizes
from keras_seqpar.selective.regions.file_crops import FileCrops
from keras_seqpar.selective.regions.geometry import Geometry, crop_geometry
from keras_seqpar.selective.streams import open_network

if TYPE_CHECKING:
    import keras


def region_stream(
    network: Union[str, os.PathLike, "keras.Model"],
    *,
    threshold=0.0,
    detector: Detector | None = None,
    include=None,
    exclude=None,
    color: str = "rgb",
    engine: str | None = None,
    input_shape: Sequence[int] | None = None,
    margin: int | str = RECEPTIVE_FIELD,
    min_region_pixels: int = 1,
    max_cost_share: float = 0.7,
    refresh: int | None = None,
    scores: bool = False,
    num_threads: int = 1,
    signature: str | None = None,
    interpreter: str | None = None,
) -> "RegionStream":
    """Makes a stream of a segmentation network: only crops around changed regions are computed.

    Changed positions are grouped into regions. A region is grown by the distance up to which its
    change has an effect, and by the context that the network needs around that; both are `margin`.
    This crop goes through the network, and the part of its result without the context replaces
    that part of the stored map. Regions are joined where one crop costs less than two.

    With `margin="receptive_field"` the map equals that of a full run of the accepted frame: bit for
    bit on LiteRT in int8, to rounding otherwise. With a threshold of 0 that is the frame itself. A
    margin in pixels is faster and not exact. `selective.stream` of the same network is always
    exact, and computes less where the receptive field is large.

    A .tflite file needs no preparation, and keeps its scales for crops. A Keras model is converted
    in memory as by `selective.stream`.

    Args:
        network: the path of a .tflite file, or a functional Keras model, from an image
            `(height, width, channels)` to a map `(height, width, classes)` of scores, of any
            resolution. With one class, positions with a score above 0.5 have the class 1.
        threshold: as for `stream`.
        detector: as for `stream`.
        include: as for `stream`.
        exclude: as for `stream`.
        color: as for `stream`.
        engine: as for `stream`.
        input_shape: as for `stream`.
        margin: pixels around a change that are renewed, and pixels of context around these; or
            `"receptive_field"`.
        min_region_pixels: changed positions that a region must have; smaller regions wait until
            they grow.
        max_cost_share: share of a full frame's cost from which on the full frame is computed
            instead.
        refresh: compute the full frame every `refresh` frames; `None` for never.
        scores: give the network's scores instead of classes.
        num_threads: number of CPU threads of LiteRT.
        signature: as for `stream`.
        interpreter: as for `stream`.

    Returns:
        The stream; call it with frames. Its outputs are `(1, height, width)` classes, or with
        `scores` `(1, height, width, classes)`. `stats.boxes` are the crops.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: `network` is neither a path nor a Keras model, or an argument has the wrong
            type.
        ValueError: the network does not take one image and give one map, or has an operation that
            reads all positions while `margin` is `"receptive_field"`, or that works for one size
            only; or an argument is out of range.
        ImportError: no interpreter is installed.

    Example:

    >>> camera = region_stream("street.tflite", margin=7, threshold=24, min_region_pixels=12)
    >>> for frame in frames:  # (height, width, channels)
    ...     result = camera(frame)
    ...     print(result.output.shape, result.stats.mode, result.stats.boxes)
    (1, 32, 40) dense ((0, 0, 64, 80),)
    (1, 32, 40) cached ()
    """
    opened = open_network(
        network,
        engine=engine,
        input_shape=input_shape,
        num_threads=num_threads,
        signature=signature,
        interpreter=interpreter,
    )
    return RegionStream(
        opened,
        margin=margin,
        min_region_pixels=min_region_pixels,
        max_cost_share=max_cost_share,
        refresh=refresh,
        scores=scores,
        threshold=threshold,
        detector=detector,
        include=include,
        exclude=exclude,
        color=color,
    )


class RegionStream(FrameStream):
    """A segmentation network with its state from frame to frame; made by `region_stream`.

    One thread at a time may use it.

    Attributes:
        runs_on: name and version of what computes it.
        geometry: how its output corresponds to its frames.

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
        plan, self.runs_on = network.engine.plan, network.runs_on
        height, width, _ = network.inputs.shape
        check_regions(margin, min_region_pixels, max_cost_share, refresh, (height, width))
        self.geometry = geometry = crop_geometry(plan.graph)
        if geometry.barriers and margin == RECEPTIVE_FIELD:
            reasons = "; ".join(f"{name}: {why}" for name, why in geometry.barriers.items())
            raise ValueError(
                f"No crop gives the same output as a full run of {network.inputs.who} ({reasons}). "
                "Give margin as a number of pixels: classes then differ from those of a full run."
            )
        self._crops = _open_crops(network, geometry)
        self._encode, self._macs = network.encode, plan.macs
        self._planner = CropPlanner(
            geometry.rows.limited(margin),
            geometry.cols.limited(margin),
            min_region_pixels,
            CropSizes((height, width), self._crops.kept).choose,
        )
        self._costs = CropCosts(height * width)
        self._most, self._refresh = max_cost_share, refresh
        self._scores = scores
        self._since_full = 0
        output = plan.graph.tensors[geometry.output]
        self._classes = output.shape[3]
        shape, dtype = output.shape[1:3], "uint8" if self._classes <= 256 else "int32"
        self._map = np.zeros(
            output.shape[1:] if scores else shape, output.dtype if scores else dtype
        )
        super().__init__(network.inputs, f"{network.fingerprint}:regions", **options)

    @property
    def margin(self) -> tuple[int, int, int, int]:
        """Pixels of context above, left of, below and right of what a crop renews."""
        rows, cols = self._planner.rows, self._planner.cols
        return rows.before, cols.before, rows.after, cols.after

    def _load(self) -> None:
        self._crops.load()

    def _compute(self, frame: np.ndarray, changed: np.ndarray | None, everything: bool) -> Computed:
        crops: list[Crop] = []
        due = self._refresh is not None and self._since_full + 1 >= self._refresh
        full = everything or due
        if not full and changed is not None:
            crops = self._planner.plan(changed, self._costs.start)
            cost = sum(self._costs.start + crop.area for crop in crops)
            full = cost >= self._most * frame[..., 0].size
        start = time.perf_counter()
        if full:
            height, width, _ = self.input_shape
            accepted = self._accept_all(frame, changed)
            self._map[...] = self._crops.full(self._encoded(accepted), self._take)
            self._since_full = 0
            self._costs.took(time.perf_counter() - start, height * width, 0)
            return Computed("dense", [(0, 0, height, width)], self._macs)
        self._since_full += 1
        if not crops:
            return Computed("cached", [], 0)
        accepted = self._accept(frame, [crop.changed for crop in crops])
        for crop in crops:
            part = self._encoded(accepted[_slices(crop.box)])
            made = self._crops.crop(part, lambda x, crop=crop: self._take(x[_slices(crop.inside)]))
            top, left = crop.known[:2]  # with a narrow margin, `known` may exceed the crop
            self._map[top : top + made.shape[0], left : left + made.shape[1]] = made
        area = sum(crop.area for crop in crops)
        self._costs.took(time.perf_counter() - start, area, len(crops))
        macs = self._macs * area // frame[..., 0].size
        return Computed("boxes", [crop.box for crop in crops], macs)

    def _accept_all(self, frame: np.ndarray, changed: np.ndarray | None) -> np.ndarray:
        """Takes a whole frame over, but for where no changes are looked for."""
        if self._accepted is None or self._wanted is None:
            return self._accept(frame, [(0, 0, *self.input_shape[:2])])
        if changed is not None:
            self._accepted[changed] = frame[changed]
        return self._accepted

    def _encoded(self, values: np.ndarray) -> np.ndarray:
        return self._encode(values, self.geometry.frame)

    def _take(self, found: np.ndarray) -> np.ndarray:
        """What is kept of scores `(rows, columns, classes)`."""
        if self._scores:
            return found.copy()
        if self._classes == 1:
            return found[..., 0] > self._crops.half
        return found.argmax(-1)

    def _output(self) -> np.ndarray:
        return self._map[None].copy()

    @property
    def _macs_dense(self) -> int:
        return self._macs

    def _kept_bytes(self) -> int:
        return self._map.nbytes


def _open_crops(network: Network, geometry: Geometry):
    """What runs a network on crops."""
    sessions = network.engine.sessions
    if isinstance(sessions, FileSessions):
        return FileCrops(geometry, sessions.make)
    from keras_seqpar.selective.regions.model_crops import ModelCrops  # imports Keras

    return ModelCrops(geometry)


def _slices(box) -> tuple[slice, slice]:
    return slice(box[0], box[2]), slice(box[1], box[3])
