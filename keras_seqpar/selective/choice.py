"""How each segment is computed: a small cost model, calibrated on the machine at first use."""

import dataclasses
import statistics
import time

import numpy as np

from keras_seqpar.selective.engine import Engine
from keras_seqpar.selective.propagation import Changes, patch
from keras_seqpar.selective.segments import MODES

# Without a calibration. Measured on 2 cores with ResNet-50 at 512 pixels: gathered positions cost
# 1.1 times as much per multiply-accumulate as a rectangle; over 0.9 a dense pass is quicker.
_POSITIONS = 1.1
_TILES = 1.1
_DENSE = 0.9
_WORTH = 0.95  # share of a dense pass; what does more is not quicker for sure
_SHARES = (0.02, 0.25)  # of the frame, measured
_RUNS = 3


@dataclasses.dataclass
class CostModel:
    """Predicts how long a segment takes: a constant plus a time per multiply-accumulate.

    Args:
        lines: per segment: mode -> (seconds, seconds per multiply-accumulate).
        seconds: how long the calibration took.
    """

    lines: list[dict[str, tuple[float, float]]]
    seconds: float = 0.0


def _guess(macs: int) -> dict[str, tuple[float, float]]:
    """Lines without a calibration, in units of a rectangle's multiply-accumulates.

    Args:
        macs: of a dense run.
    """
    rates = {"rectangle": 1.0, "positions": _POSITIONS, "tiles": _TILES}
    return {"dense": (_DENSE * macs, 0.0), **{mode: (0.0, rate) for mode, rate in rates.items()}}


def calibrate(
    engine: Engine, frame: np.ndarray, extras, buffers, budget: float, *, prune: bool = False
) -> CostModel:
    """Measures the segments of an engine and fits a line to each mode.

    Nothing that is stored changes its meaning: what was computed from `frame` is computed from it
    again.

    Args:
        engine: with complete buffers.
        frame: the frame they come from.
        extras: the other inputs.
        buffers: the stored maps.
        budget: seconds; a mode that would not fit into them keeps its default.
        prune: as the segments are run when small changes stop between them.

    Returns:
        The cost model.
    """

    def measure(mode: str, share: float) -> list[tuple[float, int]]:
        """Per segment the median of its seconds, and its multiply-accumulates."""
        changes = engine.program.maps.evaluate(patch(frame.shape[:2], share))
        found = []
        for index, segment in enumerate(engine.segments):
            regions, times = segment.regions(mode, changes, engine.backend.fit), []
            for _ in range(_RUNS + 1):
                begin = time.perf_counter()
                engine.run(index, mode, regions, frame, extras, buffers, limit)
                times.append(time.perf_counter() - begin)
            macs = segment.count(mode, changes, engine.backend.fit)
            found.append((statistics.median(times[1:]), macs))
        return found

    start = time.perf_counter()
    limit = 0.0 if prune else None
    lines = []
    for seconds, macs in measure("dense", 1.0):
        unit = seconds / max(macs, 1)
        lines.append({m: (a * unit, b * unit) for m, (a, b) in _guess(macs).items()})
        lines[-1]["dense"] = (seconds, 0.0)
    for mode in MODES[1:]:
        points = []
        for share in _SHARES:
            if time.perf_counter() - start > budget / 2:
                return CostModel(lines, time.perf_counter() - start)
            points.append(measure(mode, share))
        for line, (t0, m0), (t1, m1) in zip(lines, *points, strict=True):
            slope = max(t1 - t0, 0.0) / (m1 - m0) if m1 > m0 else 0.0
            line[mode] = (max(t0 - slope * m0, 0.0), slope)
    return CostModel(lines, time.perf_counter() - start)


def choose(engine: Engine, index: int, changes: Changes, mode: str = "auto") -> tuple[str, int]:
    """The way to run a segment.

    Args:
        engine: the network.
        index: of the segment.
        changes: what must be computed.
        mode: `"auto"`, or the one to take.

    Returns:
        The mode and its multiply-accumulates.
    """
    segment, modes = engine.segments[index], MODES if mode == "auto" else (mode,)
    macs = {m: segment.count(m, changes, engine.backend.fit) for m in modes}
    if mode != "auto":
        return mode, macs[mode]
    macs = {m: n for m, n in macs.items() if m == "dense" or n < _WORTH * macs["dense"]}
    lines = engine.cost_model.lines[index] if engine.cost_model else _guess(segment.macs)
    best = min(macs, key=lambda m: lines[m][0] + lines[m][1] * macs[m])
    return best, macs[best]
