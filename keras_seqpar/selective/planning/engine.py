"""Computes what changed: follows boxes through the runs, and runs them."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.planning.boxes import Box, grown, limited, merged
from keras_seqpar.selective.planning.effects import reached
from keras_seqpar.selective.planning.passes import BOXES, FULL, PLAIN, Passes
from keras_seqpar.selective.planning.plan import CropRun, Plan, View, WholeRun
from keras_seqpar.selective.planning.sessions import CropSession, Sessions, WholeSession, address

Changed = Mapping[int, Sequence[Box]]


@dataclasses.dataclass(frozen=True)
class Work:
    """What there is to do for a change."""

    # of every step, the boxes of its outputs to compute; none where all is
    boxes: tuple[Sequence[Box], ...]
    changed: Changed  # number of a map -> the boxes of it that change
    dense: bool  # whether the part that is computed whole has to be
    macs: int  # multiply-accumulates
    cost: float  # multiply-accumulates, with what starting runs and copying costs


class Engine:
    """The stored maps of a stream, and what computes them.

    Args:
        plan: how the graph is computed.
        sessions: makes what runs the pieces of the plan.
        plain: whether the graph may be loaded once more as it is, if that is faster where
            everything changes in frame after frame.

    Attributes:
        everything: the work of a frame of which everything changed.
    """

    def __init__(self, plan: Plan, sessions: Sessions, *, plain: bool = True):
        self.plan, self._sessions = plan, sessions
        make: dict[Any, Any] = {CropRun: sessions.crops, WholeRun: sessions.whole}
        # what runs every step; `None` for a view
        self._steps: list[Any] = [
            make[type(x)](plan, x) if type(x) in make else None for x in plan.steps
        ]
        self._readings = [_readings(x, plan.graph.tensors[x.outputs[0]].grid) for x in plan.steps]
        self._dense = sessions.whole(plan, plan.dense) if plan.dense else None
        self._full = sessions.full(plan)
        self._plain: WholeSession | None = None
        self._maps: dict[int, np.ndarray] = {}
        self._vectors: dict[int, np.ndarray] = {}  # other inputs, and what depends on them only
        self._values: dict[int, np.ndarray] = {}  # outputs without positions
        self.everything = self._everything()
        self._passes = Passes(self.everything.cost, plain)

    @property
    def starts(self) -> float:
        """What starting every run once costs, in multiply-accumulates."""
        return sum(step.start for step in self._steps if isinstance(step, CropSession))

    @property
    def maps(self) -> dict[int, np.ndarray]:
        """Number of a tensor -> its stored values, of the last frame."""
        if self._passes.is_stale:
            self.compute(self.everything)
        return self._maps

    @property
    def outputs(self) -> dict[int, np.ndarray]:
        """Copies of the outputs of the graph."""
        graph = self.plan.graph
        return {i: self.output(i).reshape(graph.tensors[i].shape).copy() for i in graph.outputs}

    def output(self, i: int) -> np.ndarray:
        """An output of the last frame, which may be the same memory."""
        known = next((x[i] for x in (self._values, self._maps, self._vectors) if i in x), None)
        return self.plan.graph.tensors[i].values() if known is None else known

    @property
    def state_bytes(self) -> int:
        """Size of the stored maps."""
        return sum(self.plan.graph.tensors[i].nbytes for i in self.plan.stored)

    def follow(self, boxes: Sequence[Box], margin: int | None = None) -> Work:
        """Finds what has to be computed where boxes of the frame change.

        Args:
            boxes: of the frame.
            margin: pixels around them up to which effects are followed; `None` for all effects.
        """
        plan, tensors = self.plan, self.plan.graph.tensors
        frame = tensors[plan.frame].grid
        limits = None if margin is None else [grown(box, margin, frame) for box in boxes]
        changed: dict[int, Sequence[Box]] = {plan.frame: boxes}
        of_steps: list[Sequence[Box]] = []
        macs, cost = 0, 0.0
        for run, session, readings in zip(plan.steps, self._steps, self._readings, strict=True):
            found = [x for i, *axes in readings for x in reached(changed.get(i, ()), *axes)]
            if limits is not None:
                found = limited(found, limits, frame, tensors[run.outputs[0]].grid)
            if isinstance(run, CropRun):
                found = merged(found, session.cost)
                for top, left, bottom, right in found:
                    macs += run.macs * (bottom - top) * (right - left)
                    cost += session.cost(bottom - top, right - left)
            elif isinstance(run, WholeRun) and found:
                found = merged(found, lambda height, width: height * width)
                macs += run.macs
                cost += run.macs
            of_steps.append(found)
            if found:
                changed |= dict.fromkeys(run.outputs, found)
        dense = plan.dense if plan.dense and any(map(changed.get, plan.dense.inputs)) else None
        more = dense.macs if dense else 0
        return Work(tuple(of_steps), changed, dense is not None, macs + more, cost + more)

    def _everything(self) -> Work:
        plan, tensors = self.plan, self.plan.graph.tensors
        maps = (plan.frame, *(i for step in plan.steps for i in step.outputs))
        changed = {i: [(0, 0, *tensors[i].grid)] for i in maps}
        cost = float(plan.dense.macs) if plan.dense else 0.0
        for run, session in zip(plan.steps, self._steps, strict=True):
            if isinstance(run, CropRun):
                cost += session.cost(*run.grid)
            elif isinstance(run, WholeRun):
                cost += run.macs
        return Work((), changed, plan.dense is not None, plan.macs, cost)

    def load(self) -> None:
        """Loads all that runs and allocates the stored maps, where that is not done yet."""
        for session in (self._full, *self._steps, self._dense):
            if session is not None:
                session.load()
        if self._maps:
            return
        tensors = self.plan.graph.tensors
        self._maps = self._sessions.allocate(self.plan, self._full)
        for i in self.plan.constant_maps:
            shape = tensors[i].map_shape
            self._maps[i] = tensors[i].values().reshape((1,) * (4 - len(shape)) + shape)
        for view in (x for x in self.plan.steps if isinstance(x, View)):
            (i,) = view.outputs
            self._maps[i] = self._maps[view.inputs[0]].reshape(tensors[i].map_shape)

    def set_frame(self, box: Box, values: np.ndarray) -> None:
        """Writes a box of the frame, `(height, width, channels)` as the graph takes it."""
        top, left, bottom, right = box
        self._maps[self.plan.frame][0, top:bottom, left:right] = values

    def set_extras(self, values: Mapping[int, np.ndarray]) -> None:
        """Sets the inputs other than the frame; everything has to be computed after that."""
        self._vectors = dict(values)

    def compute(self, work: Work, *, must: str | None = None) -> str:
        """Computes what there is to do, or everything where that is faster.

        The stored map of the frame has its new values already.

        Args:
            work: from `follow`, or `everything`.
            must: how it is computed; `None` to choose what is faster.

        Returns:
            A kind of pass of `planning.passes`.
        """
        if work is self.everything:
            must = FULL
        must = must or self._passes.choose(work.cost)
        if must == PLAIN and self._plain is None:
            self._plain = self._sessions.whole(self.plan, self.plan.plain)
            self._plain.load()
        start = time.perf_counter()
        if must == BOXES:
            self._compute_boxes(work)
        else:
            self._values = self._all(self._full if must == FULL else self._plain)
            extras = self.plan.of_extras.outputs if self.plan.of_extras and must == FULL else ()
            self._vectors |= {i: self._values.pop(i) for i in extras}
        self._passes.took(must, work.cost, time.perf_counter() - start)
        return must

    def _compute_boxes(self, work: Work) -> None:
        for run, session, boxes in zip(self.plan.steps, self._steps, work.boxes, strict=True):
            if isinstance(run, CropRun):
                for box in boxes:
                    session.compute(box, self._maps, self._vectors)
            elif isinstance(run, WholeRun) and boxes:
                session.renew(boxes, self._maps)
        if work.dense:
            self._values = self._all(self._dense)

    def _all(self, session: WholeSession | None) -> dict[int, np.ndarray]:
        """Runs on whole maps: writes the stored ones, and returns copies of other outputs."""
        assert session is not None
        others = {}
        for i, values in session.compute(self._maps | self._vectors):
            stored = self._maps.get(i)
            if stored is None:
                others[i] = values.copy()
            elif address(stored) != address(values):
                stored[...] = values.reshape(stored.shape)
        return others


def _readings(step: Any, grid: tuple[int, int]) -> list[tuple]:
    """The maps that a step reads, each with what `reached` takes."""
    if isinstance(step, CropRun):
        return [(x.tensor, x.rows, x.cols, grid) for x in step.sources]
    return [(i, step.rows, step.cols, grid) for i in step.inputs]
