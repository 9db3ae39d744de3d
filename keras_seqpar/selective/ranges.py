"""Whether the values of frames fit the network and the threshold. Imports no Keras."""

import numpy as np

from keras_seqpar.utils.pixels import Limits, check_values
from keras_seqpar.utils.warning import warn_user


class RangeCheck:
    """Refuses frames that contradict what a network takes; warns once of what is only suspicious.

    Suspicious are frames of 0 to 1 for a network that takes pixels, and a threshold that no frame
    can exceed: then no change is ever found.

    Args:
        limits: what the network takes, from `keras_seqpar.utils.pixels`; `None` if unknown.
        who: how messages call the network.
        threshold: as for `Detector`.
        codes: type of frames that are integers for other values, to which `limits` do not apply;
            `None` for no such type.
    """

    def __init__(self, limits: Limits | None, who: str, threshold, codes: np.dtype | None = None):
        self._limits, self._who, self._threshold = limits, who, threshold
        self._codes = codes
        self._warned: set[str] = set()
        self.restart()

    def restart(self) -> None:
        """Expects frames of another type from now on."""
        self._low, self._high, self._is_known = np.inf, -np.inf, False

    def __call__(self, frames: np.ndarray) -> None:
        """Checks a frame, or a batch of them.

        Frames of one color say nothing about the range: a camera often begins with black. So
        frames are looked at until one has several values. Where a range is stated, frames of
        floats are looked at always.

        Raises:
            TypeError: no integers, floats or booleans.
            ValueError: values that contradict what the network takes.
        """
        if self._is_known and not (self._limits and frames.dtype.kind == "f"):
            return
        if frames.dtype.kind != "b":
            # To NumPy, None equals float64.
            are_codes = self._codes is not None and frames.dtype == self._codes
            limits = None if are_codes else self._limits
            self._warn("values", check_values(frames, limits, "frames", self._who))
        if self._is_known:
            return
        low, high = float(frames.min()), float(frames.max())
        self._low, self._high = min(low, self._low), max(high, self._high)
        self._is_known = low < high
        if self._is_known or frames.dtype.kind in "iu":
            found = describe_unreachable(self._threshold, frames.dtype, self._low, self._high)
            self._warn("threshold", found)

    def _warn(self, kind: str, sentence: str | None) -> None:
        if sentence and kind not in self._warned:
            self._warned.add(kind)
            warn_user(sentence)


def describe_unreachable(threshold, dtype: np.dtype, low: float, high: float) -> str | None:
    """A sentence about a threshold that frames cannot exceed; `None` if they can.

    Args:
        threshold: as for `Detector`.
        dtype: type of the frames. Integers may take all values of their type.
        low: the smallest value of the frames.
        high: the largest value of the frames.

    Example:

    >>> describe_unreachable(20, np.dtype("float32"), 0.0, 1.0)
    "threshold=20 cannot be exceeded by frames of float32 from 0 to 1: ..."
    """
    if isinstance(threshold, str):
        return None
    if dtype.kind in "iu":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    lowest = float(np.min(threshold))
    if not 0 < high - low <= lowest:
        return None
    return (
        f"threshold={lowest:g} cannot be exceeded by frames of {dtype} from {low:g} to {high:g}: "
        "no change will be found, and every frame gets the first one's output. The threshold is "
        "in the units of the frames: for frames of 0 to 1, divide it by 255."
    )
