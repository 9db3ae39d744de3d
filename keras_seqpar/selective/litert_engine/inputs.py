"""Checks what a stream of a file is called with, before anything changes."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_seqpar.mobile.runtime.inputs import encode, input_limits, limit_gains
from keras_seqpar.selective.detector import is_finite
from keras_seqpar.selective.litert_engine.graph import Tensor
from keras_seqpar.selective.planning.plan import Plan
from keras_seqpar.selective.ranges import RangeCheck
from keras_seqpar.utils.warning import warn_user

GAINS = "gains"


def check_inputs(given, plan: Plan, dtype: np.dtype | None) -> tuple[np.ndarray, list[np.ndarray]]:
    """Checks the inputs of a file.

    Args:
        given: a frame, or a list of a frame and the other inputs.
        plan: the plan of the file.
        dtype: type of the frames so far; `None` before the first one.

    Returns:
        The frame `(height, width, channels)`, and the other inputs as the file shapes them. Gains
        above the file's `max_gain` are clipped to it, with a warning.

    Raises:
        TypeError: an input is not numeric, or the frame has another type than before.
        ValueError: inputs of another number or size, NaN or infinite values, negative gains.
    """
    graph = plan.graph
    parts = list(given) if isinstance(given, (list, tuple)) and plan.extras else [given]
    extras = [graph.tensors[i] for i in plan.extras]
    names = [graph.inputs[i] for i in plan.extras]
    if len(parts) == 1 and names == [GAINS]:
        parts.append(np.ones(extras[0].shape, "float32"))
    if len(parts) != 1 + len(extras):
        raise ValueError(
            f"{graph.path.name} takes a frame and {', '.join(names) or 'nothing else'}, "
            f"got {len(parts)} input(s)."
        )
    frame, *others = map(_array, parts)
    shape = graph.tensors[plan.frame].shape
    if frame.shape == shape:
        frame = frame[0]
    if frame.shape != shape[1:]:
        raise ValueError(
            f"Frames of {graph.path.name} have the shape {shape[1:]}, got {frame.shape}. For "
            "another size convert the network again."
        )
    if dtype is not None and frame.dtype != dtype:
        raise TypeError(
            f"Frames were {dtype} so far, now {frame.dtype}. Convert them, or call reset() to "
            "start again."
        )
    found = []
    for x, tensor, name in zip(others, extras, names, strict=True):
        if x.size != np.prod(tensor.shape) or x.shape not in (tensor.shape, tensor.shape[1:]):
            raise ValueError(
                f"The input {name!r} of {graph.path.name} has the shape {tensor.shape}, "
                f"got {x.shape}."
            )
        found.append(x.reshape(tensor.shape).copy())
    for x in (frame, *found):
        if x.dtype.kind == "f" and not is_finite(x):
            raise ValueError(
                "The frame, or another input, has NaN or infinite values. It was ignored; pass "
                "finite numbers."
            )
    if names == [GAINS] and (extras[0].dtype.kind == "f" or found[0].dtype != extras[0].dtype):
        found[0], clipped = limit_gains(found[0], graph.about.get("max_gain"), graph.path.name)
        if clipped:
            warn_user(clipped)
    return np.ascontiguousarray(frame), found


def encoded(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Values as the file takes them: those of its own type as they are, others scaled."""
    return values if values.dtype == tensor.dtype else encode(values, _detail(tensor))


def range_check(plan: Plan, threshold) -> RangeCheck:
    """The check of the frames of a file: what it states about its input.

    Raises:
        ValueError: what the file states is damaged.
    """
    graph, tensor = plan.graph, plan.graph.tensors[plan.frame]
    detail = _detail(tensor)
    limits = input_limits(graph.path, graph.about, detail)
    is_code = tensor.dtype.kind in "iu" and detail["quantization"] != (1.0, 0)
    return RangeCheck(limits, graph.path.name, threshold, tensor.dtype if is_code else None)


def _detail(tensor: Tensor) -> dict:
    """What an interpreter tells about an input."""
    scale = float(tensor.scales[0]) if len(tensor.scales) else 0.0
    return {"dtype": tensor.dtype, "quantization": (scale, tensor.zero)}


def read_state(
    state: Mapping[str, np.ndarray], plan: Plan, fingerprint: str, learned: Sequence[str]
) -> tuple[dict[str, np.ndarray], np.ndarray | None, list[np.ndarray]]:
    """Reads the saved state of a stream.

    Args:
        state: from `FileStream.state_dict`.
        plan: the plan of the file.
        fingerprint: that the state must have.
        learned: names of what the detector has learned.

    Returns:
        What the detector has learned, the accepted frame or `None`, and the other inputs.

    Raises:
        ValueError: the state belongs to another file, or is incomplete or damaged.
    """
    found = str(state["fingerprint"]) if "fingerprint" in state else "no fingerprint"
    if found != fingerprint:
        raise ValueError(
            f"This state belongs to another file ({found}, not {fingerprint}). Load it into a "
            "stream of its own file."
        )
    accepted, extras = None, list[np.ndarray]()
    try:
        if "accepted" in state:
            given = [np.array(state["accepted"])]
            given += [np.array(state[f"input{i}"]) for i in range(1, len(plan.extras) + 1)]
            accepted, extras = check_inputs(given, plan, None)
        return {x: np.array(state[f"detector_{x}"]) for x in learned}, accepted, extras
    except KeyError as error:
        raise ValueError(f"The state is not complete: {error} is missing.") from None
    except TypeError as error:
        raise ValueError(f"The state is damaged: {error}") from None


def _array(x) -> np.ndarray:
    array = np.asarray(x)
    if array.dtype.kind not in "fiu":
        raise TypeError(
            f"A frame must be an array of numbers, got {type(x).__name__} of {array.dtype}."
        )
    return array
