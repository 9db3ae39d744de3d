"""A .tflite file on a video, dense and as a stream. Needs NumPy and an interpreter only."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_seqpar.benchmarking.rivals import DenseFile, error_of, listed, timed
from keras_seqpar.selective.detector import Detector
from keras_seqpar.selective.streams import stream

LEARNING = 6  # frames of a video that are not counted: a detector learns from them


def measure_video(
    path: str | Path,
    frames: Sequence[np.ndarray],
    detector: Detector,
    *,
    threads: int = 1,
    turn: int = 8,
    whole: str | Path | None = None,
) -> dict[str, Any]:
    """Runs a file on a video, dense and as a stream, in turns of several frames.

    Args:
        path: a file that takes pixels and gives one score per category.
        frames: `(height, width, 3)` uint8 each, of the file's size.
        detector: finds what changed.
        threads: CPU threads of both.
        turn: frames that one of the two runs before the other.
        whole: another file that runs dense on the same frames, in the same turns.

    Returns:
        The `noise` that the detector knows at the end. Without the first six frames, medians in
        milliseconds (`dense`, `stream`, `whole`) and of the shares of a frame that changed
        (`changed`) and of the arithmetic that was done (`computed`); `faster_in_all`, the quotient
        of the sums; `modes`; and `per_frame`. Of all frames, the shares with the dense network's
        top-1 (`same_top1`) and of dense top-1 that equal those of the frame before
        (`steady_top1`), and the number of frames whose outputs are not those of the dense network
        for the accepted frame (`wrong`).

    Raises:
        ValueError: too few frames, or the file takes normalized images.
    """
    if len(frames) <= LEARNING:
        raise ValueError(f"A video needs more than {LEARNING} frames, got {len(frames)}.")
    dense = DenseFile(path, threads)
    selective = stream(path, num_threads=threads, detector=detector)
    low, high = dense.scale.low, dense.scale.low + 255 * dense.scale.step
    if dense.dtype.kind in "iu" and not (abs(low) < 1 and abs(high - 255) < 1):
        raise ValueError(f"{Path(path).name} takes values of {low:.3g} to {high:.3g}, not pixels.")
    dense_ms: list[float] = []
    stream_ms: list[float] = []
    predicted, expected, stats = [], [], []
    another, another_ms = DenseFile(whole, threads) if whole else None, list[float]()
    accepted, wrong = frames[0].copy(), 0

    def given(frame: np.ndarray) -> np.ndarray:
        is_float = dense.dtype.kind == "f"
        return frame.astype("float32") if is_float else dense.scale.values(frame, dense.dtype)

    for start in range(0, len(frames), turn):
        batch = frames[start : start + turn]
        arrays = [given(x) for x in batch]
        expected += [timed(dense, x, dense_ms)[0].argmax() for x in arrays]
        if another:
            for x in arrays:
                timed(another, x, another_ms)
        results = [timed(selective, x, stream_ms) for x in arrays]
        for frame, result in zip(batch, results, strict=True):
            for top, left, bottom, right in result.stats.boxes:
                accepted[top:bottom, left:right] = frame[top:bottom, left:right]
            output = listed(result.output)
            wrong += error_of(output, dense(given(accepted))) > 0
            predicted.append(output[0].argmax())
            stats.append(result.stats)
    counted = stats[LEARNING:]
    return {
        "frames": len(frames),
        "noise": selective.detector.noise,
        "dense": statistics.median(dense_ms[LEARNING:]),
        "stream": statistics.median(stream_ms[LEARNING:]),
        "whole": statistics.median(another_ms[LEARNING:]) if another else None,
        "faster_in_all": sum(dense_ms[LEARNING:]) / sum(stream_ms[LEARNING:]),
        "changed": statistics.median(x.changed for x in counted),
        "computed": statistics.median(1 - x.saved for x in counted),
        "boxes": statistics.median(len(x.boxes) for x in counted),
        "modes": {x: [y.mode for y in counted].count(x) for x in ("cached", "boxes", "dense")},
        "same_top1": float(np.mean(np.equal(predicted, expected))),
        "steady_top1": float(np.mean(np.equal(expected[1:], expected[:-1]))),
        "wrong": int(wrong),
        "per_frame": {
            "ms": stream_ms[LEARNING:],
            "changed": [x.changed for x in counted],
            "computed": [1 - x.saved for x in counted],
        },
    }
