"""Streams of .tflite files: exact, on the device's own engine. NumPy and an interpreter only."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.selective.detector import (
    Detector,
    check_color,
    distance,
    region_map,
    wanted_map,
)
from keras_seqpar.selective.litert_engine.graph import read_graph
from keras_seqpar.selective.litert_engine.inputs import (
    check_inputs,
    encoded,
    range_check,
    read_state,
)
from keras_seqpar.selective.litert_engine.memory import check_memory
from keras_seqpar.selective.litert_engine.results import FileResult, FileStats
from keras_seqpar.selective.planning.boxes import area, changed_map, cover, to_map
from keras_seqpar.selective.planning.engine import Engine, Work
from keras_seqpar.selective.planning.passes import BOXES
from keras_seqpar.selective.planning.planner import make_plan
from keras_seqpar.utils.names import unknown_name


class FileStream:
    """A .tflite network that computes again only what changed from frame to frame.

    With a threshold of 0 every output equals, bit for bit, what the file gives for the frame, in
    int8 and in float32. Files of this package and of others are read. What cannot be computed in
    parts, such as squeeze-and-excitation, is computed whole, with all that comes after it;
    `selective.report` names it before anything runs.

    The first frame takes about as long as a dense one, and loading. Where more changes than is
    worth following, everything is computed; the times for that choice are measured while running.

    Args:
        path: a .tflite file of frames of one fixed size.
        threshold: a position changed if a channel differs by more than this, in the units of the
            frames: one number, one per channel, or `"auto"`; see `Detector`.
        luminance: compare the luminance instead of each channel.
        dilate: positions by which changes are grown.
        drop_single: ignore changed positions that have no changed neighbor.
        learn: number of frames of a still scene from which `threshold="auto"` learns the noise.
        detector: finds what changed, in place of the five arguments before; streams may share it.
        color: order of the channels of the frames: `"rgb"`, or `"bgr"` as OpenCV reads them. The
            network and the detector get RGB either way.
        only: look for changes only here: a boolean `(height, width)` map, or boxes
            `(top, left, bottom, right)` in pixels.
        never: do not look for changes here; same types as `only`.
        num_threads: number of CPU threads.
        signature: of a file with several signatures, the one to run; by default the first.
        interpreter: a name in `keras_seqpar.mobile.runtime.INTERPRETERS`; by default the first
            that is installed.
        memory_limit: bytes that the stream may take, about; a file that needs more is refused
            before anything is allocated. `None` for no limit.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: an argument has the wrong type.
        ValueError: the file is damaged, is no network of images of one fixed size, keeps a state
            of its own, or needs more memory than `memory_limit`; or an argument is out of range.
        ImportError: no interpreter is installed.

    Example:

    >>> camera = FileStream("net.tflite", threshold=20)
    >>> for frame in frames:  # (height, width, channels)
    ...     result = camera(frame)
    ...     print(result.output.argmax(), result.stats.mode, result.stats.saved)
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        threshold=0.0,
        luminance: bool = False,
        dilate: int = 0,
        drop_single: bool = False,
        learn: int = 5,
        detector: Detector | None = None,
        color: str = "rgb",
        only=None,
        never=None,
        num_threads: int = 1,
        signature: str | None = None,
        interpreter: str | None = None,
        memory_limit: int | None = None,
    ):
        if isinstance(num_threads, bool) or not isinstance(num_threads, int) or num_threads < 1:
            raise ValueError(
                f"num_threads must be a whole number of 1 or more, got {num_threads!r}."
            )
        if detector is None:
            detector = Detector(threshold, luminance, dilate, drop_single, learn)
        check_color(color)
        self._color, self._detector = color, detector.in_rgb(color)
        self._plan = plan = make_plan(read_graph(path, signature))
        self._graph = graph = plan.graph
        self._shape = graph.tensors[plan.frame].shape[1:]
        if color == "bgr" and self._shape[2] != 3:
            raise ValueError(
                f"color='bgr' needs 3 channels, but frames of {graph.path.name} have "
                f"{self._shape[2]}."
            )
        detector.check(self._shape)
        self._check_range = range_check(plan, self._detector.threshold)
        self.look(only=only, never=never)
        self.interpreter, engine = find_interpreter(interpreter)
        if not hasattr(engine, "resize_tensor_input"):
            raise ImportError(f"{self.interpreter} cannot resize inputs, which streams need.")
        may_load_file = check_memory(plan, memory_limit)

        def make(content: bytes):
            return engine(model_content=content, num_threads=num_threads)

        self._engine = Engine(plan, make, try_file=may_load_file)
        self.num_threads = num_threads
        self._busy = threading.Lock()
        self.reset()

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the file, with the signature that runs if it has any."""
        signature = self._graph.signature
        return self._graph.sha256 + (f":{signature}" if signature is not None else "")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(height, width, channels)` of a frame."""
        return self._shape

    @property
    def state_bytes(self) -> int:
        """Size in bytes of all that is kept from frame to frame."""
        accepted = 0 if self._accepted is None else self._accepted.nbytes
        return self._engine.state_bytes + accepted

    @property
    def maps(self) -> dict[str, np.ndarray]:
        """Name of a stored map -> a copy of it, of the last frame."""
        names = self._graph.tensors
        return {names[i].name: x.copy() for i, x in self._engine.maps.items()}

    def look(self, *, only=None, never=None) -> None:
        """Sets where changes are looked for from now on; `None` removes a limit.

        Outside, a position keeps its last accepted value. The first frame is accepted as a whole.

        Args:
            only: only here, as for the constructor.
            never: not here.

        Raises:
            ValueError: an argument is not a map or boxes of the frame's size.
        """
        self._wanted = wanted_map(only, never, self._shape)

    def __call__(self, frame, *, mask=None) -> FileResult:
        """Runs the network on a frame.

        Args:
            frame: `(height, width, channels)`. Numbers of the file's own type are taken as they
                are; others are real values, which are scaled where the file takes integers. For a
                file with several inputs a list: the frame, then the other inputs. Gains that are
                not given are neutral.
            mask: the positions to accept from this frame, if the caller knows them; no changes
                are looked for then. Same types as `only`.

        Returns:
            The output and statistics.

        Raises:
            TypeError: the frame is not numeric, or has another type than before.
            ValueError: the frame or another input has the wrong size, NaN or infinite values, or
                values that contradict what the file takes; or the mask has another size.
            RuntimeError: another thread is using this stream.
        """
        with self._exclusive():
            return self._run(frame, mask)

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
            self._engine.load()
        return time.perf_counter() - start

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

    def change_map(self, layer: str | None = None) -> np.ndarray:
        """The positions that had to be computed for the last frame.

        Args:
            layer: name of a stored map (see `maps`); by default the frame itself.

        Returns:
            Boolean `(height, width)` of the map.

        Raises:
            ValueError: there was no frame yet, or the map is unknown.
        """
        if self._work is None:
            raise ValueError("No frame was seen yet.")
        if layer is None:
            return self._changed.copy()
        numbers = {self._graph.tensors[i].name: i for i in self._engine.maps}
        if layer not in numbers:
            raise ValueError(unknown_name("map", layer, list(numbers)))
        i = numbers[layer]
        return to_map(self._work.changed.get(i, ()), self._graph.tensors[i].grid)

    def reset(self) -> None:
        """Forgets all frames; the next one may have another type."""
        self._accepted: np.ndarray | None = None
        self._extras: list[np.ndarray] = []
        self._check_range.restart()
        self._complete = False
        self._work: Work | None = None
        self._changed = np.zeros(self._shape[:2], bool)

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that is needed to go on, as arrays for `numpy.savez`.

        The maps are not part of it: they follow from the accepted frame.
        """
        state = {"fingerprint": np.array(self.fingerprint)}
        if self._accepted is not None:
            state["accepted"] = self._accepted.copy()
            state |= {f"input{i}": x.copy() for i, x in enumerate(self._extras, 1)}
        learned = self._detector.state_dict()
        return state | {f"detector_{name}": np.array(x) for name, x in learned.items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continues from a saved state. The next frame takes as long as a dense one.

        Args:
            state: the result of `state_dict`, or of `numpy.load` for a file of it.

        Raises:
            ValueError: the state belongs to another file, or is incomplete or damaged.
        """
        learned, accepted, extras = read_state(
            state, self._plan, self.fingerprint, list(self._detector.state_dict())
        )
        self._detector.load_state(learned)
        self.reset()
        self._accepted, self._extras = accepted, extras

    def _run(self, given, mask) -> FileResult:
        start = time.perf_counter()
        before = None if self._accepted is None else self._accepted.dtype
        frame, extras = check_inputs(given, self._plan, before)
        if self._color == "bgr":
            frame = np.ascontiguousarray(frame[..., ::-1])
        self._check_range(frame)
        mask = None if mask is None else region_map(mask, self._shape[:2], "mask")
        changed = self._find(frame, mask)
        same_extras = len(extras) == len(self._extras) and all(
            np.array_equal(a, b) for a, b in zip(extras, self._extras, strict=True)
        )
        exact = self._detector.is_exact and mask is None and self._wanted is None
        boxes = [] if changed is None else cover(changed)
        loaded = 0.0
        if not (self._complete and same_extras):
            work, mode = self._engine.everything, "dense"
            self._complete = False
            self._accept(frame, boxes)
            self._extras = extras
            loading = time.perf_counter()
            self._engine.load()
            loaded = time.perf_counter() - loading
            self._start()
            self._engine.compute(work)
        elif not boxes:
            work, mode = self._engine.follow([]), "cached"
        else:
            work = self._engine.follow(boxes)
            self._complete = False  # if anything fails, the next frame is computed in full
            self._accept(frame, boxes)
            self._write(boxes)
            mode = self._engine.compute(work)
            mode = BOXES if mode == BOXES else "dense"
        self._complete, self._work = True, work
        self._changed = np.zeros(self._shape[:2], bool) if changed is None else changed
        if mode != "cached":
            self._output = self._named(self._engine.outputs)
        assert self._accepted is not None
        drift = 0.0 if exact else float(distance(frame, self._accepted).max())
        macs = {"cached": 0, "dense": self._plan.macs}.get(mode, work.macs)
        return FileResult(
            output=_copied(self._output),
            stats=FileStats(
                mode=mode,
                changed=float(self._changed.mean()) if boxes else 0.0,
                boxes=tuple(boxes),
                layers=self._layers(work),
                macs=macs,
                macs_dense=self._plan.macs,
                milliseconds=1000 * (time.perf_counter() - start - loaded),
                warm_up_milliseconds=1000 * loaded,
                drift=drift,
                state_bytes=self.state_bytes,
            ),
        )

    def _find(self, frame: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
        """Where a frame changed; `None` for nowhere."""
        accepted, detector = self._accepted, self._detector
        if accepted is None:
            return np.ones(self._shape[:2], bool)
        if mask is not None:
            return mask
        if detector.is_learning:
            detector.observe(frame, accepted)
            return changed_map(accepted, frame)
        if detector.is_exact and not detector.dilate:
            changed = changed_map(accepted, frame)
        else:
            changed = detector(frame, accepted)
        if changed is not None and self._wanted is not None:
            changed = changed & self._wanted
        return changed

    def _accept(self, frame: np.ndarray, boxes: Sequence) -> None:
        if self._accepted is None:
            self._accepted = frame.copy()
            return
        for top, left, bottom, right in boxes:
            self._accepted[top:bottom, left:right] = frame[top:bottom, left:right]

    def _start(self) -> None:
        """Puts the accepted frame and the other inputs into the engine."""
        assert self._accepted is not None
        if not self._engine.maps:
            self._engine.start()
        tensors = self._graph.tensors
        self._engine.set_extras(
            {
                i: encoded(x, tensors[i])
                for i, x in zip(self._plan.extras, self._extras, strict=True)
            }
        )
        self._write([(0, 0, *self._shape[:2])])

    def _write(self, boxes: Sequence) -> None:
        """Writes boxes of the accepted frame into the stored map of the input."""
        assert self._accepted is not None
        tensor, stored = self._graph.tensors[self._plan.frame], self._engine.maps[self._plan.frame]
        for top, left, bottom, right in boxes:
            part = self._accepted[top:bottom, left:right]
            stored[0, top:bottom, left:right] = encoded(part, tensor)

    def _named(self, outputs: dict[int, np.ndarray]):
        named = {self._graph.outputs[i]: x for i, x in outputs.items()}
        return next(iter(named.values())) if len(named) == 1 else named

    def _layers(self, work: Work) -> dict[str, float]:
        """Name of a stored map -> share of its positions to compute."""
        tensors = self._graph.tensors
        return {
            tensors[i].name: area(work.changed[i], tensors[i].grid) if work.changed.get(i) else 0.0
            for i in self._plan.stored
        }


def _copied(output):
    if isinstance(output, dict):
        return {name: x.copy() for name, x in output.items()}
    return output.copy()
