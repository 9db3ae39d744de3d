"""How much memory a stream of a file takes, before anything is allocated."""

import math

from keras_seqpar.selective.litert_engine.content import shape_of_crop
from keras_seqpar.selective.litert_engine.sessions import BAND
from keras_seqpar.selective.planning.plan import CropRun, Plan, View

PACKED = 1.35  # size of weights as kernels read them, of their size in the file
WORK = 0.7  # memory that the file works with, of its stored maps
CROPS = 1.5  # memory of the interpreters for crops, of their inputs and outputs
BASE = 20e6  # the interpreter itself


def memory_of(plan: Plan) -> int:
    """Bytes that a stream takes, about: measured ones are within 10 % of it.

    Weights are in memory twice as bytes (the file with the stored maps as outputs, the files of the
    runs) and twice as the kernels of these two read them. The stored maps are there once. With a
    plain pass, which scenes need that change everywhere, it is a third more.
    """
    tensors = plan.graph.tensors
    weights, maps = _weights_and_maps(plan)
    inside = 0.0
    for step in plan.steps:
        if isinstance(step, View) or (isinstance(step, CropRun) and step.copies):
            continue
        made = sum(tensors[i].nbytes for i in step.outputs)
        if isinstance(step, CropRun):
            read = sum(
                math.prod(shape_of_crop(plan, x, step.grid)) * tensors[x.reader].dtype.itemsize
                for x in step.sources
            )
            inside += read + made if step.grown else min(read + made, BAND)
        else:
            inside += made + sum(tensors[i].nbytes for i in step.inputs)
    return int((2 + 2 * PACKED) * weights + (1 + WORK) * maps + CROPS * inside + BASE)


def check_limit(who: str, needed: int, limit: int | None) -> None:
    """Checks that a stream stays within a limit.

    Args:
        who: how messages call the network.
        needed: bytes that it takes, about.
        limit: bytes; `None` for none.

    Raises:
        TypeError: the limit is no whole number.
        ValueError: the stream needs more.
    """
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"memory_limit must be a whole number of bytes, got {limit!r}.")
    if needed > limit:
        raise ValueError(
            f"A stream of {who} takes about {needed / 1e6:,.1f} MB, more than "
            f"memory_limit={limit / 1e6:,.1f} MB. Take a network for smaller frames, or run it "
            "without a stream."
        )


def check_memory(plan: Plan, limit: int | None) -> bool:
    """Checks that a stream of a file stays within a limit, as `check_limit` does.

    Returns:
        Whether plain passes fit as well; see `planning.passes`.
    """
    needed = memory_of(plan)
    check_limit(plan.graph.name, needed, limit)
    return limit is None or needed + _of_plain_passes(plan) <= limit


def _of_plain_passes(plan: Plan) -> int:
    """Bytes that the file as it is takes besides: its weights, and at most all of its maps."""
    weights, maps = _weights_and_maps(plan)
    return int((1 + PACKED) * weights) + maps


def _weights_and_maps(plan: Plan) -> tuple[int, int]:
    """Bytes of the weights as the file holds them, and of the stored maps."""
    tensors = plan.graph.tensors
    weights = sum(len(x.data) for x in tensors if x.data is not None)
    return weights, sum(tensors[i].nbytes for i in plan.stored)
