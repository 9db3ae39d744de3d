"""What all streams of a Keras network share: checked frames, where changes count, warming up."""

import contextlib
import threading
import time
from collections.abc import Iterator

import keras
import numpy as np

from keras_seqpar.selective.change_maps.flattening import Flat
from keras_seqpar.selective.change_maps.program import Program
from keras_seqpar.selective.detector import (
    Detector,
    check_color,
    region_map,
    wanted_map,
)
from keras_seqpar.selective.ranges import RangeCheck
from keras_seqpar.selective.regions.old_frames import check_frames, stated_limits
from keras_seqpar.utils.progress import note


class FrameStream:
    """The part of a stream that does not depend on how changes are computed.

    Args:
        model: the network.
        flat: the same as a list of calls.
        program: the same as a list of steps.
        detector: finds changes.
        color: order of the frames' channels, `"rgb"` or `"bgr"`. The network and the detector get
            them as RGB.
        only: as for `look`.
        never: as for `look`.
    """

    def __init__(
        self, model: keras.Model, flat: Flat, program: Program,
        *, detector: Detector, color: str, only, never,
    ):  # fmt: skip
        self._program = program
        self._shape = program.shapes[program.inputs[0]]  # (height, width, channels) of a frame
        check_color(color)
        if color == "bgr" and self._shape[2] != 3:
            raise ValueError(
                f"color='bgr' needs 3 channels, but frames of {model.name!r} have {self._shape[2]}."
            )
        self._color = color
        detector.check(self._shape)
        self._detector = detector.of_stream(color)
        self._name = model.name
        limits = stated_limits(model, flat)
        self._check_range = RangeCheck(limits, repr(model.name), self._detector.threshold)
        self._states: list = []
        self._dtype: np.dtype | None = None
        self._busy = threading.Lock()
        self.look(only=only, never=never)

    def look(self, *, only=None, never=None) -> None:
        """Sets where changes are looked for from now on; `None` removes a limit.

        Outside, a position keeps its last accepted value. The first frame is accepted as a whole.

        Args:
            only: only here, a boolean `(height, width)` map or boxes `(top, left, bottom, right)`.
            never: not here.

        Raises:
            ValueError: an argument is not a map or boxes of the frame's size.
        """
        self._wanted = wanted_map(only, never, self._shape)

    def reset(self) -> None:
        """Forgets all frames; the next one may have another batch size or type."""
        self._states, self._dtype = [], None
        self._check_range.restart()

    def warm_up(self) -> float:
        """Compiles and measures what the first frame would otherwise have to wait for.

        The state of the stream does not change. Streams of one network share what is compiled.

        Returns:
            The seconds that it took.

        Raises:
            RuntimeError: another thread is using this stream.
        """
        start = time.perf_counter()
        with self._exclusive():
            self._warm_up(True)
        return time.perf_counter() - start

    def _warm_up(self, everything: bool) -> None:
        """Compiles and measures: everything, or only what the next frame needs."""
        raise NotImplementedError

    def _is_cold(self) -> str:
        """What the next frame would have to wait for, as part of a sentence, or `""`."""
        raise NotImplementedError

    def _warm_up_for_frame(self) -> float:
        """Warms up if that was not done; returns the milliseconds that it took."""
        todo = self._is_cold()
        if not todo:
            return 0.0
        height, width = self._shape[:2]
        note(
            f"warming up: {todo} {self._name!r} for frames of {height}x{width}, once. "
            "Call warm_up() of the stream to do this before the first frame."
        )
        start = time.perf_counter()
        self._warm_up(False)
        return 1000 * (time.perf_counter() - start)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Refuses a second thread."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(
                "This stream is in use by another thread, but its frames must be processed one "
                "after the other. Make one stream per thread; they share the weights."
            )
        try:
            yield
        finally:
            self._busy.release()

    def _receive(self, given, mask) -> tuple[np.ndarray, list[np.ndarray], np.ndarray | None]:
        """The checked frames in RGB, the other inputs, and the mask as a map."""
        frames, extras = check_frames(
            given, self._program, len(self._states), self._dtype, self._color
        )
        self._check_range(frames)
        mask = None if mask is None else region_map(mask, self._shape[:2], "mask")
        return frames, extras, mask
