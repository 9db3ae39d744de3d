"""What all streams share, whatever computes them. Needs NumPy only."""

import abc
import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keras_seqpar.selective.detector import (
    Detector,
    check_color,
    distance,
    region_map,
    wanted_map,
)
from keras_seqpar.selective.network import Inputs, read_array
from keras_seqpar.selective.planning.boxes import Box, changed_map
from keras_seqpar.selective.ranges import RangeCheck
from keras_seqpar.selective.results import Result, Stats

_NO_FRAME = "No frame was seen yet. Call the stream with one first."


@dataclasses.dataclass(frozen=True)
class Computed:
    """How a frame was computed.

    Args:
        mode: `"dense"`, `"boxes"` or `"cached"`; see `Stats`.
        boxes: of the frame that were computed.
        macs: multiply-accumulates that were computed.
        layers: name of a stored map -> share of its positions that had to be computed.
    """

    mode: str
    boxes: Sequence[Box]
    macs: int
    layers: dict[str, float] = dataclasses.field(default_factory=dict)


class FrameStream(abc.ABC):
    """The part of a stream that does not depend on how a frame is computed.

    It checks frames, finds what changed in them since they were accepted, measures, and keeps one
    thread out while another is inside. A kind of stream says how a frame is computed.

    Args:
        inputs: what the network takes.
        fingerprint: a hash of the network, and of what else a saved state must agree with.
        threshold: as for `Detector`.
        detector: in place of `threshold`.
        include: as for `look`.
        exclude: as for `look`.
        color: order of the frames' channels, `"rgb"` or `"bgr"`. The network and the detector get
            them as RGB.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or does not fit the frames.
    """

    def __init__(
        self,
        inputs: Inputs,
        fingerprint: str,
        *,
        threshold=0.0,
        detector: Detector | None = None,
        include=None,
        exclude=None,
        color: str = "rgb",
    ):
        check_color(color)
        if detector is None:
            detector = Detector(threshold)
        elif not isinstance(detector, Detector):
            raise TypeError(f"detector must be a Detector, got {detector!r}.")
        elif not isinstance(threshold, (int, float)) or threshold:
            raise ValueError(
                f"threshold={threshold!r} and detector= say the same thing. Give one of the two: "
                "Detector(threshold=...)."
            )
        if color == "bgr" and inputs.shape[2] != 3:
            raise ValueError(
                f"color='bgr' needs 3 channels, but frames of {inputs.who} have {inputs.shape[2]}."
            )
        detector.check(inputs.shape)
        self._inputs, self._fingerprint, self._color = inputs, fingerprint, color
        self._detector = detector.of_stream(color)
        self._check_range = RangeCheck(inputs.limits, inputs.who, detector.threshold, inputs.codes)
        self._busy = threading.Lock()
        self._nowhere = np.zeros(inputs.shape[:2], bool)  # the map of a frame without changes
        self.look(include=include, exclude=exclude)
        self.reset()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)` of a frame."""
        return self._inputs.shape

    @property
    def fingerprint(self) -> str:
        """A hash of the network: a saved state belongs to it."""
        return self._fingerprint

    @property
    def detector(self) -> Detector:
        """The stream's own copy of its detector, with the noise that it has learned."""
        return self._detector

    @property
    def state_bytes(self) -> int:
        """Size in bytes of all that is kept from frame to frame."""
        return self._kept_bytes() + (0 if self._accepted is None else self._accepted.nbytes)

    def look(self, *, include=None, exclude=None) -> None:
        """Sets where changes are looked for from now on; `None` removes a limit.

        Elsewhere a position keeps its last accepted value. The first frame is accepted as a whole.

        Args:
            include: only here, a boolean `(height, width)` map or boxes
                `(top, left, bottom, right)` in pixels.
            exclude: not here; same types.

        Raises:
            ValueError: an argument is not a map or boxes of the frame's size.
        """
        self._wanted = wanted_map(include, exclude, self.input_shape)

    def reset(self) -> None:
        """Forgets all frames, but not the noise; the next frame may have another type."""
        self._accepted: np.ndarray | None = None
        self._extras: list[np.ndarray] = []
        self._complete = False  # the stored maps belong to the accepted frame
        self._changed: np.ndarray | None = None
        self._check_range.restart()

    def warm_up(self) -> float:
        """Loads what the first frame would otherwise have to wait for.

        The state of the stream does not change.

        Returns:
            The seconds that it took.

        Raises:
            RuntimeError: another thread is using this stream.
        """
        start = time.perf_counter()
        with self._exclusive():
            self._load()
        return time.perf_counter() - start

    def __call__(self, frame, *, mask=None) -> Result:
        """Runs the network on a frame.

        Args:
            frame: `(height, width, channels)`, or with a batch axis of 1. For a network of several
                inputs a list: the frame, then the other inputs. Gains that are not given are
                neutral. Integers of a file's own type are taken as they are; other numbers are
                real values, which are scaled where the file takes integers.
            mask: the positions to accept from this frame, if the caller knows them; no changes
                are looked for then. Same types as `include`.

        Returns:
            The output and statistics.

        Raises:
            TypeError: the frame is not numeric, or has another type than before.
            ValueError: the frame or another input has the wrong size, NaN or infinite values, or
                values that contradict what the network states; or the mask has another size.
            RuntimeError: another thread is using this stream.
        """
        with self._exclusive():
            return self._run(frame, mask)

    def change_map(self) -> np.ndarray:
        """The positions that changed in the last frame.

        Returns:
            Boolean `(height, width)`.

        Raises:
            ValueError: there was no frame yet.
        """
        if self._changed is None:
            raise ValueError(_NO_FRAME)
        return self._changed.copy()

    def drift(self, frame) -> float:
        """The largest absolute difference between a frame and the accepted values.

        Of the last frame, it is the largest change that was ignored: the output belongs to the
        accepted values.

        Args:
            frame: as for a call, without other inputs.

        Returns:
            The difference, in the units of the frames.

        Raises:
            TypeError: the frame is not numeric, or has another type than before.
            ValueError: there was no frame yet, or this one has another size.
        """
        if self._accepted is None:
            raise ValueError(_NO_FRAME)
        found, _ = self._checked([frame, *self._extras] if self._extras else frame)
        return float(distance(found, self._accepted).max())

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that is needed to go on, as arrays for `numpy.savez`."""
        state = {"fingerprint": np.array(self.fingerprint)}
        if self._accepted is not None:
            state["accepted"] = self._accepted.copy()
            state |= {f"input{i}": x.copy() for i, x in enumerate(self._extras, 1)}
        learned = self._detector.state_dict()
        return state | {f"detector_{name}": np.array(x) for name, x in learned.items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continues from a saved state.

        Args:
            state: the result of `state_dict`, or of `numpy.load` for a file of it.

        Raises:
            ValueError: the state belongs to another network, or is incomplete or damaged. The
                stream is then as it was before.
        """
        found = str(state["fingerprint"]) if "fingerprint" in state else "no fingerprint"
        if found != self.fingerprint:
            raise ValueError(
                f"This state belongs to another network ({found}, not {self.fingerprint}). Load it "
                "into a stream of its own network, with frames of the same size."
            )
        accepted, extras = None, list[np.ndarray]()
        learned = {x: read_array(state, f"detector_{x}") for x in ("noise", "seen")}
        if "accepted" in state:
            names = ["accepted", *(f"input{i}" for i in range(1, len(self._inputs.extras) + 1))]
            accepted, extras = self._inputs.check([read_array(state, x) for x in names], None)
        with self._exclusive():
            self._detector.load_state(learned)
            self.reset()
            self._accepted, self._extras = accepted, extras

    @abc.abstractmethod
    def _load(self) -> None:
        """Loads what the first frame needs, where that is not there yet."""

    @abc.abstractmethod
    def _compute(self, frame: np.ndarray, changed: np.ndarray | None, everything: bool) -> Computed:
        """Accepts what changed, and computes it.

        Args:
            frame: `(height, width, channels)` in RGB.
            changed: boolean `(height, width)`; `None` for nowhere.
            everything: compute the accepted frame as a whole.
        """

    @abc.abstractmethod
    def _output(self) -> np.ndarray | dict[str, np.ndarray]:
        """A copy of the output for the accepted frame."""

    @property
    @abc.abstractmethod
    def _macs_dense(self) -> int:
        """Multiply-accumulates of a dense pass."""

    @abc.abstractmethod
    def _kept_bytes(self) -> int:
        """Size of what is kept besides the accepted frame."""

    def _accept(self, frame: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
        """Takes boxes of a frame over into the accepted frame, which it returns."""
        if self._accepted is None:
            self._accepted = frame.copy()
        else:
            for top, left, bottom, right in boxes:
                self._accepted[top:bottom, left:right] = frame[top:bottom, left:right]
        return self._accepted

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Refuses a second thread."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(
                "This stream is in use by another thread, but its frames must be processed one "
                "after the other. Make one stream per thread."
            )
        try:
            yield
        finally:
            self._busy.release()

    def _checked(self, given) -> tuple[np.ndarray, list[np.ndarray]]:
        """The frame in RGB, and the other inputs."""
        before = None if self._accepted is None else self._accepted.dtype
        frame, extras = self._inputs.check(given, before)
        if self._color == "bgr":
            frame = np.ascontiguousarray(frame[..., ::-1])
        return frame, extras

    def _run(self, given, mask) -> Result:
        start = time.perf_counter()
        frame, extras = self._checked(given)
        self._check_range(frame)
        mask = None if mask is None else region_map(mask, self.input_shape[:2], "mask")
        loading = time.perf_counter()
        if not self._complete:
            self._load()
        loaded = time.perf_counter() - loading
        changed = self._find(frame, mask)
        everything = not self._complete or not _equal(extras, self._extras)
        if everything or changed is not None:
            self._complete = False  # if anything fails, the next frame is computed as a whole
        self._extras = extras
        done = self._compute(frame, changed, everything)
        self._complete = True
        self._changed = self._nowhere if changed is None else changed
        output = self._output()
        return Result(
            output=output,
            stats=Stats(
                mode=done.mode,
                changed=0.0 if changed is None else float(np.count_nonzero(changed) / changed.size),
                boxes=tuple(done.boxes),
                macs=done.macs,
                macs_dense=self._macs_dense,
                milliseconds=1000 * (time.perf_counter() - start - loaded),
                warm_up_milliseconds=1000 * loaded,
                state_bytes=self.state_bytes,
                layers=done.layers,
            ),
        )

    def _find(self, frame: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
        """Where a frame changed; `None` for nowhere."""
        accepted, detector = self._accepted, self._detector
        if accepted is None:
            return np.ones(self.input_shape[:2], bool)
        if mask is not None:
            return mask if mask.any() else None
        if detector.is_learning:
            detector.observe(frame, accepted)
            return changed_map(accepted, frame)
        if detector.is_exact:
            changed = changed_map(accepted, frame)
        else:
            changed = detector.compare(frame, accepted)
        if changed is not None and self._wanted is not None:
            changed = changed & self._wanted
        return changed if changed is not None and changed.any() else None


def _equal(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    return len(some) == len(others) and all(map(np.array_equal, some, others))
