"""A network as streams see it: what it takes, checked, and what computes it. Needs NumPy only."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from keras_seqpar.mobile.runtime.inputs import limit_gains
from keras_seqpar.selective.detector import is_finite
from keras_seqpar.selective.planning.engine import Engine
from keras_seqpar.utils.pixels import Limits
from keras_seqpar.utils.warning import warn_user

GAINS = "gains"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a network takes."""

    who: str  # how messages call the network: "net.tflite", "the model 'x'"
    shape: tuple[int, int, int]  # `(height, width, channels)` of a frame
    # name of another input -> its shape, with the batch of 1, and its type
    extras: Mapping[str, tuple[tuple[int, ...], np.dtype]] = dataclasses.field(default_factory=dict)
    # the smallest and the largest value of a frame; `None` where nothing states them
    limits: Limits | None = None
    # type of frames whose integers stand for other values, to which `limits` do not apply;
    # `None` for no such type
    codes: np.dtype | None = None
    # the largest gain, to which larger ones are clipped; `None` for no limit
    max_gain: float | None = None

    def check(self, given, dtype: np.dtype | None) -> tuple[np.ndarray, list[np.ndarray]]:
        """Checks what a stream was called with; `dtype` is that of the frames so far, if any.

        Returns:
            The frame `(height, width, channels)`, and copies of the other inputs. Gains that were
            not given are neutral; those above `max_gain` are clipped, with a warning.

        Raises:
            TypeError: an input is not numeric, or the frame has another type than before.
            ValueError: inputs of another number or size, NaN or infinite values, negative gains.
        """
        is_list = isinstance(given, (list, tuple)) and len(given) > 0 and np.ndim(given[0]) > 2
        parts = list(given) if is_list and self.extras else [given]
        names = list(self.extras)
        if len(parts) == 1 and names == [GAINS]:
            parts.append(np.ones(self.extras[GAINS][0], "float32"))
        if len(parts) != 1 + len(names):
            raise ValueError(
                f"{self.who} takes a frame and {', '.join(names) or 'nothing else'}, got "
                f"{len(parts)} input(s)."
            )
        frame, *others = map(_array, parts)
        if frame.shape == (1, *self.shape):
            frame = frame[0]
        if frame.shape != self.shape:
            raise ValueError(
                f"Frames of {self.who} have the shape {self.shape}, got {frame.shape}. Resize "
                "them, or make a stream of a network for this size; for several cameras make "
                "several streams."
            )
        if dtype is not None and frame.dtype != dtype:
            raise TypeError(
                f"Frames were {dtype} so far, now {frame.dtype}. Convert them, or call reset() to "
                "start again."
            )
        found = [self._extra(x, name) for x, name in zip(others, names, strict=True)]
        for x, name in zip((frame, *found), ("frame", *names), strict=True):
            if x.dtype.kind == "f" and not is_finite(x):
                raise ValueError(
                    f"The input {name!r} has NaN or infinite values. The stream is as it was "
                    "before; pass finite numbers."
                )
        return np.ascontiguousarray(frame), found

    def _extra(self, x: np.ndarray, name: str) -> np.ndarray:
        shape, dtype = self.extras[name]
        if x.shape not in (shape, shape[1:]):
            raise ValueError(
                f"The input {name!r} of {self.who} has the shape {shape}, not {x.shape}."
            )
        x = x.reshape(shape).copy()
        if name == GAINS and (dtype.kind == "f" or x.dtype != dtype):
            x, clipped = limit_gains(x, self.max_gain, self.who)
            if clipped:
                warn_user(clipped)
        return x


@dataclasses.dataclass(frozen=True)
class Network:
    """What a stream runs."""

    engine: Engine  # computes it
    inputs: Inputs  # what it takes
    # turns values into those that a tensor of its graph stores, given its number
    encode: Callable[[np.ndarray, int], np.ndarray]
    runs_on: str  # name and version of what computes it
    memory: int  # bytes that a stream takes, about
    # equal for equal networks only. That of a Keras model is not of the file that it becomes:
    # Keras counts names up from file to file
    fingerprint: str


def check_limit(who: str, needed: int, limit: int | None) -> None:
    """Checks that a stream, which takes about `needed` bytes, stays within a limit."""
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"memory_limit must be a whole number of bytes, got {limit!r}.")
    if needed > limit:
        raise ValueError(
            f"A stream of {who} takes about {needed / 1e6:,.1f} MB, more than "
            f"memory_limit={limit / 1e6:,.1f} MB. Take a network for smaller frames, or run it "
            "without a stream."
        )


def read_array(state: Mapping, name: str) -> np.ndarray:
    """A copy of an array of a saved state, which must be there and have numbers."""
    if name not in state:
        raise ValueError(f"The state is not complete: {name!r} is missing.")
    array = np.array(state[name])
    if array.dtype.kind not in "fiu":
        raise ValueError(f"The state is damaged: {name!r} has values of type {array.dtype}.")
    return array


def _array(x) -> np.ndarray:
    array = np.asarray(x)
    if array.dtype.kind not in "fiu":
        raise TypeError(
            f"A frame must be an array of numbers, got {type(x).__name__} of {array.dtype}."
        )
    return array
