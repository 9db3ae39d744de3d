"""How each segment is computed: a small cost model, calibrated on the machine at first use."""

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence

import numpy as np

from keras_seqpar.selective.change_maps.propagation import Changes, patch
from keras_seqpar.selective.keras_engine.engine import Engine
from keras_seqpar.selective.keras_engine.runs import MODES, Region

# Without a calibration. Measured on 2 cores with ResNet-50 at 512 pixels: gathered positions cost
# 1.1 times as much per multiply-accumulate as a rectangle; over 0.9 a dense pass is quicker.
_POSITIONS = 1.1
_TILES = 1.1
_DENSE = 0.9
_WORTH = 0.95  # share of a dense pass; what does more is not quicker for sure
_SHARES = (0.004, 0.03, 0.12, 0.3)  # of the area, measured
_RUNS = 5  # while there is time; of 3 the best differed by 10 % from one calibration to the next
# A rectangle has two sides, so that frames have more rectangles of a size that was not met lately
# than lists of positions, and a calibration, which repeats itself, has none. As processes of their
# own in turns, they took 1.01 to 1.19 times as long, compared with positions, as it said, in the
# middle 1.07 times (ten cases of ResNet-50 at 512 and 224 pixels and VGG16, 2 cores, TensorFlow).
_SIZES = {"rectangle": 1.07}


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


@dataclasses.dataclass(frozen=True)
class _Run:
    """A segment in a mode for one change; see `Engine.run`."""

    index: int
    mode: str
    macs: int
    regions: Mapping[int, Region]


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
            before, is not measured. One that was begun is finished.
        prune: as the segments are run when small changes stop between them.

    Returns:
        The cost model.
    """
    start, limit = time.perf_counter(), 0.0 if prune else None

    def seconds(run: _Run) -> float:
        begin = time.perf_counter()
        engine.run(run.index, run.mode, run.regions, frame, extras, buffers, limit)
        engine.backend.wait(buffers)
        return time.perf_counter() - begin

    runs: list[_Run] = []
    last = 0.0  # what the mode before took
    for mode in MODES:
        begin, new = time.perf_counter(), _runs(engine, mode)
        if mode != "dense" and begin - start + last > budget:
            break
        last = sum(map(seconds, new))  # compiles
        runs += new
    runs.sort(key=lambda run: (run.index, run.macs))  # what is compared, at the same time
    times = [seconds(run) for run in runs]
    for _ in range(_RUNS - 1):
        if time.perf_counter() - start < budget:
            times = [min(best, seconds(run)) for best, run in zip(times, runs, strict=True)]
    points: list[dict] = [{} for _ in engine.segments]
    for run, best in zip(runs, times, strict=True):
        expected = best * _SIZES.get(run.mode, 1.0)
        points[run.index].setdefault(run.mode, []).append((expected, run.macs))
    return CostModel(
        [
            {mode: _curve(found, segment.macs) for mode, found in of_mode.items()}
            for segment, of_mode in zip(engine.segments, points, strict=True)
        ],
        time.perf_counter() - start,
    )


def _runs(engine: Engine, mode: str) -> list[_Run]:
    """What is measured of a mode: small changes of what each segment starts from."""
    maps, fit = engine.program.maps, engine.backend.fit
    found = []
    for share in (1.0,) if mode == "dense" else _SHARES:
        changes = maps.evaluate(patch(maps.shape(maps.SOURCE), share))
        for i, segment in enumerate(engine.segments):
            entry = engine.program.map_of_value[segment.entry]
            changes = changes.after(entry, patch(maps.shape(entry), share))
            regions = segment.regions(mode, changes, fit)
            found.append(_Run(i, mode, segment.count(mode, changes, fit), regions))
    return found


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
    best, least = "dense", model.predict(number, "dense", segment.macs)
    macs = {best: segment.macs}
    for m in (m for m in MODES[1:] if m in model.points[number]):
        # Tiles hold all positions. Where about that many take too long they are not counted:
        # only few changes, whose list is filled up, can need less in tiles.
        if m == "tiles" and model.predict(number, m, macs["positions"]) >= least:
            continue
        macs[m] = segment.count(m, changes, engine.backend.fit)
        seconds = model.predict(number, m, macs[m])
        if macs[m] < _WORTH * segment.macs and seconds < least:
            best, least = m, seconds
    return best, macs[best]
