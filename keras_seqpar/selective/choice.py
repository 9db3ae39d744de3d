"""How each segment is computed: a small cost model, calibrated on the machine at first use."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Sequence

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
_SHARES = (0.004, 0.03, 0.12, 0.3)  # of the frame, measured
_RUNS = 3


@dataclasses.dataclass
class CostModel:
    """Predicts how long a segment takes, between what was measured.

    Args:
        points: per segment: mode -> `(multiply-accumulates, seconds)`, increasing; modes that
            were not measured are not there, and not chosen.
        seconds: how long the calibration took.
    """

    points: list[dict[str, list[tuple[float, float]]]]
    seconds: float = 0.0

    def predict(self, index: int, mode: str, macs: int) -> float:
        """Seconds for a segment that does so many multiply-accumulates in a mode."""
        known, times = zip(*self.points[index][mode], strict=True)
        return float(np.interp(macs, known, times))


@functools.cache
def _guess(macs: int) -> dict[str, list[tuple[float, float]]]:
    """Points without a calibration, in units of a rectangle's multiply-accumulates.

    Args:
        macs: of a dense run.
    """
    rates = {"rectangle": 1.0, "positions": _POSITIONS, "tiles": _TILES}
    points = {mode: [(0.0, 0.0), (float(macs), rate * macs)] for mode, rate in rates.items()}
    return {"dense": [(float(macs), _DENSE * macs)], **points}


def _curve(measured: Sequence[tuple[float, int]], macs: int) -> list[tuple[float, float]]:
    """Increasing points from measured seconds and multiply-accumulates.

    Args:
        measured: of one mode, in any order.
        macs: of a dense run: where the last one does less, it is taken to grow in proportion.
    """
    points = dict(sorted((float(done), seconds) for seconds, done in measured))
    done, seconds = max(points.items())
    if 0 < done < macs:
        points[float(macs)] = seconds * macs / done
    return list(zip(points, np.maximum.accumulate(list(points.values())).tolist(), strict=True))


def calibrate(
    engine: Engine, frame: np.ndarray, extras, buffers, budget: float, *, prune: bool = False
) -> CostModel:
    """Measures the segments of an engine in each mode, for changes of a few sizes.

    Nothing that is stored changes its meaning: what was computed from `frame` is computed from it
    again.

    Args:
        engine: with complete buffers.
        frame: the frame they come from.
        extras: the other inputs.
        buffers: the stored maps.
        budget: seconds; a mode that would not fit into them, were it to take as long as the one
            before, is not measured.
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
    points = [{"dense": [(float(macs), seconds)]} for seconds, macs in measure("dense", 1.0)]
    last = 0.0  # what the mode before took
    for mode in MODES[1:]:
        begin, measured = time.perf_counter(), []
        for share in _SHARES:
            ahead = last if share == _SHARES[0] else 0.0
            if time.perf_counter() - start + ahead > budget:
                return CostModel(points, time.perf_counter() - start)
            measured.append(measure(mode, share))
        last = time.perf_counter() - begin
        for segment, curves, found in zip(
            engine.segments, points, zip(*measured, strict=True), strict=True
        ):
            curves[mode] = _curve(found, segment.macs)
    return CostModel(points, time.perf_counter() - start)


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
    segment = engine.segments[index]
    if mode != "auto":
        return mode, segment.count(mode, changes, engine.backend.fit)
    model, number = engine.cost_model, index
    if model is None:
        model, number = CostModel([_guess(segment.macs)]), 0
    macs = {m: segment.count(m, changes, engine.backend.fit) for m in model.points[number]}
    macs = {m: n for m, n in macs.items() if m == "dense" or n < _WORTH * macs["dense"]}
    best = min(macs, key=lambda m: model.predict(number, m, macs[m]))
    return best, macs[best]
