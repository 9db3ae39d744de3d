"""The named plans of SeqPar networks, as data: where to split, and how wide branches are.

A plan gives the trunk as the repeats of the family's first stages, then for each
split-point the stages that a branch runs below it. A category that hangs at a shallower
level than others runs the remaining levels itself, so that all logits come from the same
number of stages.

Only the totals of the late split are published in a readable form (design reconstructed
from arXiv 2308.05128, tables 2 to 4): `late_sp` gives 19,986,506 parameters for 10
categories and 14,264,901 for 5 of them, to the digit. The widths of the other variants are
this package's own.
"""

import dataclasses

from keras_seqpar.hierarchy import unknown_name
from keras_seqpar.resnet import FAMILIES
from keras_seqpar.stages import Stage


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where a family's network splits and what its branches are made of.

    Args:
        trunk: how many blocks of each of the family's first stages form the trunk;
            `None` stands for all blocks of a stage.
        levels: for each split-point, the stages of a branch below it.
    """

    trunk: tuple[int | None, ...]
    levels: tuple[tuple[Stage, ...], ...]


_PHL = {
    "late_sp": Plan(
        trunk=(None, None, None),
        levels=((Stage(96, 3, stride=2, hidden=64), Stage(512, 3, hidden=128)),),
    ),
}


def get_family(name: str):
    """Returns a family by name.

    Raises:
        ValueError: unknown; the message lists the valid ones.
    """
    if name not in FAMILIES:
        raise ValueError(unknown_name("family", name, FAMILIES))
    return FAMILIES[name]


def get_plan(variant: "str | Plan") -> Plan:
    """Returns a plan by name; a `Plan` is returned as it is.

    Raises:
        ValueError: unknown; the message lists the valid ones.
    """
    if isinstance(variant, Plan):
        return variant
    if variant not in _PHL:
        raise ValueError(unknown_name("variant", variant, _PHL))
    return _PHL[variant]
