"""Checks of frames and of saved states, made before a stream changes anything."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_seqpar.networks.inputs import normalization_of
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.selective.change_maps.flattening import Flat
from keras_seqpar.selective.change_maps.program import Program
from keras_seqpar.selective.detector import check_finite
from keras_seqpar.utils.pixels import PIXELS, Limits, limits_of

# What pixels of 0 to 255 are divided by in a network's first layer: a standard deviation of them
# (57 for ImageNet's), half of their range or all of it.
_LEAST_DIVISOR, _MOST_DIVISOR = 30, 260


def check_frames(
    given, program: Program, count: int, dtype: np.dtype | None, color: str = "rgb"
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Checks what a stream was called with.

    Args:
        given: `(height, width, channels)` or a batch of frames. For a network with several inputs
            a list: the frame or batch, then the other inputs.
        program: the network.
        count: the batch size so far; 0 before the first frame.
        dtype: the type of the frames so far; `None` before the first frame.
        color: order of the frames' channels, `"rgb"` or `"bgr"`.

    Returns:
        The frames as `(batch, height, width, channels)` in RGB and in their own type, and the
        other inputs in float32.

    Raises:
        TypeError: the frame is not numeric, or has another type than before.
        ValueError: the size of the frame or of the batch is wrong, or there are NaN or infinite
            values.
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
            f"Frames of this stream must have the shape {shape}, with or without a batch axis in "
            f"front, got {frames.shape}. For another size make another stream."
        )
    if not len(frames):
        raise ValueError("The batch is empty; pass at least one frame.")
    if count and len(frames) != count:
        raise ValueError(
            f"This stream has got batches of {count} so far, now one of {len(frames)}. "
            "Keep the batch size, or call reset() to start again."
        )
    if dtype is not None and frames.dtype != dtype:
        raise TypeError(
            f"Frames were {dtype} so far, now {frames.dtype}. Convert them, or call reset() to "
            "start again."
        )
    extras = [np.atleast_2d(x).astype("float32") for x in extras]
    for x, i in zip(extras, program.inputs[1:], strict=True):
        wanted = (len(frames), *program.shapes[i])
        if x.shape != wanted:
            raise ValueError(f"An input other than the frame has shape {x.shape}, not {wanted}.")
    for x in (frames, *extras):
        check_finite(x)
    if color == "bgr":
        frames = np.ascontiguousarray(frames[..., ::-1])
    return frames, extras


def stated_limits(model: keras.Model, flat: Flat) -> Limits | None:
    """The range of frames that a network states.

    Networks of this package know how they were built. In other networks a first layer that
    brings pixels into a small range says that they take pixels.

    Args:
        model: the network.
        flat: the same as a list of calls.

    Returns:
        The smallest and the largest value of a frame; `None` where nothing states them.
    """
    try:
        parts = find_parts(model, allow_plain=True)
    except ValueError:  # not of this package
        return PIXELS if _takes_pixels(flat.calls[0].layer if flat.calls else None) else None
    return limits_of(normalization_of(parts, model.inputs[0].shape[-1])[1])


def _takes_pixels(first) -> bool:
    """Whether the first layer of a network brings pixels of 0 to 255 into a small range."""
    if isinstance(first, keras.layers.Rescaling):
        divisor = 1 / np.maximum(np.abs(np.mean(keras.ops.convert_to_numpy(first.scale))), 1e-9)
    elif isinstance(first, keras.layers.Normalization) and first.input_mean is not None:
        divisor = np.sqrt(np.mean(first.input_variance))
    else:
        return False
    return bool(_LEAST_DIVISOR < divisor < _MOST_DIVISOR)


def read_array(state: Mapping, name: str, shape: Sequence[int]) -> np.ndarray:
    """A copy of an array of a saved state.

    Args:
        state: see `Stream.state_dict`.
        name: name of the array.
        shape: shape that it must have.

    Raises:
        KeyError: the array is missing.
        ValueError: the array has another shape.
    """
    array = np.array(state[name])
    if array.shape != tuple(shape):
        raise ValueError(
            f"The state is damaged: {name} is of shape {array.shape}, not {tuple(shape)}."
        )
    return array


def _array(x) -> np.ndarray:
    """A NumPy array of an array or tensor of any backend."""
    if not isinstance(x, np.ndarray) and keras.ops.is_tensor(x):
        x = keras.ops.convert_to_numpy(x)
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        kind = f"{type(x).__name__} of {array.dtype}"
        raise TypeError(f"A frame must be an array of numbers, got {kind}.")
    return array
