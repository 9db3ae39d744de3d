"""Frames as they come in, and stored states: checked before anything of a stream is touched."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_seqpar.selective.change_maps.program import Program


def check(
    given, program: Program, count: int, dtype: np.dtype | None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The frames with a batch axis and the other inputs, or an error.

    Args:
        given: `(height, width, channels)` or a batch of them; for a network with more inputs a
            list: that, then the others.
        program: the network.
        count: the size of batches so far; 0 before the first.
        dtype: the type of frames so far.

    Returns:
        `(batch, height, width, channels)` in the type given, and the other inputs in float32.

    Raises:
        TypeError: no numbers, or another type than so far.
        ValueError: another size or batch, NaN or infinite values.
    """
    inputs = len(program.inputs)
    parts = list(given) if isinstance(given, (list, tuple)) and inputs > 1 else [given]
    if len(parts) != inputs:
        raise ValueError(f"The model takes {inputs} inputs, got {len(parts)}.")
    frames, *extras = map(_array, parts)
    shape = program.shapes[program.inputs[0]]
    if frames.ndim == 3:
        frames = frames[None]
    if frames.shape[1:] != shape:
        raise ValueError(
            f"Frames of this stream have the shape {shape}, or with a batch axis in front, got "
            f"{frames.shape}. A stream keeps one size; make another for another."
        )
    if not len(frames):
        raise ValueError("The batch is empty; give at least one frame.")
    if count and len(frames) != count:
        raise ValueError(
            f"This stream has had batches of {count}, now one of {len(frames)}. "
            "Call reset() to start anew, or keep the batch."
        )
    if dtype is not None and frames.dtype != dtype:
        raise TypeError(
            f"Frames were {dtype} so far, now {frames.dtype}. Convert them, or call reset() to "
            "start anew."
        )
    extras = [np.atleast_2d(x).astype("float32") for x in extras]
    for x, i in zip(extras, program.inputs[1:], strict=True):
        wanted = (len(frames), *program.shapes[i])
        if x.shape != wanted:
            raise ValueError(f"An input beside the frame has shape {x.shape}, not {wanted}.")
    for x in (frames, *extras):
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise ValueError(
                "The frame has NaN or infinite values. The stream is as it was before; give "
                "frames of finite numbers."
            )
    return frames, extras


def stored(state: Mapping, name: str, shape: Sequence[int]) -> np.ndarray:
    """An array of a stored state.

    Args:
        state: see `Stream.state_dict`.
        name: of the array.
        shape: that it must have.

    Returns:
        A copy.

    Raises:
        KeyError: it is missing.
        ValueError: another shape.
    """
    array = np.array(state[name])
    if array.shape != tuple(shape):
        raise ValueError(f"The state is damaged: {name} is {array.shape}, not {tuple(shape)}.")
    return array


def _array(x) -> np.ndarray:
    if not isinstance(x, np.ndarray) and keras.ops.is_tensor(x):
        x = keras.ops.convert_to_numpy(x)
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        kind = f"{type(x).__name__} of {array.dtype}"
        raise TypeError(f"A frame must be an array of numbers, got {kind}.")
    return array
