"""Selects the mode of each run with a cost model that is measured on the machine at first use."""

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence

import numpy as np

from keras_seqpar.selective.change_maps.propagation import Changes, centered_rectangle
from keras_seqpar.selective.keras_engine.engine import Engine
from keras_seqpar.selective.keras_engine.runs import MODES, Region

# Time per multiply-accumulate relative to a rectangle, used where nothing was measured. Found with
# ResNet-50 at 512 pixels on 2 cores: gathered positions take 1.1 times as long as a rectangle, and
# a dense pass is faster than a rectangle of more than 0.9 of its multiply-accumulates.
_POSITIONS_RATE = 1.1
_TILES_RATE = 1.1
_DENSE_RATE = 0.9
# A mode is selected only if it has less than this share of a dense pass's multiply-accumulates.
_MAX_SHARE = 0.95
_MEASURED_SHARES = (0.004, 0.03, 0.12, 0.3)  # shares of the frame's area that change
# How often each measurement is repeated while there is time. With 3 repetitions, the best time
# differed by 10 % from one calibration to the next.
_REPETITIONS = 5
# Factor on the measured time of a mode. Rectangles of real frames have many more sizes (two sides
# each) than those of a calibration, which repeats the same sizes, and a new size takes longer.
# Rectangles took 1.01 to 1.19 times as long as predicted relative to positions, 1.07 in the median
# (ten cases of ResNet-50 at 512 and 224 pixels and VGG16, 2 cores, TensorFlow, separate processes
# in turns).
_FACTORS = {"rectangle": 1.07}


@dataclasses.dataclass
class CostModel:
    """Predicts how long a run takes, by interpolation between measurements.

    Args:
        points: for each run: mode -> increasing `(multiply-accumulates, seconds)`. Modes that
            were not measured are missing and are not selected.
        seconds: how long the calibration took.
    """

    points: list[dict[str, list[tuple[float, float]]]]
    seconds: float = 0.0

    def predict(self, index: int, mode: str, macs: int) -> float:
        """The seconds that a run takes in a mode for a number of multiply-accumulates."""
        known, times = zip(*self.points[index][mode], strict=True)
        return float(np.interp(macs, known, times))


@dataclasses.dataclass(frozen=True)
class _Trial:
    """What one measurement computes: a run, in a mode, for one change; see `Engine.compute`."""

    index: int
    mode: str
    macs: int
    regions: Mapping[int, Region]


@functools.cache
def _default_points(macs: int) -> dict[str, list[tuple[float, float]]]:
    """Points without measurements, in units of a rectangle's time per multiply-accumulate.

    Args:
        macs: multiply-accumulates of a dense pass.
    """
    rates = {"rectangle": 1.0, "positions": _POSITIONS_RATE, "tiles": _TILES_RATE}
    points = {mode: [(0.0, 0.0), (float(macs), rate * macs)] for mode, rate in rates.items()}
    return {"dense": [(float(macs), _DENSE_RATE * macs)], **points}


def _curve(measured: Sequence[tuple[float, int]], macs: int) -> list[tuple[float, float]]:
    """Increasing points from the measurements of one mode.

    Args:
        measured: pairs of seconds and multiply-accumulates, in any order.
        macs: multiply-accumulates of a dense pass. Where the largest measurement has fewer, time
            is taken to grow in proportion from there.
    """
    points = dict(sorted((float(done), seconds) for seconds, done in measured))
    done, seconds = max(points.items())
    if 0 < done < macs:
        points[float(macs)] = seconds * macs / done
    return list(zip(points, np.maximum.accumulate(list(points.values())).tolist(), strict=True))


def calibrate(
    engine: Engine, frame: np.ndarray, extras, buffers, budget: float, *, prune: bool = False
) -> CostModel:
    """Measures the runs of an engine in each mode, for changes of several sizes.

    The stored maps stay valid: they are computed again from the same frame.

    Args:
        engine: the network.
        frame: the frame that the stored maps belong to.
        extras: the other inputs.
        buffers: the stored maps, complete.
        budget: seconds. A mode is skipped if it would exceed this, were it to take as long as the
            mode before. A mode that was begun is finished.
        prune: whether runs are measured with pruning between them.
    """
    start, limit = time.perf_counter(), 0.0 if prune else None

    def seconds(trial: _Trial) -> float:
        begin = time.perf_counter()
        engine.compute(trial.index, trial.mode, trial.regions, frame, extras, buffers, limit)
        engine.backend.wait(buffers)
        return time.perf_counter() - begin

    trials: list[_Trial] = []
    last = 0.0  # seconds that the mode before took
    for mode in MODES:
        begin, new = time.perf_counter(), make_trials(engine, mode)
        if mode != "dense" and begin - start + last > budget:
            break
        last = sum(map(seconds, new))  # the first call compiles
        trials += new
    trials.sort(key=lambda trial: (trial.index, trial.macs))  # compared modes one after the other
    times = [seconds(trial) for trial in trials]
    for _ in range(_REPETITIONS - 1):
        if time.perf_counter() - start < budget:
            times = [min(best, seconds(trial)) for best, trial in zip(times, trials, strict=True)]
    points: list[dict] = [{} for _ in engine.runs]
    for trial, best in zip(trials, times, strict=True):
        expected = best * _FACTORS.get(trial.mode, 1.0)
        points[trial.index].setdefault(trial.mode, []).append((expected, trial.macs))
    return CostModel(
        [
            {mode: _curve(found, run.macs) for mode, found in of_mode.items()}
            for run, of_mode in zip(engine.runs, points, strict=True)
        ],
        time.perf_counter() - start,
    )


def make_trials(
    engine: Engine, mode: str, shares: Sequence[float] = _MEASURED_SHARES
) -> list[_Trial]:
    """What is measured of a mode: for each run, changes of its input of several sizes.

    Args:
        engine: the network.
        mode: one of `runs.MODES`.
        shares: shares of the frame's area that change; the mode `"dense"` ignores them.
    """
    maps, size_class = engine.program.maps, engine.backend.size_class
    trials = []
    for share in (1.0,) if mode == "dense" else shares:
        changes = maps.evaluate(centered_rectangle(maps.shape(maps.FRAME), share))
        for i, run in enumerate(engine.runs):
            map_ = engine.program.map_of_value[run.input]
            changes = changes.restarted_at(map_, centered_rectangle(maps.shape(map_), share))
            regions = run.regions(mode, changes, size_class)
            trials.append(_Trial(i, mode, run.macs_of(mode, changes, size_class), regions))
    return trials


def choose_mode(
    engine: Engine, index: int, changes: Changes, mode: str = "auto"
) -> tuple[str, int]:
    """The mode in which a run is computed.

    Args:
        engine: the network.
        index: index of the run.
        changes: the positions that must be computed.
        mode: `"auto"`, or the mode to use.

    Returns:
        The mode and its number of multiply-accumulates.
    """
    run, size_class = engine.runs[index], engine.backend.size_class
    if mode != "auto":
        return mode, run.macs_of(mode, changes, size_class)
    model, number = engine.cost_model, index
    if model is None:
        model, number = CostModel([_default_points(run.macs)]), 0
    best, best_seconds = "dense", model.predict(number, "dense", run.macs)
    macs = {best: run.macs}
    for m in (m for m in MODES[1:] if m in model.points[number]):
        # Counting tiles takes time. They contain all changed positions, so where as many
        # multiply-accumulates as for positions are too slow in tiles, tiles are not counted.
        # (They can take less only for a few changes, whose list is padded to a size class.)
        if m == "tiles" and model.predict(number, m, macs["positions"]) >= best_seconds:
            continue
        macs[m] = run.macs_of(m, changes, size_class)
        seconds = model.predict(number, m, macs[m])
        if macs[m] < _MAX_SHARE * run.macs and seconds < best_seconds:
            best, best_seconds = m, seconds
    return best, macs[best]
