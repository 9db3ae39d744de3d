"""Segmentation of a stream: only crops around changed regions go through the network."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_seqpar.selective.arguments import RECEPTIVE_FIELD, check_crops, check_least
from keras_seqpar.selective.change_maps.flattening import fingerprint, flatten
from keras_seqpar.selective.change_maps.program import compile_program
from keras_seqpar.selective.detector import Detector
from keras_seqpar.selective.keras_engine.dense_path import DensePath
from keras_seqpar.selective.regions.crops import Box, CropPlanner, area, plan_crops
from keras_seqpar.selective.regions.geometry import crop_geometry
from keras_seqpar.selective.regions.old_frame_stream import FrameStream
from keras_seqpar.selective.regions.old_frames import read_array
from keras_seqpar.selective.regions.results import (
    SegmentationResult,
    SegmentationStats,
    agreement,
    of_batch,
    output_function,
)

# Cost of a crop in addition to its area, as a share of a frame's pixels, without calibration.
_FIXED_COST = 0.02


@dataclasses.dataclass
class _State:
    """What is kept from frame to frame for one image of the batch.

    Args:
        detector: finds changes, and holds what it has learned.
        accepted: the frame that `output` belongs to.
        output: the map; `None` before the first frame and after a failed one.
        since_full: number of frames since the full frame was computed.
        changed: which positions changed in the last frame; `None` where all was computed.
    """

    detector: Detector
    accepted: np.ndarray
    output: Any = None
    since_full: int = 0
    changed: np.ndarray | None = None


class SegmentationStream(FrameStream):
    """Segments frame after frame; only crops around changed regions are computed.

    Changed positions are grouped into regions. A region is grown by `reach`, the distance up to
    which its change has an effect, and by `margin`, the context that the network needs around it.
    This crop goes through the network. The result without the margin replaces that part of the
    stored map.

    With both `margin` and `reach` as wide as the receptive field (the default), the map equals
    that of a full run of the accepted frame. With a threshold of 0 this is the frame itself;
    otherwise unchanged positions have their last accepted value in it. Smaller numbers are
    faster, but not exact; `compare=True` shows the difference.

    Frames are RGB. Those that OpenCV reads are BGR: pass `color="bgr"`. Nothing can notice that
    red and blue are swapped, but predictions and the luminance are wrong then.

    Crops begin at multiples of the network's total stride, so that they are computed like the
    full frame. The weights are those at the time of construction: make a new stream after more
    training. A stream must not be used by two threads at once.

    Args:
        model: a functional Keras model from an image `(height, width, channels)` to a map
            `(height, width, classes)` of scores, of any resolution. With one class, positions
            with a score above 0.5 have the class 1.
        margin: pixels of context around what a crop renews, or `"receptive_field"`.
        reach: pixels around a change that are renewed, or `"receptive_field"`; by default the
            same as `margin`.
        threshold: a position changed if a channel differs by more than this, in the units of the
            frames: one number, one per channel, or `"auto"`; see `Detector`.
        luminance: compare the luminance instead of each channel.
        dilate: positions by which changes are grown.
        drop_single: ignore changed positions that have no changed neighbor.
        learn: number of frames of a still scene from which `threshold="auto"` learns the noise.
        color: order of the channels of the frames: `"rgb"`, or `"bgr"` as OpenCV reads them. The
            network gets RGB either way.
        least: changed positions that a region must have; smaller regions wait until they grow.
        only: look for changes only here: a boolean `(height, width)` map, or boxes
            `(top, left, bottom, right)` in pixels.
        never: do not look for changes here; same types as `only`.
        refresh: compute the full frame every `refresh` frames; `None` for never.
        most: share of a full frame's cost from which on the full frame is computed instead.
        scores: return the network's scores instead of classes.
        input_shape: `(height, width, channels)`; needed where the model leaves sizes open.
        calibrate: measure at the first frame, or in `warm_up`, what a crop costs in addition to
            its area, which decides which regions are merged; takes 7 runs of the network.
        freeze: make the weights constants of the compiled graph (TensorFlow only): faster, but
            takes one or two more copies of the weights in memory.

    Raises:
        TypeError: `model` is not a Keras model, or an argument has the wrong type.
        ValueError: the model is not functional, does not take one image and give one map, or has
            a layer that reads all positions while `margin` or `reach` is `"receptive_field"`; or
            an argument is out of range.

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
        color: str = "rgb",
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
        detector = Detector(threshold, luminance, dilate, drop_single, learn)
        reach = margin if reach is None else reach
        check_crops(margin, reach, least, refresh, most)
        flat = flatten(model, input_shape)
        self.geometry = crop_geometry(model, input_shape)
        if self.geometry.barrier and RECEPTIVE_FIELD in (margin, reach):
            raise ValueError(
                f"No crop gives the same output as a full run of {model.name!r} "
                f"({self.geometry.barrier}). Pass margin as a number of pixels: predictions then "
                "differ from a full run's, by how much compare=True shows."
            )
        program = compile_program(flat)
        super().__init__(
            model, flat, program, detector=detector, color=color, only=only, never=never
        )
        check_least(least, self.geometry.shape)
        self._fingerprint = fingerprint(flat)
        self._least, self._refresh, self._most = least, refresh, float(most)
        self._scores, self._calibrate = scores, calibrate
        self._full = DensePath(self._program, output_function(self.geometry, scores), freeze=freeze)
        rows, cols = self.geometry.rows, self.geometry.cols
        self._planner = CropPlanner(
            rows.limited(margin), cols.limited(margin),
            rows.limited(reach), cols.limited(reach), self._full.backend.size_class,
        )  # fmt: skip
        self._fixed_cost = _FIXED_COST * rows.size * cols.size
        self._states: list[_State] = []
        self._is_warm = False

    @property
    def fingerprint(self) -> str:
        """A hash of the network: its layers, weights and size of frames."""
        return self._fingerprint

    @property
    def margin(self) -> tuple[int, int, int, int]:
        """Pixels of context above, left of, below and right of what a crop renews."""
        rows, cols = self._planner.rows, self._planner.cols
        return rows.before, cols.before, rows.after, cols.after

    @property
    def state_bytes(self) -> int:
        """Size in bytes of all that is kept from frame to frame."""
        arrays = [a for x in self._states for a in (x.accepted, x.output) if a is not None]
        return sum(a.nbytes for a in arrays)

    def __call__(self, frame, *, mask=None, compare: bool = False) -> SegmentationResult:
        """Segments a frame.

        Args:
            frame: `(height, width, channels)`, or a batch of frames: each image of the batch is
                a stream of its own.
            mask: the positions that changed, if the caller knows them; no changes are looked for
                then. Same types as `only` of the constructor.
            compare: also run the full frame, and the full accepted frame, and count the
                positions that agree. `milliseconds` does not include these runs.

        Returns:
            The map and statistics.

        Raises:
            TypeError: the frame is not numeric, or has another type than before.
            ValueError: the frame has another size than the network's input, NaN or infinite
                values or values that contradict what the network states, the batch has another
                size than before, or the mask has another size.
            RuntimeError: another thread is using this stream.
        """
        with self._exclusive():
            return self._run(frame, mask, compare)

    def change_map(self, *, item: int = 0) -> np.ndarray:
        """The positions that changed in the last frame.

        Args:
            item: index of the image in the batch.

        Returns:
            Boolean `(height, width)`; all true where the full frame was computed.

        Raises:
            ValueError: there was no frame yet, or the batch has no such image.
        """
        if not 0 <= item < len(self._states):
            raise ValueError(f"No frame was seen yet for image {item} of the batch.")
        changed = self._states[item].changed
        return np.ones(self.geometry.shape[:2], bool) if changed is None else changed.copy()

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that is kept from frame to frame, as arrays for `numpy.savez`."""
        state = {"fingerprint": np.array(self._key), "items": np.array(len(self._states))}
        for i, kept in enumerate(self._states):
            learned = kept.detector.state_dict()
            state |= {
                f"item{i}_accepted": kept.accepted.copy(),
                f"item{i}_output": np.array(kept.output),
                f"item{i}_since_full": np.array(kept.since_full),
                f"item{i}_noise": np.array(learned["noise"]),
                f"item{i}_seen": np.array(learned["seen"]),
            }
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continues from a saved state, which may come from another backend.

        Args:
            state: the result of `state_dict`, or of `numpy.load` for a file of it.

        Raises:
            ValueError: the state belongs to another network, or is incomplete or damaged.
        """
        found = str(state["fingerprint"]) if "fingerprint" in state else "no fingerprint"
        if found != self._key:
            raise ValueError(
                f"This state belongs to another model ({found}, not {self._key}): the structure, "
                "the weights, the size of the frames or the kind of output differ."
            )
        output = self.geometry.output_shape[: None if self._scores else 2]
        states = []
        try:
            for i in range(int(state["items"])):
                item_state = _State(
                    dataclasses.replace(self._detector, _seen=[]),
                    read_array(state, f"item{i}_accepted", self.geometry.shape),
                    read_array(state, f"item{i}_output", output),
                    int(state[f"item{i}_since_full"]),
                )
                learned = {key: state[f"item{i}_{key}"] for key in ("noise", "seen")}
                item_state.detector.load_state(learned)
                states.append(item_state)
        except KeyError as error:
            raise ValueError(f"The state is not complete: {error} is missing.") from None
        self._states = states
        self._dtype = states[0].accepted.dtype if states else None

    @property
    def _key(self) -> str:
        return f"{self._fingerprint}-{'scores' if self._scores else 'classes'}"

    def _run(self, given, mask, compare: bool) -> SegmentationResult:
        start = time.perf_counter()
        frames, _, mask = self._receive(given, mask)
        self._dtype = frames.dtype
        if not self._states:
            self._states = [
                _State(dataclasses.replace(self._detector, _seen=[]), frame.copy())
                for frame in frames
            ]
        checked = 1000 * (time.perf_counter() - start) / len(frames)
        waited = self._warm_up_for_frame()
        done = []
        for state, frame in zip(self._states, frames, strict=True):
            start = time.perf_counter()
            mode, crops = self._advance(state, frame, mask)
            done.append((mode, crops, checked + 1000 * (time.perf_counter() - start)))
        output = np.stack([state.output for state in self._states])
        accepted = [state.accepted for state in self._states]
        full, full_of_accepted = (
            np.stack([self._full(x) for x in images]) if compare else None
            for images in (frames, accepted)
        )
        items, pixels = [], frames[0, ..., 0].size
        for i, (mode, crops, milliseconds) in enumerate(done):
            state = self._states[i]
            items.append(
                SegmentationStats(
                    mode=mode,
                    changed=1.0 if state.changed is None else float(state.changed.mean()),
                    recomputed=1.0 if mode == "full" else sum(map(area, crops)) / pixels,
                    regions=len(crops),
                    milliseconds=milliseconds,
                    warm_up_milliseconds=0.0 if i else waited,
                    agreement=agreement(output, full, i),
                    crop_agreement=agreement(output, full_of_accepted, i),
                    since_full=state.since_full,
                    traces=self._full.traces,
                    state_bytes=self.state_bytes,
                )
            )
        crops = tuple(crops for _, crops, _ in done)
        return SegmentationResult(output, of_batch(items), tuple(items), crops, full)

    def _advance(self, state: _State, frame: np.ndarray, mask) -> tuple[str, tuple]:
        """Processes the next frame of one image of the batch; returns the mode and the crops."""
        first = state.output is None
        learning = state.detector.is_learning
        due = self._refresh is not None and state.since_full + 1 >= self._refresh
        if first or learning or due:
            if learning and not first:
                state.detector.observe(frame, state.accepted)
            self._compute_full(state, frame)
            return "full", ()
        changed = state.detector.compare(frame, state.accepted) if mask is None else mask
        if self._wanted is not None and mask is None:
            changed = changed & self._wanted
        crops = plan_crops(changed, self._planner, self._fixed_cost, self._least)
        if sum(self._fixed_cost + crop.area for crop in crops) >= self._most * changed.size:
            self._compute_full(state, frame)
            return "full", ()
        for crop in crops:
            part = _slices(crop.changed)
            state.accepted[part] = frame[part]
        output, state.output = state.output, None  # if a crop fails, the next frame runs in full
        for crop in crops:
            made = self._full(state.accepted[_slices(crop.box)])[_slices(crop.inside)]
            top, left = crop.known[:2]  # with a narrow margin, `known` may exceed the crop
            output[top : top + made.shape[0], left : left + made.shape[1]] = made
        state.output, state.changed = output, changed
        state.since_full += 1
        return ("regions" if crops else "cached"), tuple(crop.box for crop in crops)

    def _compute_full(self, state: _State, frame: np.ndarray) -> None:
        state.accepted[:] = frame
        state.output = np.array(self._full(frame))  # a copy: JAX's arrays are read-only
        state.changed, state.since_full = None, 0

    def _is_cold(self) -> str:
        return "" if self._is_warm else "compiling" + " and measuring" * self._calibrate

    def _warm_up(self, everything: bool) -> None:
        if not self._is_warm:
            frame = np.random.default_rng(0).normal(size=self._shape).astype("float32")
            self._full(frame)
            if self._calibrate:
                self._measure(frame)
            self._is_warm = True

    def _measure(self, frame: np.ndarray) -> None:
        """Measures what a crop costs in addition to its area, in pixels.

        The time of a run is taken to be linear in the area: a line through the times of a full
        frame and of a small crop gives both.
        """
        rows, cols = self.geometry.rows, self.geometry.cols
        strides = [(a.stride, -(-a.size // a.stride)) for a in (rows, cols)]
        size_class = self._planner.size_class
        sides = [step * size_class(-(-most // 4), most, "crops") for step, most in strides]
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
        full, part = rows.size * cols.size, crop[..., 0].size
        slope = (times[0] - times[1]) / max(full - part, 1)
        if slope > 0:
            self._fixed_cost = float(np.clip(times[1] / slope - part, 0, full / 8))


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box[0], box[2]), slice(box[1], box[3])
