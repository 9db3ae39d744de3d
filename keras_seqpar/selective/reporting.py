"""How much a stream of a network can save, found by counting, without running it."""

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np

from keras_seqpar.selective.network import Network
from keras_seqpar.selective.planning.boxes import Box, to_map
from keras_seqpar.selective.planning.engine import Engine
from keras_seqpar.selective.planning.plan import CropRun, View
from keras_seqpar.selective.streams import open_network

if TYPE_CHECKING:
    import keras

SHARES = (0.01, 0.05, 0.10, 0.25)


@dataclasses.dataclass(frozen=True)
class RunReport:
    """A piece of a network, between maps that are stored.

    Args:
        operations: names of its operations, in order.
        grid: `(rows, columns)` of its outputs; `None` for what is computed whole.
        receptive_field: `(rows, columns)` of the frame that an output in the middle depends on.
        shares: for each share of the frame that changes, the share of its outputs to compute.
        macs: multiply-accumulates of all its outputs.
        whole: it runs on whole maps, whatever changed.

    Example:

    >>> first = report("pets.tflite").runs[0]
    >>> first.operations, first.receptive_field
    (('MUL', 'ADD'), (1, 1))
    """

    operations: tuple[str, ...]
    grid: tuple[int, int] | None
    receptive_field: tuple[int, int]
    shares: tuple[float, ...]
    macs: int
    whole: bool


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of `report`; `print` shows it as a table.

    Args:
        name: of the network.
        input_shape: `(height, width, channels)` of a frame.
        shares: shares of the frame's area that change, each as one square in the middle.
        bounds: for each share, the multiply-accumulates of a dense pass divided by those that a
            stream computes. Counted, not measured.
        expected: the same, where copying maps and starting runs count like the
            multiply-accumulates that take as long: the speed-up to expect, about.
        macs: multiply-accumulates of a dense pass.
        runs: the runs in order; the last one may be the part that is computed whole.
        barriers: operation -> why it, and all that reads its result, is computed whole.
        memory: bytes that a stream takes, about.
        state_bytes: of them, the maps that are kept from frame to frame.

    Example:

    >>> counted = report("pets.tflite", shares=[0.01])
    >>> counted.input_shape, counted.bounds[0] > 1
    ((32, 32, 3), True)
    """

    name: str
    input_shape: tuple[int, ...]
    shares: tuple[float, ...]
    bounds: tuple[float, ...]
    expected: tuple[float, ...]
    macs: int
    runs: tuple[RunReport, ...]
    barriers: dict[str, str]
    memory: int
    state_bytes: int

    def __str__(self) -> str:
        size = "x".join(map(str, self.input_shape))
        head = f"{'run':<44} {'size':>9} {'reads':>9} {'MACs':>9} " + " ".join(
            f"{share:>7.1%}" for share in self.shares
        )
        lines = [
            f"{self.name} at {size}; columns: share of outputs computed when this share of the "
            "frame changes",
            head,
            "-" * len(head),
        ]
        for run in self.runs:
            names = ", ".join(dict.fromkeys(run.operations))
            names = names if len(names) <= 44 else names[:41] + "..."
            grid = "x".join(map(str, run.grid)) if run.grid else "-"
            reads = "x".join(map(str, run.receptive_field))
            shares = " ".join(f"{share:>7.1%}" for share in run.shares)
            note = "  whole" if run.whole else ""
            lines.append(f"{names:<44} {grid:>9} {reads:>9} {run.macs / 1e6:>8.1f}M {shares}{note}")
        lines.append("-" * len(head))
        for text, factors in (
            ("fewer multiply-accumulates by (counted)", self.bounds),
            ("faster by, about (estimated, not measured)", self.expected),
        ):
            shown = " ".join(f"{factor:>6.2f}x" for factor in factors)
            lines.append(f"{text:<74} {shown}")
        lines.append(
            f"Dense: {self.macs / 1e9:.3f} G multiply-accumulates; a stream takes about "
            f"{self.memory / 1e6:.1f} MB, {self.state_bytes / 1e6:.1f} MB of them maps."
        )
        for name, why in self.barriers.items():
            lines.append(f"Computed whole from {name!r} on: {why}.")
        return "\n".join(lines)


def report(
    network: Union[str, os.PathLike, "keras.Model"],
    shares: Sequence[float] = SHARES,
    *,
    input_shape: Sequence[int] | None = None,
    signature: str | None = None,
) -> Report:
    """Tells how much a stream of a network can save at most; nothing is run.

    `bounds` are counted: the multiply-accumulates of a dense pass, divided by those that are
    necessary when one square in the middle of the frame changes. Time follows them closely where
    convolutions are large. `expected` also counts the bytes that are copied and the runs that are
    started, with costs of a usual CPU; only a benchmark on the machine tells more. A change at the
    border affects fewer outputs, several small changes affect more.

    Args:
        network: as for `stream`; a Keras model is converted as `stream` does it.
        shares: shares of the frame's area that change, above 0 and up to 1.
        input_shape: `(height, width, channels)`, for a Keras model that leaves sizes open.
        signature: of a file with several signatures, the one to read; by default the first.

    Returns:
        The report; `print` it.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: `network` is neither a path nor a Keras model.
        ValueError: the network cannot be run as a stream, or a share is out of range.
        ImportError: no interpreter is installed.

    Example:

    >>> print(report("pets.tflite"))
    """
    given = np.asarray(shares)
    are_numbers = given.dtype.kind in "fiu" and given.ndim == 1 and given.size > 0
    if not are_numbers or not ((given > 0) & (given <= 1)).all():
        raise ValueError(f"shares must be numbers above 0 and up to 1, got {shares!r}.")
    shares = tuple(given.astype("float64").tolist())
    opened = open_network(network, input_shape=input_shape, signature=signature)
    is_file = isinstance(network, (str, os.PathLike))
    name = Path(network).name if is_file else network.name  # type: ignore[union-attr]
    with opened.engine.plan.graph.refusing_damage():
        return _report(opened, name, shares)


def _report(network: Network, name: str, shares: tuple[float, ...]) -> Report:
    engine, plan = network.engine, network.engine.plan
    graph, shape = plan.graph, network.inputs.shape
    work = [engine.follow([_square(shape[:2], share)]) for share in shares]
    rows, cols = (_receptive_fields(engine, shape[:2], axis) for axis in (0, 1))
    runs = []
    for i, step in enumerate(plan.steps):
        if isinstance(step, View):
            continue
        grid, is_crop = graph.tensors[step.outputs[0]].grid, isinstance(step, CropRun)
        runs.append(
            RunReport(
                operations=tuple(graph.operations[n].name for n in step.operations),
                grid=grid,
                receptive_field=(int(rows[i]), int(cols[i])),
                shares=tuple(float(to_map(x.boxes[i], grid).mean()) for x in work),
                macs=step.macs * (math.prod(grid) if is_crop else 1),
                whole=not is_crop,
            )
        )
    if plan.dense is not None:
        names = tuple(graph.operations[n].name for n in plan.dense.operations)
        of_work = tuple(float(x.dense) for x in work)
        runs.append(RunReport(names, None, shape[:2], of_work, plan.dense.macs, True))
    dense_cost = engine.everything.cost - engine.starts
    # A frame of which boxes cost more is computed whole, in one run.
    full_cost = dense_cost + engine.starts / max(1, len(runs))
    return Report(
        name=name,
        input_shape=shape,
        shares=shares,
        bounds=tuple(plan.macs / x.macs if x.macs else math.inf for x in work),
        expected=tuple(dense_cost / min(x.cost, full_cost) if x.cost else math.inf for x in work),
        macs=plan.macs,
        runs=tuple(runs),
        barriers=dict(plan.barriers),
        memory=network.memory,
        state_bytes=engine.state_bytes + graph.tensors[plan.frame].nbytes,
    )


def _square(shape: Sequence[int], share: float) -> Box:
    """A square in the middle of the frame; as long as the frame where it is too wide for it."""
    area_ = share * shape[0] * shape[1]
    height = min(shape[0], max(1, round(area_**0.5)))
    width = min(shape[1], max(1, round(area_ / height)))
    height = min(shape[0], max(1, round(area_ / width)))
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return top, left, top + height, left + width


def _receptive_fields(engine: Engine, shape: Sequence[int], axis: int) -> np.ndarray:
    """For every step, the rows (or columns) of the frame that its middle output depends on."""
    tensors, steps = engine.plan.graph.tensors, engine.plan.steps
    middles = [tensors[x.outputs[0]].grid[axis] // 2 for x in steps]
    found = np.zeros(len(steps), int)
    for i in range(shape[axis]):
        box = (i, 0, i + 1, shape[1]) if axis == 0 else (0, i, shape[0], i + 1)
        boxes = engine.follow([box]).boxes
        found += [
            any(x[axis] <= middle < x[axis + 2] for x in of_step)
            for of_step, middle in zip(boxes, middles, strict=True)
        ]
    return found
