"""Computes what changed: follows boxes through the runs, and runs them in interpreters."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_seqpar.selective.planning.boxes import Box, merged
from keras_seqpar.selective.planning.passes import FILE, RUNS, Passes
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
    """The stored maps of a stream, and the runs that compute them.

    Args:
        plan: how the graph is computed.
        sessions: makes what runs the pieces of the plan.
        try_file: whether the file as a whole may be loaded as well, if that is faster where
            everything changes.

    Attributes:
        maps: number of a tensor -> its stored values.
        outputs: number of an output of the graph -> its values.
    """

    def __init__(self, plan: Plan, sessions: Sessions, *, try_file: bool = True):
        self.plan = plan
        self._sessions = sessions
        self._steps: list[CropSession | WholeSession | View] = [
            sessions.crops(plan, step)
            if isinstance(step, CropRun)
            else sessions.whole(plan, step)
            if isinstance(step, WholeRun)
            else step
            for step in plan.steps
        ]
        self._dense = sessions.whole(plan, plan.dense) if plan.dense else None
        self._of_extras = sessions.whole(plan, plan.of_extras) if plan.of_extras else None
        self._whole_file: WholeSession | None = None
        self._passes = Passes(try_file)
        self.maps: dict[int, Any] = {}
        self._vectors: dict[int, Any] = {}
        self._values: dict[int, Any] = {}  # outputs without positions
        self.everything = self._everything()

    @property
    def starts(self) -> float:
        """What starting every run once costs, in multiply-accumulates."""
        return sum(step.start for step in self._steps if isinstance(step, CropSession))

    @property
    def outputs(self) -> dict[int, np.ndarray]:
        """Copies of the outputs of the graph."""
        found = {}
        for i in self.plan.graph.outputs:
            tensor = self.plan.graph.tensors[i]
            known = next((x[i] for x in (self._values, self.maps, self._vectors) if i in x), None)
            found[i] = tensor.values() if known is None else self._sessions.read(known)
            found[i] = found[i].reshape(tensor.shape).copy()
        return found

    @property
    def state_bytes(self) -> int:
        """Size of the stored maps."""
        graph = self.plan.graph
        return sum(graph.tensors[i].nbytes for i in self.plan.stored)

    def follow(self, boxes: Sequence[Box]) -> Work:
        """Finds what has to be computed where boxes of the frame change."""
        plan = self.plan
        changed: dict[int, Sequence[Box]] = {plan.frame: boxes}
        of_steps: list[Sequence[Box]] = []
        macs, cost = 0, 0.0
        for step in self._steps:
            if isinstance(step, View):
                found = _through(step, changed.get(step.source, ()), plan)
                changed[step.output] = found
                of_steps.append(found)
                continue
            found = step.boxes(changed)
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
        """Makes all interpreters of runs; the first frame would do it otherwise."""
        for step in (*self._steps, self._dense, self._of_extras):
            if isinstance(step, (CropSession, WholeSession)):
                step.load()

    def start(self) -> None:
        """Allocates the stored maps."""
        graph, self.maps = self.plan.graph, {}
        for i in self.plan.stored:
            zeros = np.zeros(graph.tensors[i].map_shape, graph.tensors[i].dtype)
            self.maps[i] = self._sessions.keep(zeros)
        for i in self.plan.constant_maps:
            values, shape = graph.tensors[i].values(), graph.tensors[i].map_shape
            self.maps[i] = self._sessions.keep(values.reshape((1,) * (4 - len(shape)) + shape))
        for step in self.plan.steps:
            if isinstance(step, View):
                shape = graph.tensors[step.output].map_shape
                self.maps[step.output] = self.maps[step.source].reshape(shape)

    def read(self, i: int) -> np.ndarray:
        """A copy of a stored map."""
        return self._sessions.read(self.maps[i]).copy()

    def set_frame(self, box: Box, values: np.ndarray) -> None:
        """Writes a box of the frame into its stored map.

        Args:
            box: the box.
            values: `(height, width, channels)` of the box, as the graph takes them.
        """
        frame = self.plan.frame
        self.maps[frame] = self._sessions.write(self.maps[frame], box, values[None])

    def set_extras(self, values: Mapping[int, np.ndarray]) -> None:
        """Sets the inputs other than the frame; everything has to be computed after that."""
        self._vectors = dict(values)
        if self._of_extras is not None:
            self._vectors |= self._copies(self._of_extras, self._vectors)

    def compute(self, work: Work, *, must: str | None = None) -> str:
        """Computes what there is to do, or everything where that is faster.

        The stored map of the frame has its new values already.

        Args:
            work: from `follow`.
            must: how it is computed; `None` to choose what is faster.

        Returns:
            `"boxes"`, `"runs"` (everything, run by run) or `"file"` (everything, in one).
        """
        full_cost = self.everything.cost
        must = must or self._passes.choose(work.cost, full_cost)
        start = time.perf_counter()
        warm = True
        if must == FILE:
            warm = self._compute_file()
        else:
            self._compute_boxes(self.everything if must == RUNS else work)
        self._passes.took(must, time.perf_counter() - start, work.cost, full_cost, warm)
        if self._passes.drops_file:
            self._whole_file = None
        return must

    def _compute_boxes(self, work: Work) -> None:
        for step, boxes in zip(self._steps, work.boxes, strict=True):
            if isinstance(step, CropSession):
                for box in boxes:
                    step.compute(box, self.maps, self._vectors)
            elif isinstance(step, WholeSession) and boxes:
                for i, made in step.compute(self.maps):
                    for top, left, bottom, right in boxes:
                        part = made[:, top:bottom, left:right]
                        box = top, left, bottom, right
                        self.maps[i] = self._sessions.write(self.maps[i], box, part)
        if work.dense and self._dense is not None:
            self._values = self._copies(self._dense, self.maps | self._vectors)

    def _compute_file(self) -> bool:
        """Runs the whole file with the stored maps as outputs; whether it was loaded before."""
        plan, warm = self.plan, self._whole_file is not None
        if self._whole_file is None:
            made = [i for i in plan.stored if i != plan.frame]
            values = plan.dense.outputs if plan.dense else ()
            run = WholeRun(
                operations=tuple(range(len(plan.graph.operations))),
                inputs=tuple(plan.graph.inputs),
                outputs=(*made, *values),
                macs=plan.macs,
            )
            self._whole_file = self._sessions.whole(plan, run)
        for i, value in self._whole_file.compute(self.maps | self._vectors):
            if i in self.maps:
                shape = plan.graph.tensors[i].map_shape
                whole = 0, 0, shape[1], shape[2]
                self.maps[i] = self._sessions.write(self.maps[i], whole, value.reshape(shape))
            else:
                self._values[i] = self._sessions.read(value).copy()
        return warm

    def _copies(self, session: WholeSession, values: Mapping[int, Any]) -> dict[int, np.ndarray]:
        """Copies of the outputs of a run on whole maps."""
        return {i: self._sessions.read(x).copy() for i, x in session.compute(values)}


def _through(step: View, boxes: Sequence[Box], plan: Plan) -> list[Box]:
    rows, cols = plan.graph.tensors[step.output].grid
    found = []
    for top, left, bottom, right in boxes:
        top, bottom = step.rows.outputs(top, bottom, rows)
        left, right = step.cols.outputs(left, right, cols)
        found.append((top, left, bottom, right))
    return found
