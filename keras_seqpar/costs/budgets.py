"""Which categories fit into so many bytes, MACs, parameters or milliseconds."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import keras

from keras_seqpar.costs.counting import cost, short_number
from keras_seqpar.costs.latency import measure_latency
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.cutout import cutout
from keras_seqpar.utils.names import unknown_name
from keras_seqpar.utils.output import printable


@dataclasses.dataclass(frozen=True)
class BudgetFit:
    """Which categories fit into a budget.

    Args:
        kept: labels of the categories that fit, most important first.
        dropped: labels of all other categories.
        used: unit -> what the kept categories need.
        budget: unit -> limit.

    Example:

    >>> fit = fit_budget(model, {"params": 60e3}, prefer=["dog", "cat"])
    >>> fit.kept, fit.dropped
    (('dog', 'cat'), ('car',))
    """

    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    used: Mapping[str, float]
    budget: Mapping[str, float]

    def __str__(self) -> str:
        limits = [
            f"{unit}: {short_number(self.used[unit])} of {short_number(most)}"
            for unit, most in self.budget.items()
        ]
        kept, dropped = ", ".join(self.kept), ", ".join(self.dropped) or "nothing"
        names = f"keeps {len(self.kept)}: {kept}\ndrops: {dropped}\n"
        return printable(names + "\n".join(limits))


def fit_budget(
    model: keras.Model,
    budget: Mapping[str, float],
    *,
    prefer: Sequence[str] | None = None,
    latency: Callable[[keras.Model], float] | None = None,
) -> BudgetFit:
    """Finds which categories fit into so many bytes, MACs, parameters or milliseconds.

    Categories are tried in order of importance. One that does not fit is dropped, and the next
    one is tried. A category is cheaper when the branch of its superclass is already kept.

    Args:
        model: a SeqPar network.
        budget: limits by unit: `"bytes"` (float32 weights), `"macs"`, `"params"`, `"ms"`.
        prefer: candidates, most important first; by default all, in the network's order.
        latency: measures a network in milliseconds, for `"ms"`; by default
            `keras_seqpar.costs.measure_latency`. It measures the full network and the cutout
            of the first candidate; all other cutouts are estimated from these two by a
            straight line over their MACs.

    Returns:
        The kept and dropped categories; `cutout(model, fit.kept)` builds the network.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: `model` is no SeqPar network, a unit or category is unknown, a limit is not
            above 0, or not even one category fits.

    Example:

    >>> fit = fit_budget(model, {"bytes": 250e3, "macs": 7e6}, prefer=["dog", "cat", "car"])
    >>> cutout(model, fit.kept).output_shape
    (None, 2)
    """
    parts = find_parts(model)
    units = ("bytes", "macs", "params", "ms")
    for unit, most in budget.items():
        if unit not in units:
            raise ValueError(unknown_name("budget unit", unit, units))
        if not most > 0:
            raise ValueError(f"The budget of {unit!r} must be above 0, got {most}.")
    if not budget:
        raise ValueError(f"Give at least one limit. Units: {', '.join(units)}.")
    by_id = {node.id: node for node in cost(model).nodes}
    candidates = parts.hierarchy.select(prefer or parts.hierarchy.categories)

    def used(ids: Sequence[str]) -> dict[str, float]:
        nodes = ["trunk", *(node.id for node in parts.hierarchy.subtree(ids).nodes)]
        sums = {unit: float(sum(getattr(by_id[id_], unit) for id_ in nodes)) for unit in units[:3]}
        return {**sums, "ms": line(sums["macs"])} if "ms" in budget else sums

    if "ms" in budget:
        line = _latency_line(
            model, parts.hierarchy.node(candidates[0]).label, latency or measure_latency
        )
    kept: list[str] = []
    for id_ in candidates:
        needs = used([*kept, id_])
        if all(needs[unit] <= most for unit, most in budget.items()):
            kept.append(id_)
    if not kept:
        needs = used(candidates[:1])
        raise ValueError(
            "Not even one category fits: the trunk and "
            f"{parts.hierarchy.node(candidates[0]).label!r} need "
            + ", ".join(f"{unit}: {short_number(needs[unit])}" for unit in budget)
            + ". Raise the budget, or take a narrower or earlier-splitting network."
        )
    label = {id_: parts.hierarchy.node(id_).label for id_ in parts.hierarchy.category_ids}
    return BudgetFit(
        kept=tuple(label[id_] for id_ in kept),
        dropped=tuple(label[id_] for id_ in parts.hierarchy.category_ids if id_ not in kept),
        used={unit: used(kept)[unit] for unit in budget},
        budget=dict(budget),
    )


def _latency_line(model, first: str, latency) -> Callable[[float], float]:
    """Estimates milliseconds from MACs, by a line through one category and the full network."""
    small = cutout(model, [first])
    x0, x1 = cost(small).macs, cost(model).macs
    y0, y1 = latency(small), latency(model)
    slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
    return lambda macs: y0 + slope * (macs - x0)
