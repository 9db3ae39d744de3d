"""Pieces of measurements: compiled dense runs, timing, synthetic changes, means over frames."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_seqpar.networks.parts import find_parts
from keras_seqpar.selective.regions.geometry import open_sizes
from keras_seqpar.selective.streams import stream

MEANS = ("changed", "recomputed", "agreement", "crop_agreement", "full")


def compile_dense(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Keras's own dense inference for one frame, compiled where the backend compiles.

    Args:
        model: a model of one image input.

    Returns:
        A function from a frame `(height, width, channels)` to the output with a batch axis.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        def run(frame):
            with torch.no_grad():
                return keras.ops.convert_to_numpy(model(frame[None], training=False))

        return run

    if backend == "tensorflow":
        import tensorflow as tf

        graph = tf.function(lambda x: model(x, training=False))
        return lambda frame: graph(tf.constant(frame[None])).numpy()
    import jax

    state = [
        [v.value for v in x] for x in (model.trainable_variables, model.non_trainable_variables)
    ]
    jitted = jax.jit(lambda t, n, x: model.stateless_call(t, n, x, training=False)[0])
    return lambda frame: np.asarray(jitted(*state, frame[None]))


def can_freeze(freeze: bool) -> bool:
    """Whether weights become constants: the flag, on the backend that can (TensorFlow)."""
    return freeze and keras.backend.backend() == "tensorflow"


def timed(run: Callable[[np.ndarray], Any], frame: np.ndarray, times: list[float]) -> Any:
    """Returns `run(frame)`; appends the milliseconds it took to `times`."""
    start = time.perf_counter()
    result = run(frame)
    times.append(1000 * (time.perf_counter() - start))
    return result


def change_squares(
    frame: np.ndarray, share: float, count: int, rng: np.random.Generator
) -> np.ndarray:
    """A copy of a frame with new random values in squares at random places.

    Args:
        frame: `(size, size, channels)`.
        share: of the area, all squares together; they may overlap.
        count: number of squares.
        rng: source of the places and values.
    """
    frame = frame.copy()
    size = frame.shape[0]
    side = max(1, round(size * (share / count) ** 0.5))
    for _ in range(count):
        top, left = rng.integers(0, size - side + 1, 2)
        part = frame[top : top + side, left : left + side]
        part[:] = rng.normal(size=part.shape)
    return frame


def random_box(rng: np.random.Generator, share: float, shape: Sequence[int]) -> tuple[slice, slice]:
    """A box of the frame's proportions at a random place, as two slices.

    Args:
        rng: source of the place.
        share: of the frame's area.
        shape: `(height, width)` of the frame.
    """
    sides = [max(1, round(size * share**0.5)) for size in shape]
    starts = [
        int(rng.integers(0, size - side + 1)) for size, side in zip(shape, sides, strict=True)
    ]
    rows, columns = (slice(a, a + side) for a, side in zip(starts, sides, strict=True))
    return rows, columns


def count_stream_macs(
    network: keras.Model, frames: Sequence[np.ndarray], threshold: float
) -> dict[str, Any]:
    """Counts what a stream computes of every frame but the first, which is dense.

    Args:
        network: a SeqPar network.
        frames: `(height, width, 3)` each.
        threshold: difference from which on a pixel counts as changed.

    Returns:
        JSON-ready data: `macs` of every frame, `macs_dense` of a dense run, and of every frame the
        shares of the pixels that changed (`changed`) and of the trunk's output that was computed
        (`trunk`).
    """
    counted = stream(
        open_sizes(network),
        input_shape=frames[0].shape,
        threshold=threshold,
        drop_single=threshold > 0,
        calibrate=0,  # only arithmetic is counted, so this machine's speed does not matter
        mode="positions",
    )
    trunk = find_parts(network).trunk.layers[-1].name
    stats = [counted(frame).stats for frame in frames][1:]
    return {
        "macs": [x.macs for x in stats],
        "macs_dense": stats[0].macs_dense,
        "changed": [x.changed for x in stats],
        "trunk": [x.layers[trunk] for x in stats],
    }


def average_frames(frames: Sequence[Mapping[str, Any]], count: str = "regions") -> dict[str, float]:
    """Averages measurements of a stream of crops beside one of full frames.

    Args:
        frames: one mapping per frame, with `"ms"` and `"ms_whole"` (milliseconds of both), the
            keys of `MEANS`, and the number of crops.
        count: the key of the number of crops.

    Returns:
        Means; medians of the milliseconds; `faster` is the quotient of the medians,
        `faster_in_all` that of the sums, full runs included.
    """
    result = {key: float(np.mean([x[key] for x in frames])) for key in (*MEANS, count)}
    stream, whole = ([x[key] for x in frames] for key in ("ms", "ms_whole"))
    return result | {
        "least_agreement": min(x["agreement"] for x in frames),
        "ms": statistics.median(stream),
        "ms_whole": statistics.median(whole),
        "faster": statistics.median(whole) / statistics.median(stream),
        "faster_in_all": sum(whole) / sum(stream),
    }
