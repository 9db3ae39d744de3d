"""Finding what changed between the frame that was last accepted and the one that comes in."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

AUTO = "auto"
TILE = 8  # pixels; side of the tiles that `threshold="auto"` averages over
FACTOR = 2.2  # times the mean noise; measured with noise of deviation 2 of 255: nothing missed
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, section 2.5.1


@dataclasses.dataclass
class Detector:
    """Compares frames with what was last accepted, position by position.

    The reference is the value that was last *accepted* at each position, not the frame before,
    so that a slow drift is caught once it passes the threshold.

    Args:
        threshold: a position changed if a channel differs by more than this, in the frame's
            units: a number, or one per channel. 0 takes every difference. `"auto"` learns the
            noise of a still scene on the first frames and then compares the mean difference of
            tiles of 8x8 pixels with 2.2 times the mean noise, and grows what it finds by a tile.
        luminance: compare the luminance (ITU-R BT.601) instead of each channel.
        dilate: positions by which the changes found are grown, in all 8 directions.
        drop_single: leave out changed positions without a changed neighbor; with a threshold
            of 0 results are then no longer exact.
        learn: how many frames `"auto"` learns from.
        noise: mean absolute difference in a still scene; `"auto"` finds it out.

    Raises:
        TypeError: a threshold that is neither number, sequence nor `"auto"`.
        ValueError: a negative, infinite or NaN threshold, a negative `dilate`, or fewer than 2
            frames to learn from.

    Example:

    >>> detect = Detector(threshold=20, drop_single=True)
    >>> changed = detect(frame, accepted)
    """

    threshold: float | Sequence[float] | str = 0.0
    luminance: bool = False
    dilate: int = 0
    drop_single: bool = False
    learn: int = 5
    noise: float | None = None
    _seen: list = dataclasses.field(default_factory=list, repr=False)

    def __post_init__(self):
        if isinstance(self.threshold, str) and self.threshold != AUTO:
            raise ValueError(
                f"threshold must be a number, one number per channel or 'auto', "
                f"got {self.threshold!r}."
            )
        if not isinstance(self.threshold, str):
            self._check_numbers()
        for name, least in (("dilate", 0), ("learn", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(
                    f"{name} must be a whole number of {least} or more, got {value!r}."
                )

    @property
    def is_learning(self) -> bool:
        """Whether frames are still wanted to learn the noise from."""
        return isinstance(self.threshold, str) and self.noise is None

    @functools.cached_property
    def is_exact(self) -> bool:
        """Whether no difference at all is let pass."""
        return (
            not isinstance(self.threshold, str)
            and not np.any(self.threshold)
            and not (self.luminance or self.drop_single)
        )

    def check(self, shape: Sequence[int]) -> None:
        """Refuses frames that the settings do not fit.

        Args:
            shape: `(height, width, channels)`.

        Raises:
            ValueError: another number of channels than thresholds, or luminance of other than 3.
        """
        count = np.size(self.threshold)
        if not isinstance(self.threshold, str) and count not in (
            1,
            1 if self.luminance else shape[2],
        ):
            raise ValueError(
                f"threshold has {count} numbers, but the frames have {shape[2]} channels"
                + (" and luminance=True leaves one number." if self.luminance else ".")
            )
        if self.luminance and shape[2] != 3:
            raise ValueError(f"luminance=True needs 3 channels, but the frames have {shape[2]}.")

    def observe(self, frame: np.ndarray, accepted: np.ndarray) -> None:
        """Learns from a frame of a still scene and the one before it.

        Each pair gives the median of the tiles' mean differences, so that something small that
        moves does no harm; the noise is the mean over the pairs.
        """
        self._seen.append(float(np.median(_tile_means(self._differences(frame, accepted)))))
        if len(self._seen) >= self.learn - 1:
            self.noise = float(np.mean(self._seen))
            self._seen.clear()

    def __call__(self, frame: np.ndarray, accepted: np.ndarray) -> np.ndarray:
        """The positions that changed.

        Args:
            frame: `(height, width, channels)`.
            accepted: of the same shape.

        Returns:
            Boolean `(height, width)`.
        """
        if self.is_exact:
            changed = _any_channel(frame != accepted)
        elif isinstance(self.threshold, str):
            means = _tile_means(self._differences(frame, accepted))
            tiles = grow(means > FACTOR * (self.noise or 0.0), 1)
            changed = tiles.repeat(TILE, 0).repeat(TILE, 1)[: frame.shape[0], : frame.shape[1]]
        else:
            found = self._differences(frame, accepted)
            changed = _any_channel(found > _limit(self.threshold, found.dtype))
        if self.drop_single:
            changed = changed & (neighbors(changed) > 1)
        return grow(changed, self.dilate)

    def state_dict(self) -> dict:
        """What it has learned."""
        return {"noise": math.nan if self.noise is None else self.noise, "seen": list(self._seen)}

    def load_state(self, state) -> None:
        """Takes over what another one has learned."""
        noise = float(state["noise"])
        self.noise = None if math.isnan(noise) else noise
        self._seen = [float(x) for x in state["seen"]]

    def _differences(self, frame: np.ndarray, accepted: np.ndarray) -> np.ndarray:
        """Absolute differences `(height, width, channels)`, or of one channel for luminance."""
        if not self.luminance:
            return distance(frame, accepted)
        return np.abs(_difference(frame, accepted) @ _LUMA)[..., None]

    def _check_numbers(self) -> None:
        try:
            values = np.asarray(self.threshold, "float64")
        except (TypeError, ValueError):
            values = None
        if values is None or values.ndim > 1 or isinstance(self.threshold, (bool, type(None))):
            raise TypeError(
                "threshold must be a number, one number per channel or 'auto', "
                f"got {self.threshold!r}."
            )
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError(f"threshold must be finite and 0 or more, got {self.threshold!r}.")


def distance(frame: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """How far two frames are from each other, number by number.

    Returns:
        Absolute differences: of frames of whole numbers without sign in their own type, which is
        several times quicker, else in float32.
    """
    if frame.dtype == accepted.dtype and frame.dtype.kind == "u":
        return np.maximum(frame, accepted) - np.minimum(frame, accepted)
    found = _difference(frame, accepted)
    return np.abs(found, out=found)


def _difference(frame: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """One frame less another, in float32, whatever numbers they hold."""
    frame, accepted = (x.astype("float32", copy=False) for x in (frame, accepted))
    return frame - accepted


def _limit(threshold, dtype: np.dtype) -> np.ndarray:
    """A threshold in the type of what is compared with it, so that nothing else is converted."""
    if dtype.kind == "u":
        threshold = np.minimum(np.floor(threshold), np.iinfo(dtype).max)
    return np.asarray(threshold).astype(dtype)


def grow(changed: np.ndarray, by: int | tuple[int, int]) -> np.ndarray:
    """A map with every true position grown to a rectangle around it.

    Args:
        changed: boolean `(height, width)`.
        by: positions in all 8 directions, or `(rows, columns)`.
    """
    for axis, steps in enumerate(by if isinstance(by, tuple) else (by, by)):
        steps, reached = min(steps, changed.shape[axis] - 1), 0
        while reached < steps:  # what reaches so far to both sides may be moved by that twice
            step = min(2 * reached + 1, steps - reached)
            ahead, behind = (
                (slice(None),) * axis + (part,) for part in (slice(step, None), slice(-step))
            )
            grown = changed.copy()
            grown[ahead] |= changed[behind]
            grown[behind] |= changed[ahead]
            changed, reached = grown, reached + step
    return changed


def neighbors(changed: np.ndarray) -> np.ndarray:
    """How many positions are true in the 3x3 positions around each, itself included."""
    padded = np.pad(changed.astype(np.uint8), 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]


def region(given, shape: Sequence[int], name: str) -> np.ndarray:
    """A region as a boolean map.

    Args:
        given: a boolean `(height, width)` array, or boxes `(top, left, bottom, right)` in
            pixels, the last row and column left out.
        shape: `(height, width)` of the frames.
        name: what it is called, for messages.

    Returns:
        Boolean `(height, width)`.

    Raises:
        ValueError: neither, of another size, or a box that is empty or outside.
    """
    array = np.asarray(given)
    if array.dtype == bool and array.shape == tuple(shape):
        return array
    if (
        array.dtype == bool
        or array.dtype.kind not in "iu"
        or array.ndim != 2
        or array.shape[1] != 4
    ):
        raise ValueError(
            f"{name} must be a boolean array of shape {tuple(shape)} or a list of boxes "
            f"(top, left, bottom, right), got {_short(given, array)}."
        )
    found = np.zeros(shape, bool)
    for top, left, bottom, right in array.tolist():
        if not (0 <= top < bottom <= shape[0] and 0 <= left < right <= shape[1]):
            raise ValueError(
                f"The box {(top, left, bottom, right)} of {name} is empty or outside of frames of "
                f"{shape[0]}x{shape[1]}; boxes are (top, left, bottom, right) in pixels."
            )
        found[top:bottom, left:right] = True
    return found


def _any_channel(found: np.ndarray) -> np.ndarray:
    """Where any channel is true: several times quicker than `any(-1)`."""
    changed = np.zeros(found.shape[:2], bool)
    rows = np.flatnonzero(found.reshape(len(found), -1).any(1))
    if len(rows):  # the frame beside them needs no look at single positions
        some = slice(rows[0], rows[-1] + 1)
        changed[some] = functools.reduce(np.logical_or, np.moveaxis(found[some], -1, 0))
    return changed


def _tile_means(differences: np.ndarray) -> np.ndarray:
    """Means over tiles of `TILE` pixels; those at the right and bottom may be smaller."""
    height, width = differences.shape[:2]
    rows, cols = np.arange(0, height, TILE), np.arange(0, width, TILE)
    sums = np.add.reduceat(np.add.reduceat(differences.mean(-1), rows, 0), cols, 1)
    sizes = [np.diff([*starts, size]) for starts, size in ((rows, height), (cols, width))]
    return sums / np.outer(*sizes)


def _short(given, array: np.ndarray) -> str:
    return f"an array of {array.dtype} of shape {array.shape}" if array.size > 8 else repr(given)
