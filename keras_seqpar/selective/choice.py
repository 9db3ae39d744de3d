"""Which way a frame is computed: a small cost model, calibrated on the machine at first use."""

import dataclasses
import statistics
import time

import numpy as np

from keras_seqpar.selective.engine import MODES, Engine
from keras_seqpar.selective.propagation import patch

# Without a calibration. Measured on 2 cores with ResNet-50 at 512 pixels: gathered positions cost
# 1.1 times as much per multiply-accumulate as a rectangle; over 0.9 a dense pass is quicker.
_POSITIONS = 1.1
_DENSE = 0.9
_WORTH = 0.95  # share of a dense pass; what does more is not quicker for sure
_SHARES = (0.02, 0.25)  # of the frame, measured
_RUNS = 3


@dataclasses.dataclass
class CostModel:
    """Predicts how long a pass takes: a constant plus a time per multiply-accumulate.

    Args:
        lines: mode -> (seconds, seconds per multiply-accumulate).
        seconds: how long the calibration took.
    """

    lines: dict[str, tuple[float, float]]
    seconds: float = 0.0

    @classmethod
    def default(cls, macs: int) -> "CostModel":
        """What holds without a calibration, in arbitrary units.

        Args:
            macs: of a dense pass.
        """
        return cls(
            {"dense": (_DENSE * macs, 0.0), "rectangle": (0.0, 1.0), "positions": (0.0, _POSITIONS)}
        )

    def best(self, macs: dict[str, int]) -> str:
        """The quickest of the modes whose multiply-accumulates are given."""

        def predicted(mode: str) -> float:
            constant, slope = self.lines[mode]
            return constant + slope * macs[mode]

        return min(macs, key=predicted)


def calibrate(engine: Engine, frame: np.ndarray, extras, buffers, budget: float) -> CostModel:
    """Measures passes of the engine and fits a line to each mode.

    Nothing that is stored changes its meaning: what was computed from `frame` is computed from it
    again.

    Args:
        engine: with complete buffers.
        frame: the frame they come from.
        extras: the other inputs.
        buffers: the stored maps.
        budget: seconds; a mode that would not fit into them keeps its default.

    Returns:
        The cost model.
    """
    start = time.perf_counter()
    macs = engine.program.macs(engine.all_positions)
    _time(engine, "dense", None, frame, extras, buffers)
    dense, _ = _time(engine, "dense", None, frame, extras, buffers)
    unit = dense / max(macs, 1)
    lines = {m: (a * unit, b * unit) for m, (a, b) in CostModel.default(macs).lines.items()}
    lines["dense"] = (dense, 0.0)
    for mode in MODES[1:]:
        points = []
        for share in _SHARES:
            if time.perf_counter() - start > budget / 2:
                break
            changed = patch(frame.shape[:2], share)
            _time(engine, mode, changed, frame, extras, buffers, runs=1)
            points.append(_time(engine, mode, changed, frame, extras, buffers))
        if len(points) == len(_SHARES):
            (t0, m0), (t1, m1) = points
            slope = max(t1 - t0, 0.0) / (m1 - m0) if m1 > m0 else 0.0
            lines[mode] = (max(t0 - slope * m0, 0.0), slope)
    return CostModel(lines, time.perf_counter() - start)


def candidates(engine: Engine, changes, changed: np.ndarray, mode: str = "auto") -> dict[str, int]:
    """What each way to compute a frame would cost.

    Args:
        engine: the network.
        changes: its maps for this frame.
        changed: the frame's map.
        mode: `"auto"` for all modes that save something, or the only one.

    Returns:
        Mode -> multiply-accumulates.
    """
    modes = MODES if mode == "auto" else (mode,)
    macs = {m: engine.program.macs(engine.counts(m, changes, changed)) for m in modes}
    if mode == "auto":
        macs = {m: n for m, n in macs.items() if m == "dense" or n < _WORTH * macs["dense"]}
    return macs


def _time(engine, mode, changed, frame, extras, buffers, runs=_RUNS) -> tuple[float, int]:
    """Median seconds of a pass, and its multiply-accumulates."""
    regions, counts = {}, engine.all_positions
    if changed is not None:
        changes = engine.program.maps.evaluate(changed)
        regions = engine.regions(mode, changes, changed)
        counts = engine.counts(mode, changes, changed)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        engine.run(mode, regions, frame, extras, buffers)
        times.append(time.perf_counter() - start)
    return statistics.median(times), engine.program.macs(counts)
