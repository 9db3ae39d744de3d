"""How much memory a stream of a file takes, before anything is allocated."""

import math

from keras_seqpar.selective.litert_engine.content import shape_of_crop
from keras_seqpar.selective.planning.plan import CropRun, Plan, View


def memory_of(plan: Plan) -> int:
    """Bytes that a stream takes, about: stored maps, weights, and the interpreters' own copies.

    Interpreters keep each weight twice, as it is in the file and as their kernels read it.
    """
    tensors = plan.graph.tensors
    weights = sum(len(x.data) for x in tensors if x.data is not None)
    maps = sum(tensors[i].nbytes for i in plan.stored)
    inside = 0
    for step in plan.steps:
        if isinstance(step, View) or (isinstance(step, CropRun) and step.copies):
            continue
        if isinstance(step, CropRun):
            inside += sum(
                math.prod(shape_of_crop(plan, x, step.grid)) * tensors[x.reader].dtype.itemsize
                for x in step.sources
            )
        else:
            inside += sum(tensors[i].nbytes for i in step.inputs)
        inside += sum(tensors[i].nbytes for i in step.outputs)
    return 2 * weights + maps + inside


def check_memory(plan: Plan, limit: int | None) -> bool:
    """Checks that a stream stays within a limit.

    Args:
        plan: the plan of the file.
        limit: bytes; `None` for none.

    Returns:
        Whether the file may be loaded as a whole as well.

    Raises:
        TypeError: the limit is no whole number.
        ValueError: the stream needs more.
    """
    if limit is None:
        return True
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"memory_limit must be a whole number of bytes, got {limit!r}.")
    needed = memory_of(plan)
    if needed > limit:
        raise ValueError(
            f"A stream of {plan.graph.name} takes about {needed / 1e6:,.1f} MB, more than "
            f"memory_limit={limit / 1e6:,.1f} MB. Convert the network for smaller frames, or run "
            "the file without a stream."
        )
    tensors = plan.graph.tensors
    file = 2 * sum(len(x.data) for x in tensors if x.data is not None)
    return needed + file + sum(tensors[i].nbytes for i in plan.stored) <= limit
