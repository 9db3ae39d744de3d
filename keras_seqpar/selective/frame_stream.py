"""A network on frame after frame, whatever computes it. Needs NumPy only."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keras_seqpar.selective.detector import COLORS, Detector, region_map, wanted_map
from keras_seqpar.selective.network import Network, read_array
from keras_seqpar.selective.planning.boxes import Box, changed_map, cover, to_map
from keras_seqpar.selective.planning.engine import Work
from keras_seqpar.selective.planning.passes import BOXES
from keras_seqpar.selective.results import Result, Stats
from keras_seqpar.utils.names import unknown_name
from keras_seqpar.utils.pixels import check_values
from keras_seqpar.utils.warning import warn_user


class Stream:
    """A network with its state from frame to frame; made by `stream`.

    One thread at a time may use it.

    Attributes:
        input_shape: `(height, width, channels)` of a frame.
        runs_on: name and version of what computes it.
        fingerprint: a hash of the network: a saved state belongs to it.
        detector: the stream's own copy of its detector, with the noise that it has learned.

    Example:

    >>> camera = stream("pets.tflite", threshold="auto")
    >>> result = camera(images[0])
    >>> np.savez("camera.npz", **camera.state_dict())
    >>> later = stream("pets.tflite", threshold="auto")
    >>> later.load_state(np.load("camera.npz"))
    """

    _margin: int | None = None  # pixels up to which changes are followed

    def __init__(
        self,
        network: Network,
        *,
        threshold=0.0,
        detector: Detector | None = None,
        include=None,
        exclude=None,
        color: str = "rgb",
    ):
        inputs = network.inputs
        if color not in COLORS:
            raise ValueError(f"color must be 'rgb' or 'bgr', got {color!r}.")
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
        self._network, self._inputs, self._engine = network, inputs, network.engine
        self._plan, self._graph = self._engine.plan, self._engine.plan.graph
        self.input_shape, self.runs_on = inputs.shape, network.runs_on
        self.fingerprint = network.fingerprint
        self.detector, self._is_bgr = detector.of_stream(color, inputs.shape), color == "bgr"
        self._work = self._nothing = self._engine.follow([])
        self._maps_bytes = self._engine.state_bytes
        self._warned: set[str] = set()
        self._busy = threading.Lock()
        self._nowhere = np.zeros(inputs.shape[:2], bool)  # the map of a frame without changes
        self.look(include=include, exclude=exclude)
        self.reset()

    @property
    def state_bytes(self) -> int:
        """Size in bytes of all that is kept from frame to frame."""
        return self._maps_bytes + (0 if self._accepted is None else self._accepted.nbytes)

    @property
    def maps(self) -> dict[str, np.ndarray]:
        """Name of a stored map -> a copy of it, of the last frame; empty before the first one."""
        if not self._complete:
            return {}
        maps = self._engine.maps
        return {self._graph.tensors[i].name: maps[i].copy() for i in self._plan.stored}

    def look(self, *, include=None, exclude=None) -> None:
        """Sets where changes are looked for from now on; `None` removes a limit.

        Elsewhere a position keeps its last accepted value. The first frame, and those in which the
        detector learns the noise, are accepted as a whole.

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

    def warm_up(self) -> float:
        """Loads what the first frame would otherwise have to wait for; the state stays.

        Returns:
            The seconds that it took.

        Raises:
            RuntimeError: another thread is using this stream.
        """
        start = time.perf_counter()
        with self._exclusive():
            self._engine.load()
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

    def change_map(self, layer: str | None = None) -> np.ndarray:
        """The positions that changed in the last frame, or had to be computed for it.

        Args:
            layer: name of a stored map (see `maps`); by default the frame itself.

        Returns:
            Boolean `(height, width)` of the map.

        Raises:
            ValueError: there was no frame yet, or the map is unknown.
        """
        if self._changed is None:
            raise ValueError("No frame was seen yet. Call the stream with one first.")
        if layer is None:
            return self._changed.copy()
        numbers = {self._graph.tensors[i].name: i for i in self._plan.stored}
        if layer not in numbers:
            raise ValueError(unknown_name("map", layer, list(numbers)))
        i = numbers[layer]
        return to_map(self._work.changed.get(i, ()), self._graph.tensors[i].grid)

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that is needed to go on, as arrays for `numpy.savez`."""
        state = {"fingerprint": np.array(self.fingerprint)}
        if self._accepted is not None:
            state["accepted"] = self._accepted.copy()
            state |= {f"input{i}": x.copy() for i, x in enumerate(self._extras, 1)}
        learned = self.detector.state_dict()
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
            self.detector.load_state(learned)
            self.reset()
            self._accepted, self._extras = accepted, extras

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

    def _run(self, given, mask) -> Result:
        start = time.perf_counter()
        before = None if self._accepted is None else self._accepted.dtype
        frame, extras = self._inputs.check(given, before)
        if self._is_bgr:
            frame = np.ascontiguousarray(frame[..., ::-1])
        self._check_values(frame)
        mask = None if mask is None else region_map(mask, self.input_shape[:2], "mask")
        loading = time.perf_counter()
        if not self._complete:
            self._engine.load()
        loaded = time.perf_counter() - loading
        changed = self._find(frame, mask)
        same = len(extras) == len(self._extras) and all(map(np.array_equal, extras, self._extras))
        everything = not self._complete or not same
        if everything or changed is not None:
            self._complete = False  # if anything fails, the next frame is computed as a whole
        self._extras = extras
        mode, boxes = self._compute(frame, changed, everything)
        self._complete = True
        self._changed = self._nowhere if changed is None else changed
        output, work = self._output(), self._work
        return Result(
            output=output,
            stats=Stats(
                mode=mode,
                changed=0.0 if changed is None else float(np.count_nonzero(changed) / changed.size),
                boxes=tuple(boxes),
                macs={"cached": 0, "dense": self._plan.macs}.get(mode, work.macs),
                macs_dense=self._plan.macs,
                milliseconds=1000 * (time.perf_counter() - start - loaded),
                warm_up_milliseconds=1000 * loaded,
                state_bytes=self.state_bytes,
            ),
        )

    def _check_values(self, frame: np.ndarray) -> None:
        """Refuses values that contradict what the network states; warns once of suspicious ones."""
        is_first, is_float = self._accepted is None, frame.dtype.kind == "f"
        codes, limits = self._inputs.codes, self._inputs.limits
        if codes is not None and frame.dtype == codes:
            limits = None  # they are of the values that the integers stand for
        if limits is not None and (is_first or is_float):
            self._warn_once("values", check_values(frame, limits, "frames", self._inputs.who))
        if is_first and not isinstance(self.detector.threshold, str):
            lowest = float(np.min(self.detector.threshold))
            spread = float(np.ptp(frame) if is_float else 2.0 ** (8 * frame.itemsize) - 1)
            if 0 < spread <= lowest:
                self._warn_once(
                    "threshold",
                    f"threshold={lowest:g} cannot be exceeded by frames of {frame.dtype} that "
                    f"differ by {spread:g}: no change will be found, and every frame gets the "
                    "first one's output. The threshold is in the units of the frames: for frames "
                    "of 0 to 1, divide it by 255.",
                )

    def _warn_once(self, kind: str, sentence: str | None) -> None:
        if sentence and kind not in self._warned:
            self._warned.add(kind)
            warn_user(sentence)

    def _find(self, frame: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
        """Where a frame changed; `None` for nowhere."""
        accepted, detector = self._accepted, self.detector
        if accepted is None:
            return np.ones(self.input_shape[:2], bool)
        if mask is not None:
            return mask if mask.any() else None
        if detector.is_learning:
            detector.observe(frame, accepted)
            return changed_map(accepted, frame)
        changed = detector.compare(frame, accepted)
        if changed is not None and self._wanted is not None:
            changed = changed & self._wanted
        return changed if changed is not None and changed.any() else None

    def _compute(
        self, frame: np.ndarray, changed: np.ndarray | None, everything: bool
    ) -> tuple[str, Sequence[Box]]:
        """Accepts what changed, and computes it.

        Args:
            frame: `(height, width, channels)` in RGB.
            changed: boolean `(height, width)`; `None` for nowhere.
            everything: compute the accepted frame as a whole.

        Returns:
            How it was computed, see `Stats`, and the boxes that were accepted.
        """
        boxes = [] if changed is None else cover(changed)
        return self._renew(frame, boxes, self._follow(boxes, everything)), boxes

    def _follow(self, boxes: Sequence[Box], everything: bool) -> Work:
        """What there is to do where boxes change."""
        if everything:
            return self._engine.everything
        return self._engine.follow(boxes, self._margin) if boxes else self._nothing

    def _renew(self, frame: np.ndarray, boxes: Sequence[Box], work: Work) -> str:
        """Accepts boxes of a frame, and computes what there is to do; returns how."""
        self._work = work
        if self._accepted is None:
            self._accepted = frame.copy()
        for top, left, bottom, right in boxes:
            self._accepted[top:bottom, left:right] = frame[top:bottom, left:right]
        everything, encode = work is self._engine.everything, self._network.encode
        if everything:
            extras = zip(self._plan.extras, self._extras, strict=True)
            self._engine.set_extras({i: encode(x, i) for i, x in extras})
            boxes = [(0, 0, *self.input_shape[:2])]
        elif not boxes:
            return "cached"
        for box in boxes:
            part = self._accepted[box[0] : box[2], box[1] : box[3]]
            self._engine.set_frame(box, encode(part, self._plan.frame))
        return "boxes" if self._engine.compute(work) == BOXES else "dense"

    def _output(self) -> np.ndarray | dict[str, np.ndarray]:
        """A copy of the output for the accepted frame."""
        named = self._graph.named(self._engine.outputs)
        return next(iter(named.values())) if len(named) == 1 else named
