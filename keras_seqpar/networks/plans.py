"""The named plans of SeqPar networks, as data: where to split, and how wide branches are.

A plan gives the trunk as the repeats of the family's first stages, then for each
split-point the stages that a branch runs below it. A category that hangs at a shallower
level than others runs the remaining levels itself, so that all logits come from the same
number of stages.

Published in a readable form are only the totals of the late split (arXiv 2308.05128,
tables 2 to 4): `late_sp` on ResNet-50 gives 19,986,506 parameters for 10 categories and
14,264,901 for 5 of them, to the digit. All other widths are this package's own, chosen to
stay at or under the published totals:

- `late_sp`: splits after the third stage.
- `small`: the same split, branches of a quarter to a third of the parameters.
- `big`: the same split; 10 branches and the trunk have as many parameters as ResNet-50.
- `early`: splits after the second stage (PHL on basic blocks: after its first block), so that
  a cutout saves MACs as well: on ResNet-50 and ResNet-18, 5 of 10 categories need less than
  60 % of the plain network's parameters and MACs.

Plans of ConvNeXt V2 are written for `tiny` and scale with the family's first stage.
"""

import dataclasses

from keras_seqpar.families import convnext_v2, resnet
from keras_seqpar.families.base import Stage
from keras_seqpar.utils.names import unknown_name

FAMILIES = {**resnet.FAMILIES, **convnext_v2.FAMILIES}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where a family's network splits and what its branches are made of.

    Args:
        trunk: how many blocks of each of the family's first stages form the trunk;
            `None` stands for all blocks of a stage.
        levels: for each split-point, the stages of a branch below it.

    Raises:
        ValueError: no trunk stage, no level, a level without stages, or a stage whose blocks
            do not repeat at least once.
    """

    trunk: tuple[int | None, ...]
    levels: tuple[tuple[Stage, ...], ...]

    def __post_init__(self):
        if not self.trunk or not self.levels or not all(self.levels):
            raise ValueError(
                "A plan needs at least one trunk stage, one level, and one stage in each level, "
                f"got trunk={self.trunk}, levels={self.levels}."
            )
        below = [stage.repeats for level in self.levels for stage in level]
        for repeats in (*(n for n in self.trunk if n is not None), *below):
            if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
                raise ValueError(
                    "The repeats in a plan's trunk and levels must be whole numbers of 1 or more "
                    f"(None in the trunk for all of a stage), got {repeats!r}."
                )


_LATE = (None, None, None)
_MIDDLE = (None, None, 1)
_EARLY = (None, None)

# kind of block -> name -> plans with 1, 2, ... split-points
PLANS: dict[str, dict[str, tuple[Plan, ...]]] = {
    "bottleneck": {
        "late_sp": (
            Plan(_LATE, ((Stage(96, 3, 2, hidden=64), Stage(512, 3, hidden=128)),)),
            Plan(_LATE, ((Stage(96, 2, 2, hidden=64),), (Stage(256, 3, hidden=48),))),
            Plan(
                _LATE,
                (
                    (Stage(96, 1, 2, hidden=64),),
                    (Stage(96, 2, hidden=48),),
                    (Stage(256, 2, hidden=48),),
                ),
            ),
            Plan(
                _LATE,
                (
                    (Stage(96, 1, 2, hidden=64),),
                    (Stage(96, 1, hidden=48),),
                    (Stage(96, 1, hidden=48),),
                    (Stage(256, 2, hidden=48),),
                ),
            ),
        ),
        "small": (Plan(_LATE, ((Stage(96, 2, 2, hidden=32), Stage(384, 2, hidden=64)),)),),
        "big": (Plan(_LATE, ((Stage(96, 3, 2, hidden=80), Stage(512, 3, hidden=144)),)),),
        "early": (
            Plan(_EARLY, ((Stage(192, 2, 2, hidden=48), Stage(384, 2, 2, hidden=96)),)),
            Plan(
                _MIDDLE,
                (
                    (Stage(96, 1, hidden=64),),
                    (Stage(96, 1, hidden=48), Stage(256, 2, 2, hidden=64)),
                ),
            ),
            Plan(
                _MIDDLE,
                (
                    (Stage(96, 1, hidden=64),),
                    (Stage(96, 1, hidden=48),),
                    (Stage(96, 1, hidden=48), Stage(256, 2, 2, hidden=64)),
                ),
            ),
            Plan(
                _MIDDLE,
                (
                    (Stage(96, 1, hidden=64),),
                    (Stage(96, 1, hidden=48),),
                    (Stage(96, 1, hidden=48),),
                    (Stage(96, 1, hidden=48), Stage(256, 2, 2, hidden=64)),
                ),
            ),
        ),
    },
    "convnext_v2": {
        "late_sp": (
            Plan(_LATE, ((Stage(96, 3, 2),),)),
            Plan(_LATE, ((Stage(96, 1, 2),), (Stage(96, 1),))),
            Plan(_LATE, ((Stage(96, 1, 2),), (Stage(96, 1),), (Stage(96, 1),))),
            Plan(_LATE, ((Stage(96, 1, 2),), (Stage(96, 1),), (Stage(96, 1),), (Stage(96, 1),))),
        ),
        "small": (Plan(_LATE, ((Stage(64, 2, 2),),)),),
        "big": (Plan(_LATE, ((Stage(192, 3, 2),),)),),
        "early": (
            Plan(_EARLY, ((Stage(96, 2, 2), Stage(192, 1, 2)),)),
            Plan(_EARLY, ((Stage(96, 2, 2),), (Stage(192, 1, 2),))),
            Plan(_EARLY, ((Stage(96, 1, 2),), (Stage(96, 1),), (Stage(192, 1, 2),))),
            Plan(
                _EARLY,
                ((Stage(96, 1, 2),), (Stage(96, 1),), (Stage(192, 1, 2),), (Stage(192, 1),)),
            ),
        ),
    },
    "basic": {
        "late_sp": (
            Plan(_LATE, ((Stage(64, 1, 2), Stage(128, 1)),)),
            Plan(_LATE, ((Stage(64, 1, 2),), (Stage(96, 1),))),
            Plan(_LATE, ((Stage(64, 1, 2),), (Stage(64, 1),), (Stage(96, 1),))),
            Plan(_LATE, ((Stage(64, 1, 2),), (Stage(64, 1),), (Stage(64, 1),), (Stage(96, 1),))),
        ),
        "small": (Plan(_LATE, ((Stage(32, 1, 2), Stage(64, 1)),)),),
        "big": (Plan(_LATE, ((Stage(80, 2, 2), Stage(144, 1)),)),),
        "early": (
            Plan((None, 1), ((Stage(80, 1, 2), Stage(192, 1, 2)),)),
            Plan(_EARLY, ((Stage(48, 1, 2),), (Stage(96, 1, 2),))),
            Plan(_EARLY, ((Stage(48, 1, 2),), (Stage(64, 1),), (Stage(96, 1, 2),))),
            Plan(
                _EARLY, ((Stage(48, 1, 2),), (Stage(48, 1),), (Stage(64, 1, 2),), (Stage(96, 1),))
            ),
        ),
    },
}


def get_family(name: str):
    """Returns a family by name.

    Raises:
        ValueError: unknown; the message lists the valid ones.
    """
    if name not in FAMILIES:
        raise ValueError(unknown_name("family", name, FAMILIES))
    return FAMILIES[name]


def get_plan(plan: str | Plan, family, *, split_points: int) -> Plan:
    """Returns a plan for a family.

    Args:
        plan: name of the plan; a `Plan` is returned as it is.
        family: a family from `get_family`.
        split_points: the number of levels wanted.

    Returns:
        The plan, its widths scaled to the family.

    Raises:
        ValueError: unknown, or not there with so many split-points (the message lists the
            valid ones), or a `Plan` that does not fit the family.
    """
    if isinstance(plan, Plan):
        if len(plan.trunk) > len(family.stages):
            raise ValueError(
                f"The plan's trunk has {len(plan.trunk)} stages, but the family has "
                f"{len(family.stages)}; got trunk={plan.trunk}."
            )
        if family.kind == "bottleneck" and not all(s.hidden for x in plan.levels for s in x):
            raise ValueError(
                "A family of bottleneck blocks needs stages with hidden channels, got "
                f"levels={plan.levels}. Give every Stage a `hidden` above 0."
            )
        return plan
    plans = PLANS[family.kind]
    if plan not in plans:
        raise ValueError(unknown_name("plan", plan, plans))
    if not 1 <= split_points <= len(plans[plan]):
        fitting = [name for name, of_name in plans.items() if split_points <= len(of_name)]
        hint = (
            f"Plans with {split_points}: {', '.join(fitting)}."
            if fitting
            else (f"At most {max(map(len, plans.values()))} are planned.")
        )
        raise ValueError(
            f"The plan {plan!r} is not available with {split_points} split-points. {hint} "
            "Or give a keras_seqpar.networks.plans.Plan of your own."
        )
    found = plans[plan][split_points - 1]
    levels = tuple(tuple(stage.scaled(family.scale) for stage in level) for level in found.levels)
    return Plan(found.trunk, levels)
