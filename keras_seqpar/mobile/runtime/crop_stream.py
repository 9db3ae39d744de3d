"""Runs a file of fixed crop sizes on a stream of frames, only where they changed.

Needs NumPy and an interpreter only.
"""

import dataclasses
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_seqpar.mobile.runtime.crop_plan import (
    FULL,
    FixedPlanner,
    Layout,
    Size,
    distinct_boxes,
    signature_of,
    size_of,
)
from keras_seqpar.mobile.runtime.interpreters import not_picklable
from keras_seqpar.mobile.runtime.runner import Runner
from keras_seqpar.selective.arguments import RECEPTIVE_FIELD, check_crops, check_least
from keras_seqpar.selective.detector import AUTO, Detector, check_finite
from keras_seqpar.selective.ranges import RangeCheck
from keras_seqpar.selective.regions.crops import Box, Crop, area

_RUNS = 3  # of each signature, to measure its cost; the fastest counts


@dataclasses.dataclass(frozen=True)
class CropResult:
    """The result of a frame.

    Args:
        output: `(height, width)` classes.
        mode: `"full"` if the full frame was computed, `"regions"` if crops were, `"cached"` if
            nothing was.
        changed: share of the positions that changed; 1 if no frame was compared with.
        recomputed: pixels of the crops, as a share of the frame's.
        signatures: the signatures that ran, in order.
        boxes: of the crops, `(top, left, bottom, right)` in pixels.
        milliseconds: time of the call, without measuring.
        warm_up_milliseconds: time that this frame waited for measuring, see `CropStream.warm_up`.
    """

    output: np.ndarray
    mode: str
    changed: float
    recomputed: float
    signatures: tuple[str, ...]
    boxes: tuple[Box, ...]
    milliseconds: float
    warm_up_milliseconds: float = 0.0

    @property
    def stats(self) -> dict[str, Any]:
        """All but the output, as plain data that JSON can hold."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "output"]
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass
class _Kept:
    """What is kept from frame to frame; `output` belongs to the frame `accepted`."""

    accepted: np.ndarray
    output: np.ndarray
    since_full: int = 0


class CropStream:
    """Segments frame after frame with a file of `convert_crops`, computing only crops.

    Works like `keras_seqpar.selective.SegmentationStream`, with the few crop sizes of the file. A
    changed region gets the cheapest crop that contains it, its reach and its margin. It is halved
    if no crop does, or if two crops cost less. If all crops together cost more than `most` of a
    full frame, the full frame is computed.

    In float files, with a margin and a reach of the receptive field, the classes equal those of
    the signature `full` on the accepted frame, which with a threshold of 0 is the frame itself.
    (Scores may differ by rounding, and so may classes with equal scores.) In quantized files crops
    and full frames have different scales, so classes differ a little. Several threads may call a
    stream: their frames are taken one after the other, in the order in which they come.

    Args:
        path: a file of `convert_crops`.
        margin: pixels of context around the renewed outputs, or `"receptive_field"`.
        reach: pixels around a change whose outputs are renewed, or `"receptive_field"`; by default
            `margin`.
        threshold: a position changed if it differs by more than this, in the frame's units: one
            number, or one per channel.
        least: changed positions that a region must have; smaller regions wait until they grow.
        most: largest cost of crops, as a share of a full frame's; above it, the full frame is
            computed.
        refresh: every how many frames the full frame is computed; `None` for never.
        calibrate: measure the cost of each signature in a few runs, at the first frame or in
            `warm_up`. Otherwise the cost of a crop is its number of pixels.
        threads: number of CPU threads.
        interpreter: as for `Runner`.

    Attributes:
        layout: the file's frames and crops.
        labels: one per class in order, or `None`.
        prices: size of a crop -> its cost in pixels of a full frame; measured at the first frame
            or in `warm_up`.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: an argument of the wrong type.
        ValueError: a file of another kind, no crop that holds even one changed pixel, or an
            argument out of range.
        ImportError: no interpreter is installed.

    Example:

    >>> camera = CropStream("street.tflite", margin=6, threshold=24, least=12, refresh=150)
    >>> for frame in frames:  # (height, width, channels)
    ...     result = camera(frame)
    ...     print(result.mode, result.signatures, result.milliseconds)
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        margin: int | str = RECEPTIVE_FIELD,
        reach: int | str | None = None,
        threshold=0.0,
        least: int = 1,
        most: float = 0.7,
        refresh: int | None = None,
        calibrate: bool = True,
        threads: int = 1,
        interpreter: str | None = None,
    ):
        reach = margin if reach is None else reach
        check_crops(margin, reach, least, refresh, most)
        if isinstance(threshold, str) and threshold == AUTO:
            raise ValueError("threshold must be a number, or one number per channel: no 'auto'.")
        self._detector = Detector(threshold)
        full = Runner(path, threads=threads, interpreter=interpreter)
        if "crops" not in full.about:
            raise ValueError(
                f"{full.path.name} has no crops. Files of a network with crops of fixed sizes come "
                "from keras_seqpar.mobile.convert_crops."
            )
        self.labels = full.labels
        self.layout = layout = Layout.from_config(full.about["crops"])
        self._detector.check(layout.frame)
        check_least(least, layout.frame)
        if layout.barrier and RECEPTIVE_FIELD in (margin, reach):
            raise ValueError(
                f"No crop gives what a whole frame gives in {full.path.name} ({layout.barrier}). "
                "Give margin and reach in pixels: predictions then differ from those of whole "
                "frames."
            )
        self._runners = {FULL: full}
        self._lock = threading.RLock()  # a frame is compared with the one before
        self._check_range = RangeCheck(full.limits, full.path.name, threshold)
        self._least, self._refresh, self._most = least, refresh, float(most)
        self._calibrate = calibrate
        self.prices: dict[Size, float] = {size: float(size[0] * size[1]) for size in layout.sizes}
        self._planner = FixedPlanner(
            layout.rows.limited(margin), layout.cols.limited(margin),
            layout.rows.limited(reach), layout.cols.limited(reach), self.prices,
        )  # fmt: skip
        y, x = layout.rows.size // 2, layout.cols.size // 2
        if self._planner.crops((y, x, y + 1, x + 1)) is None:
            sizes = ", ".join(f"{height}x{width}" for height, width in layout.sizes)
            raise ValueError(
                f"No crop of {full.path.name} ({sizes}) holds even one changed pixel with margin="
                f"{margin!r} and reach={reach!r}; the receptive field is "
                f"{layout.rows.before} + {layout.rows.after} rows. Convert it with larger crops, "
                "or give a smaller margin and reach."
            )
        self.reset()

    @property
    def accepted(self) -> np.ndarray:
        """The frame that the classes belong to: the last one, without changes below `threshold`.

        Raises:
            ValueError: no frame was seen yet.
        """
        with self._lock:
            if self._kept is None:
                raise ValueError("No frame was seen yet.")
            return self._kept.accepted.copy()

    def reset(self) -> None:
        """Forgets all frames: the next one is computed in full."""
        with self._lock:
            self._kept: _Kept | None = None
            self._check_range.restart()

    def warm_up(self) -> float:
        """Measures the cost of each signature, so that the first frame need not wait for it.

        Returns:
            The seconds that it took; 0 if nothing is left to measure.
        """
        with self._lock:
            return self._warm_up(np.zeros(self.layout.frame, "float32"))

    def __reduce_ex__(self, protocol):
        raise not_picklable(self, self._runners[FULL].path)

    def __call__(self, frame: np.ndarray) -> CropResult:
        """Takes a frame.

        Args:
            frame: `(height, width, channels)` in RGB (OpenCV's frames are BGR: give
                `frame[..., ::-1]`), in the range that the network takes.

        Returns:
            The classes, and how they were computed.

        Raises:
            TypeError: no numbers, or other types of numbers than before.
            ValueError: another size than the file's, NaN or infinite values, or values that
                contradict what the file takes.
        """
        with self._lock:
            return self._take(frame)

    def _take(self, frame: np.ndarray) -> CropResult:
        frame = self._checked(frame)
        waited = self._warm_up(frame)
        start = time.perf_counter()
        kept, changed, crops = self._kept, None, None
        if kept is not None and (self._refresh is None or kept.since_full + 1 < self._refresh):
            changed = self._detector.compare(frame, kept.accepted)
            crops = self._planner.plan(changed, self._least, self._most)
        if kept is None or crops is None:
            kept = self._kept = _Kept(frame.copy(), self._classes(FULL, frame))
            boxes, mode, signatures = (), "full", (FULL,)
        else:
            boxes = tuple(crop.box for crop in distinct_boxes(crops))
            mode = "regions" if crops else "cached"
            signatures = tuple(signature_of(size_of(crop)) for crop in distinct_boxes(crops))
            self._paste(kept, frame, crops)
        return CropResult(
            output=kept.output.copy(),
            mode=mode,
            changed=1.0 if changed is None else float(changed.mean()),
            recomputed=1.0 if mode == "full" else sum(map(area, boxes)) / frame[..., 0].size,
            signatures=signatures,
            boxes=boxes,
            milliseconds=1000 * (time.perf_counter() - start),
            warm_up_milliseconds=1000 * waited,
        )

    def _paste(self, kept: _Kept, frame: np.ndarray, crops: Sequence[Crop]) -> None:
        self._kept = None  # if a crop fails, the next frame is computed in full
        for crop in crops:
            part = _slices(crop.changed)
            kept.accepted[part] = frame[part]
        for crop in distinct_boxes(crops):
            made = self._classes(signature_of(size_of(crop)), kept.accepted[_slices(crop.box)])
            made = made[_slices(crop.inside)]
            top, left = crop.known[:2]  # with a narrow margin fewer outputs are known
            kept.output[top : top + made.shape[0], left : left + made.shape[1]] = made
        kept.since_full += 1
        self._kept = kept

    def _classes(self, signature: str, image: np.ndarray) -> np.ndarray:
        """`(height, width)` classes; with one class, whether its score is above 0.5."""
        if signature not in self._runners:
            self._runners[signature] = self._runners[FULL].beside(signature)
        scores = self._runners[signature].decide_checked(image[None])[0][0]
        if scores.shape[-1] == 1:
            return (scores[..., 0] > 0.5).astype("uint8")
        return scores.argmax(-1).astype("uint8" if scores.shape[-1] <= 256 else "int32")

    def _warm_up(self, frame: np.ndarray) -> float:
        """Measures the cost of the signatures, the fastest of a few runs, in a frame's pixels.

        Returns:
            The seconds that it took; 0 if nothing is to be measured, or it was done before.
        """
        if not self._calibrate:
            return 0.0
        begin = time.perf_counter()

        def fastest(signature: str, image: np.ndarray) -> float:
            times = []
            for _ in range(_RUNS):
                start = time.perf_counter()
                self._classes(signature, image)
                times.append(time.perf_counter() - start)
            return min(times)

        pixel = fastest(FULL, frame) / frame[..., 0].size
        for size in self.prices:
            crop = frame[: size[0], : size[1]]
            self.prices[size] = fastest(signature_of(size), crop) / pixel
        self._calibrate = False
        return time.perf_counter() - begin

    def _checked(self, given) -> np.ndarray:
        frame = np.asarray(given)
        if frame.dtype.kind not in "fiu":
            raise TypeError(f"A frame must be an array of numbers, got {type(given).__name__}.")
        if frame.shape != self.layout.frame:
            raise ValueError(
                f"Frames of {self._runners[FULL].path.name} have the shape {self.layout.frame}, "
                f"got {frame.shape}."
            )
        if self._kept is not None and frame.dtype != self._kept.accepted.dtype:
            raise TypeError(
                f"Frames were {self._kept.accepted.dtype} so far, now {frame.dtype}. Convert them, "
                "or call reset() to start anew."
            )
        self._check_range(frame)
        check_finite(frame)
        return frame


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box[0], box[2]), slice(box[1], box[3])
