"""The registry of families, and looking up a family and its plans by name.

A plan gives the trunk as the repeats of the family's first stages, then for each split-point the
stages that a branch runs below it. A category that hangs at a shallower level than others runs the
remaining levels itself, so that all logits come from the same number of stages. The named plans
are in the files of the families.
"""

from collections.abc import Mapping

from keras_seqpar.families import convnext_v2, efficientnet_lite, resnet
from keras_seqpar.families.base import Family, Plan
from keras_seqpar.utils.names import unknown_name

# One line per file of families.
FAMILIES: dict[str, Family] = {
    **resnet.FAMILIES,
    **convnext_v2.FAMILIES,
    **efficientnet_lite.FAMILIES,
}
"""Name of a family -> the family.

Example:

>>> "resnet50" in FAMILIES
True
"""


def get_family(name: str) -> Family:
    """Returns a family by name.

    Args:
        name: one of `FAMILIES`.

    Returns:
        The family.

    Raises:
        ValueError: unknown; the message lists the valid ones.

    Example:

    >>> get_family("resnet18").stages[0].channels
    64
    """
    if name not in FAMILIES:
        raise ValueError(unknown_name("family", name, FAMILIES))
    return FAMILIES[name]


def get_plan(plan: str | Plan | Mapping | None, family: Family, *, split_points: int) -> Plan:
    """Returns a plan for a family.

    Args:
        plan: name of the plan; or a `Plan`, or its configuration, which is returned as it is.
        family: a family from `get_family`.
        split_points: the number of levels wanted of a named plan.

    Returns:
        The plan, its widths scaled to the family.

    Raises:
        ValueError: unknown, or not there with so many split-points (the message lists the
            valid ones), or a `Plan` that does not fit the family.

    Example:

    >>> get_plan("late_sp", get_family("resnet50"), split_points=1).trunk  # all of three stages
    (None, None, None)
    """
    if isinstance(plan, Mapping):
        plan = Plan.from_config(plan, family.stage_type)
    if isinstance(plan, Plan):
        return _fitting(plan, family)
    plans = family.plans
    if plan is None or plan not in plans:
        raise ValueError(unknown_name("plan", plan, plans))
    if not 1 <= split_points <= len(plans[plan]):
        fitting = [name for name, of_name in plans.items() if split_points <= len(of_name)]
        hint = (
            f"Plans with {split_points}: {', '.join(fitting)}."
            if fitting
            else f"At most {max(map(len, plans.values()))} are planned."
        )
        raise ValueError(
            f"The plan {plan!r} is not available with {split_points} split-points. {hint} "
            "Or give a keras_seqpar.families.base.Plan of your own."
        )
    return plans[plan][split_points - 1]


def _fitting(plan: Plan, family: Family) -> Plan:
    """The plan, if it fits the family."""
    if len(plan.trunk) > len(family.stages):
        raise ValueError(
            f"The plan's trunk has {len(plan.trunk)} stages, but the family has "
            f"{len(family.stages)}; got trunk={plan.trunk}."
        )
    for stage in (stage for level in plan.levels for stage in level):
        if type(stage) is not family.stage_type:
            raise ValueError(
                f"The stages of this family are of the type {family.stage_type.__name__}, got "
                f"{stage}. Give every level of the plan stages of that type."
            )
    return plan
