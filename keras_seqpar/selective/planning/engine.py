"""Computes what changed: follows boxes through the runs, and runs them."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.planning.axes import reached
from keras_seqpar.selective.planning.boxes import Box, grown, limited, merged
from keras_seqpar.selective.planning.passes import BOXES, FULL, PLAIN, Passes
from keras_seqpar.selective.planning.plan import CropRun, Plan, View, WholeRun
from keras_seqpar.selective.planning.sessions import CropSession, Sessions, WholeSession

Changed = Mapping[int, Sequence[Box]]


@dataclasses.dataclass(frozen=True)
class Work:
    """What there is to do for a change.

    Args:
        boxes: of every step, the boxes of its outputs to compute.
        changed: number of a map -> the boxes of it that change.
        dense: whether the part that is computed whole has to be.
        macs: multiply-accumulates.
        cost: multiply-accumulates, with what starting runs and copying costs.
    """

    boxes: tuple[Sequence[Box], ...]
    changed: Changed
    dense: bool
    macs: int
    cost: float


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
        self.plan = plan
        self.sessions = sessions
        self._steps: list[CropSession | WholeSession | View] = [
            sessions.crops(plan, step)
            if isinstance(step, CropRun)
            else sessions.whole(plan, step)
            if isinstance(step, WholeRun)
            else step
            for step in plan.steps
        ]
        self._dense = sessions.whole(plan, plan.dense) if plan.dense else None
        self._full = sessions.full(plan)
        self._plain: WholeSession | None = None
        self._maps: dict[int, Any] = {}
        self._vectors: dict[int, Any] = {}  # the other inputs, and what depends on them only
        self._values: dict[int, Any] = {}  # outputs without positions
        self.everything = self._everything()
        self._passes = Passes(self.everything.cost, plain)

    @property
    def starts(self) -> float:
        """What starting every run once costs, in multiply-accumulates."""
        return sum(step.start for step in self._steps if isinstance(step, CropSession))

    @property
    def maps(self) -> dict[int, Any]:
        """Number of a tensor -> its stored values, of the last frame."""
        if self._passes.is_stale:
            self.compute(self.everything)
        return self._maps

    @property
    def outputs(self) -> dict[int, np.ndarray]:
        """Copies of the outputs of the graph."""
        graph = self.plan.graph
        return {i: self.output(i).reshape(graph.tensors[i].shape).copy() for i in graph.outputs}

    def output(self, i: int, box: Box | None = None) -> np.ndarray:
        """An output of the last frame, or a box of it, which may be the same memory."""
        known = next((x[i] for x in (self._values, self._maps, self._vectors) if i in x), None)
        if known is None:
            known = self.plan.graph.tensors[i].values()
        return self.sessions.read(
            known if box is None else known[:, box[0] : box[2], box[1] : box[3]]
        )

    @property
    def state_bytes(self) -> int:
        """Size of the stored maps."""
        graph = self.plan.graph
        return sum(graph.tensors[i].nbytes for i in self.plan.stored)

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
        for step in self._steps:
            grid = tensors[step.output if isinstance(step, View) else step.run.outputs[0]].grid
            if isinstance(step, View):
                found = list(reached(changed.get(step.source, ()), step.rows, step.cols, grid))
            else:
                found = step.boxes(changed)
            if limits is not None:
                found = limited(found, limits, frame, grid)
            if isinstance(step, View):
                changed[step.output] = found
                of_steps.append(found)
                continue
            if isinstance(step, CropSession):
                found = merged(found, step.cost)
                for top, left, bottom, right in found:
                    macs += step.run.macs * (bottom - top) * (right - left)
                    cost += step.cost(bottom - top, right - left)
            elif found:
                found = merged(found, lambda height, width: height * width)
                macs += step.run.macs
                cost += step.run.macs
            of_steps.append(found)
            if found:
                changed |= dict.fromkeys(step.run.outputs, found)
        dense = plan.dense is not None and any(changed.get(i) for i in plan.dense.inputs)
        if dense and plan.dense is not None:
            macs += plan.dense.macs
            cost += plan.dense.macs
        return Work(tuple(of_steps), changed, dense, macs, cost)

    def _everything(self) -> Work:
        """All outputs of all runs, with those that read nothing of the frame, as in borders."""
        plan = self.plan

        def whole(i: int) -> Box:
            rows, cols = plan.graph.tensors[i].grid
            return 0, 0, rows, cols

        changed: dict[int, Sequence[Box]] = {plan.frame: [whole(plan.frame)]}
        of_steps: list[Sequence[Box]] = []
        cost = float(plan.dense.macs) if plan.dense else 0.0
        for step in self._steps:
            outputs = (step.output,) if isinstance(step, View) else step.run.outputs
            of_steps.append([whole(outputs[0])])
            changed |= {i: [whole(i)] for i in outputs}
            if isinstance(step, CropSession):
                cost += step.cost(*step.run.grid)
            elif isinstance(step, WholeSession):
                cost += step.run.macs
        return Work(tuple(of_steps), changed, plan.dense is not None, plan.macs, cost)

    def load(self) -> None:
        """Loads all that runs and allocates the stored maps, where that is not done yet."""
        for step in (self._full, *self._steps, self._dense):
            if step is not None and not isinstance(step, View):
                step.load()
        if not self._maps:
            self._start()

    def _start(self) -> None:
        """Allocates the stored maps."""
        graph, self._maps = self.plan.graph, self._full.start()
        for i in self.plan.constant_maps:
            values, shape = graph.tensors[i].values(), graph.tensors[i].map_shape
            self._maps[i] = self.sessions.keep(values.reshape((1,) * (4 - len(shape)) + shape))
        for step in self.plan.steps:
            if isinstance(step, View):
                shape = graph.tensors[step.output].map_shape
                self._maps[step.output] = self._maps[step.source].reshape(shape)

    def read(self, i: int) -> np.ndarray:
        """A copy of a stored map."""
        return self.sessions.read(self.maps[i]).copy()

    def set_frame(self, box: Box, values: np.ndarray) -> None:
        """Writes a box of the frame into its stored map.

        Args:
            box: the box.
            values: `(height, width, channels)` of the box, as the graph takes them.
        """
        frame = self.plan.frame
        self._maps[frame] = self.sessions.write(self._maps[frame], box, values[None])

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
            self._plain = self.sessions.whole(self.plan, self.plan.plain)
            self._plain.load()
        start = time.perf_counter()
        if must == BOXES:
            self._compute_boxes(work)
        elif must == FULL:
            made = self._full.compute(self._maps, self._vectors)
            extras = self.plan.of_extras.outputs if self.plan.of_extras else ()
            self._vectors |= {i: made.pop(i) for i in extras}
            self._values = made
        else:
            assert self._plain is not None
            self._values = self._copies(self._plain, self._maps | self._vectors)
        self._passes.took(must, work.cost, time.perf_counter() - start)
        return must

    def _compute_boxes(self, work: Work) -> None:
        for step, boxes in zip(self._steps, work.boxes, strict=True):
            if isinstance(step, CropSession):
                for box in boxes:
                    step.compute(box, self._maps, self._vectors)
            elif isinstance(step, WholeSession) and boxes:
                step.renew(boxes, self._maps, self.sessions)
        if work.dense and self._dense is not None:
            self._values = self._copies(self._dense, self._maps | self._vectors)

    def _copies(self, session: WholeSession, values: Mapping[int, Any]) -> dict[int, np.ndarray]:
        """Copies of the outputs of a run on whole maps."""
        return {i: self.sessions.read(x).copy() for i, x in session.compute(values)}
