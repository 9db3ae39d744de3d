"""Which positions of a frame changed since they were last accepted. Imports no Keras."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from keras_seqpar.selective.planning.boxes import changed_map
from keras_seqpar.utils.warning import warn_user

AUTO = "auto"
TILE = 8  # pixels; side of the tiles that `threshold="auto"` averages over
# Nine of ten tiles of a still scene differ by less than the noise. Where one differs by more than
# FACTOR times that, it changed. Measured on two compressed videos of still cameras, at 512x512: 6
# and 10 % of the area is covered, where a threshold of 20 per pixel covers 20 and 25 %, and next
# to nothing of the moving cars and people is missed.
FACTOR = 2.0
_STILL_SHARE = 0.9
_MOST_SPREAD = 3.0  # of the noise over the median tile; more are moving objects
COLORS = ("rgb", "bgr")


@dataclasses.dataclass
class Detector:
    """Compares each position of a frame with its last accepted value.

    The reference is the value that was last *accepted* at a position, not the frame before, so
    that a slow drift is noticed once it exceeds the threshold.

    Frames are RGB; streams turn those of OpenCV into RGB first. Several streams may be given one
    detector: it says how changes are found, and every stream learns the noise of its own camera,
    in a copy (`Stream.detector`). Give `noise`, or the detector of a stream that has learned, and
    nothing is learned.

    Args:
        threshold: a position changed if a channel differs by more than this, in the units of the
            frames: one number, or one per channel. With 0 every difference counts. `"auto"`
            learns the noise from the first frames, which must show a scene in which at most a
            tenth moves. From then on a tile of 8x8 pixels changed if its mean difference exceeds
            twice the noise, and so did its neighbors that exceed the noise.
        learn: number of frames that `"auto"` learns from; frames that equal the one before do not
            count.
        noise: mean absolute difference that nine of ten tiles of a still scene stay below;
            `"auto"` learns it.

    Raises:
        TypeError: `threshold` is not a number, a sequence or `"auto"`.
        ValueError: `threshold` or `noise` is negative, infinite or NaN, or `learn` is less than 2.

    Example:

    >>> detect = Detector(threshold=20)
    >>> changed = detect(images[1], images[0])  # a frame, and the one to compare it with
    >>> changed.shape, changed.dtype
    ((32, 32), dtype('bool'))
    """

    threshold: float | Sequence[float] | str = 0.0
    learn: int = 5
    noise: float | None = None
    _seen: list = dataclasses.field(default_factory=list, repr=False)

    def __post_init__(self):
        found = f"got {self.threshold!r}."
        allowed = f"threshold must be a number, one number per channel or 'auto', {found}"
        if not isinstance(self.threshold, str):
            self._check_numbers(allowed)
        elif self.threshold != AUTO:
            raise ValueError(allowed)
        if isinstance(self.learn, bool) or not isinstance(self.learn, int) or self.learn < 2:
            raise ValueError(f"learn must be a whole number of 2 or more, got {self.learn!r}.")
        if self.noise is not None:
            self.noise = _level(self.noise, "noise")

    @property
    def is_learning(self) -> bool:
        """Whether `observe` needs more frames to learn the noise."""
        return isinstance(self.threshold, str) and self.noise is None

    @property
    def is_exact(self) -> bool:
        """Whether every difference counts as a change."""
        return not isinstance(self.threshold, str) and not np.any(self.threshold)

    def of_stream(self, color: str, shape: Sequence[int]) -> "Detector":
        """The copy in which one stream learns, for frames that were turned into RGB.

        Args:
            color: order of the stream's channels, which thresholds per channel have, too.
            shape: `(height, width, channels)` of its frames.

        Raises:
            ValueError: the number of channels is not that of the thresholds.
        """
        count = np.size(self.threshold)
        if count not in (1, shape[2]):
            raise ValueError(
                f"threshold has {count} numbers, but the frames have {shape[2]} channels."
            )
        threshold = self.threshold
        if color == "bgr" and not isinstance(threshold, str) and np.ndim(threshold):
            threshold = np.asarray(threshold)[::-1].tolist()
        return dataclasses.replace(self, threshold=threshold, _seen=[])

    def observe(self, frame: np.ndarray, accepted: np.ndarray) -> None:
        """Learns from a frame of a still scene and the frame before it.

        Each pair of frames gives the level below which nine of ten tiles stay; not more than 3
        times the median, so that larger moving objects have little influence. The noise is the
        median over the pairs. Frames that are equal, as of a camera that repeats one, do not count.
        """
        check_finite(frame)
        means = _tile_means(distance(frame, accepted))
        if not means.any():
            return
        middle, level = np.quantile(means, (0.5, _STILL_SHARE))
        self._seen.append(float(min(level, _MOST_SPREAD * middle)))
        if len(self._seen) >= self.learn - 1:
            self.noise = float(np.median(self._seen))
            self._seen.clear()

    def __call__(self, frame: np.ndarray, accepted: np.ndarray) -> np.ndarray:
        """The positions that changed.

        Args:
            frame: `(height, width, channels)`.
            accepted: the last accepted values, of the same shape.

        Returns:
            Boolean `(height, width)`.

        Raises:
            ValueError: the frame has NaN or infinite values.
        """
        check_finite(frame)
        changed = self.compare(frame, accepted)
        return np.zeros(frame.shape[:2], bool) if changed is None else changed

    def compare(self, frame: np.ndarray, accepted: np.ndarray) -> np.ndarray | None:
        """The same for a frame that was checked; `None` may stand for no changes."""
        if self.is_exact and frame.dtype == accepted.dtype:
            return changed_map(accepted, frame)
        found = distance(frame, accepted)
        if not isinstance(self.threshold, str):
            return _any_channel(found > _limit(self.threshold, found.dtype))
        means, noise = _tile_means(found), self.noise or 0.0
        tiles = means > FACTOR * noise
        tiles |= largest_around(tiles) & (means > noise)
        return tiles.repeat(TILE, 1).repeat(TILE, 0)[: frame.shape[0], : frame.shape[1]]

    def state_dict(self) -> dict:
        """What the detector has learned."""
        return {"noise": math.nan if self.noise is None else self.noise, "seen": list(self._seen)}

    def load_state(self, state) -> None:
        """Continues with what another detector has learned; see `state_dict`.

        Raises:
            ValueError: the state is damaged. The detector is then as it was before.
        """
        noise, seen = np.asarray(state["noise"]), np.asarray(state["seen"])
        if noise.ndim or seen.ndim != 1:
            raise ValueError(
                "The state is damaged: the noise of a detector is one number, and what it has seen "
                f"are some, got arrays of the shapes {noise.shape} and {seen.shape}."
            )
        found = [_level(x, "what a detector has seen") for x in seen]
        self.noise = None if np.isnan(noise) else _level(noise, "the noise of a detector")
        self._seen = found

    def _check_numbers(self, allowed: str) -> None:
        try:
            values = np.asarray(self.threshold, "float64")
        except (TypeError, ValueError):
            values = None
        if values is None or values.ndim > 1 or isinstance(self.threshold, (bool, type(None))):
            raise TypeError(allowed)
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError(f"threshold must be finite and 0 or more, got {self.threshold!r}.")


def _level(value, name: str) -> float:
    """A level of noise, which must be a number of 0 or more."""
    number = np.asarray(value)
    if number.dtype.kind not in "fiu" or number.ndim or not 0 <= number < math.inf:
        raise ValueError(f"{name} must be a finite number of 0 or more, got {value!r}.")
    return float(number)


def is_finite(x: np.ndarray) -> bool:
    """Whether all values are numbers, neither NaN nor infinite."""
    with np.errstate(over="ignore", invalid="ignore"):  # one sum is quicker than a map of answers
        total = x.sum(dtype="float32" if x.itemsize < 8 else x.dtype)
    return bool(np.isfinite(total)) or bool(np.isfinite(x).all())  # large numbers may overflow


def check_finite(frame: np.ndarray) -> None:
    """Refuses frames with NaN or infinite values, in which no change would be found."""
    if frame.dtype.kind == "f" and not is_finite(frame):
        raise ValueError(
            "The frame has NaN or infinite values. It was ignored; pass frames of finite numbers."
        )


def distance(frame: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """The absolute difference of two frames, value by value.

    Of integers these are unsigned ones, which is several times faster, and float32 otherwise.
    """
    if frame.dtype == accepted.dtype and frame.dtype.kind in "iu":
        found = np.maximum(frame, accepted) - np.minimum(frame, accepted)
        return found.view(f"u{found.itemsize}")  # signed ones wrap to the same bits
    found = frame.astype("float32", copy=False) - accepted.astype("float32", copy=False)
    return np.abs(found, out=found)


def _limit(threshold, dtype: np.dtype) -> np.ndarray:
    """A threshold in the type of the differences, so that these need no conversion."""
    if dtype.kind == "u":
        threshold = np.minimum(np.floor(threshold), np.iinfo(dtype).max)
    return np.asarray(threshold).astype(dtype)


def largest_around(values: np.ndarray) -> np.ndarray:
    """The largest value among the 3x3 positions around each one of a map, itself included."""
    padded = np.pad(values, 1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    return np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])


def wanted_map(include, exclude, frame_shape: Sequence[int]) -> np.ndarray | None:
    """Where changes are looked for, see `Stream.look`; `None` for everywhere. Warns of nowhere."""
    shape = (frame_shape[0], frame_shape[1])
    wanted = np.ones(shape, bool)
    if include is not None:
        wanted = region_map(include, shape, "include").copy()
    if exclude is not None:
        wanted &= ~region_map(exclude, shape, "exclude")
    if not wanted.any():
        warn_user(
            "include and exclude leave no position where changes are looked for: every frame gets "
            "the output of the first one."
        )
    return None if wanted.all() else wanted


def region_map(given, shape: Sequence[int], name: str) -> np.ndarray:
    """The boolean map of a region of frames of a shape.

    Args:
        given: that map, or boxes `(top, left, bottom, right)` in pixels; the last two are excluded.
        shape: `(height, width)`.
        name: name of the argument, for messages.

    Raises:
        ValueError: it is neither, or a box is empty or outside of the frame.
    """
    array = np.asarray(given)
    if array.dtype == bool and array.shape == tuple(shape):
        return array
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != 4:
        is_long = array.size > 8
        found = f"an array of {array.dtype} of shape {array.shape}" if is_long else repr(given)
        raise ValueError(
            f"{name} must be a boolean array of shape {tuple(shape)} or a list of boxes "
            f"(top, left, bottom, right), got {found}."
        )
    found = np.zeros(shape, bool)
    for top, left, bottom, right in array.tolist():
        if not (0 <= top < bottom <= shape[0] and 0 <= left < right <= shape[1]):
            raise ValueError(
                f"The box {(top, left, bottom, right)} of {name} is empty or outside of frames of "
                f"{shape[0]}x{shape[1]}. Boxes are (top, left, bottom, right) in pixels."
            )
        found[top:bottom, left:right] = True
    return found


def _any_channel(found: np.ndarray) -> np.ndarray:
    """The positions at which any channel is true: several times faster than `found.any(-1)`."""
    changed, flat = np.zeros(found.shape[:2], bool), found.reshape(len(found), -1)
    rows = np.flatnonzero(flat.any(1))
    if len(rows):  # rows and columns without any true value need no work
        some = slice(rows[0], rows[-1] + 1)
        cols = np.flatnonzero(flat[some].any(0)) // found.shape[2]
        part = some, slice(cols[0], cols[-1] + 1)
        changed[part] = functools.reduce(np.logical_or, np.moveaxis(found[part], -1, 0))
    return changed


def _tile_means(differences: np.ndarray) -> np.ndarray:
    """Means over tiles of `TILE` x `TILE` pixels; the last ones of an axis may be smaller."""
    height, width, channels = differences.shape
    below, right = -height % TILE, -width % TILE
    if below or right:
        differences = np.pad(differences, ((0, below), (0, right), (0, 0)))
    is_byte = differences.dtype == np.uint8
    # First whole rows: much faster than all axes in one.
    sums = differences.reshape((height + below) // TILE, TILE, -1)
    sums = sums.sum(1, dtype=np.uint16 if is_byte else np.float32)
    sums = sums.reshape(len(sums), -1, TILE * channels).sum(-1, dtype=np.float32)
    sizes = (np.minimum(TILE, x - np.arange(0, x, TILE)) for x in (height, width))
    return sums / (channels * np.outer(*sizes))
