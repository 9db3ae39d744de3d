"""Segmentation of a stream: only regions that changed go through the network."""

import dataclasses
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_seqpar.selective.axis import RECEPTIVE_FIELD, check_crops
from keras_seqpar.selective.change_maps.flattening import fingerprint, flatten
from keras_seqpar.selective.change_maps.program import compile_program
from keras_seqpar.selective.detector import Detector, region
from keras_seqpar.selective.frames import check, stored
from keras_seqpar.selective.keras_engine.dense_path import Whole
from keras_seqpar.selective.regions import crops as regions
from keras_seqpar.selective.regions.geometry import geometry
from keras_seqpar.selective.regions.results import (
    SegmentationResult,
    SegmentationStats,
    agreement,
    finish,
    together,
)

_FIXED = 0.02  # of a frame's pixels: what a crop costs beside its area, without a calibration


@dataclasses.dataclass
class _Item:
    """What is kept for one item of the batch; `accepted` is what `output` stands for."""

    detector: Detector
    accepted: np.ndarray
    output: Any = None
    since_full: int = 0
    changed: np.ndarray | None = None  # in the last frame; None where everything was computed


class SegmentationStream:
    """Segments frame after frame, computing only crops around what changed.

    Changed positions are joined to regions. A region grows by `reach`, as far as its change
    matters, and by `margin`, what the network has to see around; that crop goes through the
    network, and what it says without its margin is put into the map of the frame before. With
    both as wide as the receptive field, the map equals that of a full run of what was accepted:
    of the frame itself with a threshold of 0, else of one in which positions that did not change
    keep their last value. Narrower ones are faster, and not exact. Ask for `compare=True` to see
    what both cost.

    Crops begin at multiples of the model's total stride, so that they are computed as the frame
    is. After more training make a new stream. Not to be used by two threads at once.

    Args:
        model: a functional Keras model from an image `(height, width, channels)` to a map
            `(height, width, classes)` of scores, of any resolution. With one class, positions
            above 0.5 have it.
        margin: pixels of context around what is renewed, or `"receptive_field"`.
        reach: pixels around a change that are renewed, or `"receptive_field"`; by default as
            `margin`.
        threshold: from which difference on a position counts as changed, in the frame's units:
            one number, one per channel, or `"auto"`; see `Detector`.
        luminance: compare luminance instead of channels.
        dilate: positions by which changes are grown.
        drop_single: leave out changed positions without a changed neighbor.
        learn: frames of a still scene that `threshold="auto"` learns from.
        least: positions that a region must have; smaller ones wait until they are larger.
        only: look for changes only here: a boolean `(height, width)` map, or boxes
            `(top, left, bottom, right)` in pixels.
        never: look for no changes here; likewise.
        refresh: compute the whole frame every so many frames; `None` for never.
        most: share of a frame's cost from which on the whole frame is computed instead.
        scores: give the model's scores instead of classes.
        input_shape: `(height, width, channels)`, where the model leaves it open.
        calibrate: measure at the first frame what a crop costs beside its area, to know which
            regions to join; takes a few runs.
        freeze: make the weights constants of the compiled graph (TensorFlow only): quicker, and
            larger by a copy or two of the weights.

    Raises:
        TypeError: no Keras model, or an argument of the wrong type.
        ValueError: no functional model of one image and one map, a layer that looks at all
            positions (with `"receptive_field"`), or an argument out of range.

    Example:

    >>> camera = SegmentationStream(model, margin=16, threshold=20, refresh=100)
    >>> for frame in frames:  # (height, width, channels)
    ...     result = camera(frame)
    ...     print(result.output[0], result.stats.recomputed, result.stats.regions)
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        margin: int | str = RECEPTIVE_FIELD,
        reach: int | str | None = None,
        threshold=0.0,
        luminance: bool = False,
        dilate: int = 0,
        drop_single: bool = False,
        learn: int = 5,
        least: int = 1,
        only=None,
        never=None,
        refresh: int | None = None,
        most: float = 0.7,
        scores: bool = False,
        input_shape: Sequence[int] | None = None,
        calibrate: bool = True,
        freeze: bool = False,
    ):
        self._detector = Detector(threshold, luminance, dilate, drop_single, learn)
        reach = margin if reach is None else reach
        check_crops(margin, reach, least, refresh, most)
        flat = flatten(model, input_shape)
        self.geometry = geometry(model, input_shape)
        if self.geometry.barrier and RECEPTIVE_FIELD in (margin, reach):
            raise ValueError(
                f"No crop gives what a full run of {model.name!r} gives "
                f"({self.geometry.barrier}). Give margin as a number of pixels: predictions then "
                "differ from a full run's, see compare=True."
            )
        self._program = compile_program(flat)
        self._detector.check(self.geometry.shape)
        self._fingerprint = fingerprint(flat)
        self._least, self._refresh, self._most = least, refresh, float(most)
        self._scores, self._calibrate = scores, calibrate
        self._full = Whole(self._program, finish(self.geometry, scores), freeze=freeze)
        rows, cols = self.geometry.rows, self.geometry.cols
        self._planner = regions.Planner(
            rows.within(margin), cols.within(margin),
            rows.within(reach), cols.within(reach), self._full.backend.fit,
        )  # fmt: skip
        self._fixed = _FIXED * rows.size * cols.size
        self._items: list[_Item] = []
        self._dtype: np.dtype | None = None
        self._busy = threading.Lock()
        self.look(only=only, never=never)

    @property
    def fingerprint(self) -> str:
        """A hash of the model with its weights and size of frames."""
        return self._fingerprint

    @property
    def margin(self) -> tuple[int, int, int, int]:
        """Pixels of context above, left, below and right of what a crop renews."""
        rows, cols = self._planner.rows, self._planner.cols
        return rows.before, cols.before, rows.after, cols.after

    @property
    def state_bytes(self) -> int:
        """Size of everything that is kept from frame to frame."""
        arrays = [a for x in self._items for a in (x.accepted, x.output) if a is not None]
        return sum(a.nbytes for a in arrays)

    def look(self, *, only=None, never=None) -> None:
        """Sets where changes are looked for from now on; `None` takes a limit away.

        Args:
            only: only here, as for the constructor.
            never: not here.

        Raises:
            ValueError: no map or boxes of the frame's size.
        """
        shape = self.geometry.shape[:2]
        wanted = np.ones(shape, bool) if only is None else region(only, shape, "only").copy()
        if never is not None:
            wanted &= ~region(never, shape, "never")
        self._wanted = None if wanted.all() else wanted

    def __call__(self, frame, *, mask=None, compare: bool = False) -> SegmentationResult:
        """Takes a frame.

        Args:
            frame: `(height, width, channels)`, or with a batch axis: then every item of the
                batch is a stream of its own.
            mask: the positions that changed, found by the caller, instead of looking for them:
                as `only` of the constructor.
            compare: run the whole frame as well, as it came and as it was accepted, and say how
                many positions agree; `milliseconds` leaves those runs out.

        Returns:
            The map and what it took.

        Raises:
            TypeError: no numbers, or other types of numbers than before.
            ValueError: another size than the model's, another batch than before, NaN or infinite
                values, or a mask of another size.
            RuntimeError: another thread is using this stream.
        """
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(
                "This stream is in use by another thread. Frames of one stream come one after "
                "the other; make one stream per thread."
            )
        try:
            return self._run(frame, mask, compare)
        finally:
            self._busy.release()

    def change_map(self, *, item: int = 0) -> np.ndarray:
        """The positions that were taken as changed in the last frame.

        Args:
            item: which item of the batch.

        Returns:
            Boolean `(height, width)`; all true where the whole frame was computed.

        Raises:
            ValueError: no frame was seen yet, or an unknown item.
        """
        if not 0 <= item < len(self._items):
            raise ValueError(f"No frame was seen yet for item {item} of the batch.")
        changed = self._items[item].changed
        return np.ones(self.geometry.shape[:2], bool) if changed is None else changed.copy()

    def reset(self) -> None:
        """Forgets all frames; the next one may have another batch or another type."""
        self._items, self._dtype = [], None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that is kept from frame to frame, as arrays for `numpy.savez`."""
        state = {"fingerprint": np.array(self._key), "items": np.array(len(self._items))}
        for i, item in enumerate(self._items):
            learned = item.detector.state_dict()
            state |= {
                f"item{i}_accepted": item.accepted.copy(),
                f"item{i}_output": np.array(item.output),
                f"item{i}_since_full": np.array(item.since_full),
                f"item{i}_noise": np.array(learned["noise"]),
                f"item{i}_seen": np.array(learned["seen"]),
            }
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes over a state, on any backend; the frames go on where it was taken.

        Args:
            state: from `state_dict`, or what `numpy.load` reads of it.

        Raises:
            ValueError: the state of another model, or one that is incomplete or damaged.
        """
        theirs = str(state["fingerprint"]) if "fingerprint" in state else "no fingerprint"
        if theirs != self._key:
            raise ValueError(
                f"This state belongs to another model ({theirs}, not {self._key}): structure, "
                "weights, size of the frames or kind of output differ."
            )
        output = self.geometry.output_shape[: None if self._scores else 2]
        items = []
        try:
            for i in range(int(state["items"])):
                item = _Item(
                    dataclasses.replace(self._detector, _seen=[]),
                    stored(state, f"item{i}_accepted", self.geometry.shape),
                    stored(state, f"item{i}_output", output),
                    int(state[f"item{i}_since_full"]),
                )
                learned = {key: state[f"item{i}_{key}"] for key in ("noise", "seen")}
                item.detector.load_state(learned)
                items.append(item)
        except KeyError as error:
            raise ValueError(f"The state is not complete: {error} is missing.") from None
        self._items = items
        self._dtype = items[0].accepted.dtype if items else None

    @property
    def _key(self) -> str:
        return f"{self._fingerprint}-{'scores' if self._scores else 'classes'}"

    def _run(self, given, mask, compare: bool) -> SegmentationResult:
        start = time.perf_counter()
        frames, _ = check(given, self._program, len(self._items), self._dtype)
        mask = None if mask is None else region(mask, self.geometry.shape[:2], "mask")
        self._dtype = frames.dtype
        if not self._items:
            self._items = [
                _Item(dataclasses.replace(self._detector, _seen=[]), frame.copy())
                for frame in frames
            ]
        checked = 1000 * (time.perf_counter() - start) / len(frames)
        done = []
        for item, frame in zip(self._items, frames, strict=True):
            start = time.perf_counter()
            mode, crops = self._advance(item, frame, mask)
            done.append((mode, crops, checked + 1000 * (time.perf_counter() - start)))
        output = np.stack([item.output for item in self._items])
        accepted = [item.accepted for item in self._items]
        whole, of_accepted = (
            np.stack([self._full(x) for x in images]) if compare else None
            for images in (frames, accepted)
        )
        items = []
        for i, (mode, crops, milliseconds) in enumerate(done):
            item = self._items[i]
            shares = [regions.area(box) for box in crops]
            items.append(
                SegmentationStats(
                    mode=mode,
                    changed=1.0 if item.changed is None else float(item.changed.mean()),
                    recomputed=1.0 if mode == "full" else sum(shares) / frames[i, ..., 0].size,
                    regions=len(crops),
                    milliseconds=milliseconds,
                    agreement=agreement(output, whole, i),
                    crop_agreement=agreement(output, of_accepted, i),
                    since_full=item.since_full,
                    traces=self._full.traces,
                    state_bytes=self.state_bytes,
                )
            )
        crops = tuple(crops for _, crops, _ in done)
        return SegmentationResult(output, together(items), tuple(items), crops, whole)

    def _advance(self, item: _Item, frame: np.ndarray, mask) -> tuple[str, tuple]:
        """Brings one item of the batch to its next frame; returns mode and boxes."""
        first = item.output is None
        learning = item.detector.is_learning
        due = self._refresh is not None and item.since_full + 1 >= self._refresh
        if first or learning or due:
            if learning and not first:
                item.detector.observe(frame, item.accepted)
            self._take_all(item, frame)
            if first and self._calibrate:
                self._measure(frame)
                self._calibrate = False
            return "full", ()
        changed = item.detector(frame, item.accepted) if mask is None else mask
        if self._wanted is not None and mask is None:
            changed = changed & self._wanted
        crops = regions.plan(changed, self._planner, self._fixed, self._least)
        if sum(self._fixed + crop.area for crop in crops) >= self._most * changed.size:
            self._take_all(item, frame)
            return "full", ()
        for crop in crops:
            part = _slices(crop.changed)
            item.accepted[part] = frame[part]
        output, item.output = item.output, None  # where a crop fails, the next frame runs whole
        for crop in crops:
            made = self._full(item.accepted[_slices(crop.box)])[_slices(crop.inside)]
            top, left = crop.known[:2]  # a narrow margin may promise more than there is
            output[top : top + made.shape[0], left : left + made.shape[1]] = made
        item.output, item.changed = output, changed
        item.since_full += 1
        return ("regions" if crops else "cached"), tuple(crop.box for crop in crops)

    def _take_all(self, item: _Item, frame: np.ndarray) -> None:
        item.accepted[:] = frame
        item.output = np.array(self._full(frame))  # of its own: JAX's may not be changed
        item.changed, item.since_full = None, 0

    def _measure(self, frame: np.ndarray) -> None:
        """Finds what a crop costs beside its area: a line through a frame and a small crop."""
        rows, cols = self.geometry.rows, self.geometry.cols
        strides = [(a.stride, -(-a.size // a.stride)) for a in (rows, cols)]
        sides = [step * self._planner.fit(-(-most // 4), most, "crops") for step, most in strides]
        crop = frame[: sides[0], : sides[1]]
        self._full(crop)
        times = []
        for image in (frame, crop):
            runs = []
            for _ in range(3):
                start = time.perf_counter()
                self._full(image)
                runs.append(time.perf_counter() - start)
            times.append(min(runs))
        whole, part = rows.size * cols.size, crop[..., 0].size
        slope = (times[0] - times[1]) / max(whole - part, 1)
        if slope > 0:
            self._fixed = float(np.clip(times[1] / slope - part, 0, whole / 8))


def _slices(box: regions.Box) -> tuple[slice, slice]:
    return slice(box[0], box[2]), slice(box[1], box[3])
