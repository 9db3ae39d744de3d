"""Streams on frames in which squares change, beside the dense networks, in turns within one run.

Needs NumPy and an interpreter only.
"""

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_seqpar.benchmarking.rivals import DenseFile, Rival, Scale, error_of, listed, timed
from keras_seqpar.mobile.checking.measuring import in_own_process
from keras_seqpar.mobile.runtime.interpreters import find_interpreter
from keras_seqpar.selective.streams import stream
from keras_seqpar.utils.memory import resident

WARM_UP = 3  # frames per share that are not counted


def change_squares(
    frame: np.ndarray, share: float, regions: int, rng: np.random.Generator
) -> np.ndarray:
    """A copy of a frame with new values in squares at random places.

    Args:
        frame: `(height, width, channels)` uint8.
        share: of the area, all squares together; they may overlap.
        regions: number of squares.
        rng: source of places and values.
    """
    frame = frame.copy()
    if not share:
        return frame
    height, width, channels = frame.shape
    part = (share / regions) ** 0.5
    rows, cols = max(1, round(height * part)), max(1, round(width * part))
    for _ in range(regions):
        top = int(rng.integers(0, height - rows + 1))
        left = int(rng.integers(0, width - cols + 1))
        values = rng.integers(0, 256, (rows, cols, channels), "uint8")
        frame[top : top + rows, left : left + cols] = values
    return frame


def measure_shares(
    rivals: Mapping[str, Rival],
    scale: Scale,
    shape: Sequence[int],
    *,
    shares: Iterable[float],
    regions: int = 1,
    runs: int = 24,
    turn: int = 8,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Runs all rivals on the same frames, in turns of several frames.

    With one frame per turn, each would push the other's weights and maps out of the caches.

    Args:
        rivals: name -> rival.
        scale: values of the frames.
        shape: `(height, width, channels)` of the frames.
        shares: of the area that changes from frame to frame.
        regions: number of squares that change.
        runs: frames per share, after three that are not counted.
        turn: frames that one rival runs before the next.
        seed: of places and values.

    Yields:
        For each share the medians in milliseconds (`ms`) and, of streams, dense
        multiply-accumulates divided by computed ones (`bound`), the number of frames with other
        outputs than the dense network's (`wrong`), the largest `error` as a share of the range of
        the outputs, and the most frequent `mode`.
    """
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, shape, "uint8")
    for rival in rivals.values():
        rival.run(scale.values(frame, rival.dtype))
    for share in shares:
        times: dict[str, list[float]] = {name: [] for name in rivals}
        stats: dict[str, list] = {name: [] for name in rivals}
        errors: dict[str, list[float]] = {name: [] for name, x in rivals.items() if x.is_stream}
        remaining = runs + WARM_UP
        while remaining > 0:
            frames = []
            for _ in range(min(turn, remaining)):
                frames.append(frame := change_squares(frame, share, regions, rng))
            remaining -= len(frames)
            found: dict[str, list] = {}
            for name, rival in rivals.items():
                given = [scale.values(x, rival.dtype) for x in frames]
                found[name] = [timed(rival.run, x, times[name]) for x in given]
            for name, rival in rivals.items():
                if rival.equals is not None:
                    stats[name] += [x.stats for x in found[name]]
                    pairs = zip(found[name], found[rival.equals], strict=True)
                    errors[name] += [error_of(listed(a.output), listed(b)) for a, b in pairs]
        counted = {name: x[WARM_UP:] for name, x in stats.items() if x}
        macs = {name: statistics.median(y.macs for y in x) for name, x in counted.items()}
        yield {
            "share": share,
            "regions": regions,
            "ms": {name: statistics.median(x[WARM_UP:]) for name, x in times.items()},
            "bound": {
                name: x[0].macs_dense / macs[name] if macs[name] else None
                for name, x in counted.items()
            },
            "wrong": {
                name: sum(error > rivals[name].tolerance for error in x)
                for name, x in errors.items()
            },
            "error": {name: max(x) for name, x in errors.items()},
            "mode": {name: statistics.mode(y.mode for y in x) for name, x in counted.items()},
        }


def measure_start(path: str | Path, threads: int) -> dict[str, dict[str, float | None]]:
    """Measures loading, the first frame and memory of a file, dense and as a stream.

    Each runs in a process of its own without Keras, as on a device.

    Args:
        path: the file.
        threads: CPU threads.

    Returns:
        For `"dense"` and `"stream"`: milliseconds of loading (`loading`) and of the first frame
        after it (`first`), and the largest resident memory of the process in bytes (`memory`;
        `None` where it is unknown).
    """
    dense = DenseFile(path, threads)
    facts = (dense.scale.low, dense.scale.step, dense.dtype.name, dense.input_shape)
    names = ("dense", "stream")
    return {x: in_own_process(__name__, "start", str(path), threads, x, *facts) for x in names}


def start(
    path: str, threads: int, kind: str, low: float, step: float, dtype: str, shape: Sequence[int]
) -> dict[str, float | None]:
    """Measures one of the two, see `measure_start`; call it once per process."""
    find_interpreter()  # imports it
    scale, rng = Scale(low, step), np.random.default_rng(0)
    frame = rng.integers(0, 256, shape, "uint8")
    begin = time.perf_counter()
    if kind == "stream":
        run: Any = stream(path, num_threads=threads)
        run.warm_up()
    else:
        run = DenseFile(path, threads)
    loaded = time.perf_counter()
    run(scale.values(frame, np.dtype(dtype)))
    done = time.perf_counter()
    for share in (0.01, 0.05, 0.1, 0.25, 1, 1):
        frame = change_squares(frame, share, 1, rng)
        run(scale.values(frame, np.dtype(dtype)))
    return {
        "loading": 1000 * (loaded - begin),
        "first": 1000 * (done - loaded),
        "memory": resident("VmHWM"),
    }
