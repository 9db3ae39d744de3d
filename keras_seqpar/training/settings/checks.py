"""Flags that contradict each other, or have no effect beside others: they are refused."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

Values = Mapping[str, Any]

# Flags of a training; when they have no effect; why, and what to do.
_UNUSED: tuple[tuple[tuple[str, ...], Callable[[Values], Any], str], ...] = (
    (
        ("distillation", "temperature"),
        lambda values: not values["teacher"],
        "there is no --teacher. Give --teacher FILE.keras, too",
    ),
    (
        ("teacher",),
        lambda values: not values["distillation"],
        "--distillation is 0. Give --distillation above 0",
    ),
    (
        ("frozen_views", "frozen_rate", "frozen_memory", "features_dir"),
        lambda values: not values["frozen_epochs"],
        "--frozen_epochs is 0. Give --frozen_epochs above 0",
    ),
    (
        ("frozen_memory", "features_dir"),
        lambda values: not values["frozen_views"],
        "--frozen_views 0 keeps no features. Give --frozen_views above 0",
    ),
    (
        ("learning_rate",),
        lambda values: not values["epochs"],
        "--epochs is 0. Give --epochs above 0, or --frozen_rate for --frozen_epochs",
    ),
    (
        ("trunk_rate",),
        lambda values: not values["epochs"] and not values["frozen_end"],
        "the whole trunk stays frozen: --epochs is 0. Give --epochs above 0, or --frozen_end",
    ),
    (
        ("mixup", "cutmix"),
        lambda values: not values["epochs"] and values["frozen_views"],
        "--epochs is 0, and features that are kept are not mixed. Give --frozen_views 0, or "
        "--epochs above 0",
    ),
    (
        ("partial_init",),
        lambda values: not values["init"] or values["init"].startswith("plain:"),
        "it says how --init NAME fills weights. Give --init, not of plain:FILE.keras",
    ),
    (
        ("plan",),
        lambda values: values["network"] == "plain",
        "--network plain has no branches. Give another --network",
    ),
    (
        ("data_dir",),
        lambda values: values["dataset"].startswith(("digits", "folder:", "archive:")),
        "it is for sets of tensorflow-datasets and imagenet. Give --dataset tfds:NAME",
    ),
)


def check_used(values: Values, given: Collection[str]) -> None:
    """Refuses flags of a training that would have no effect.

    Args:
        values: all flags by name.
        given: names of the flags on the command line.

    Raises:
        ValueError: a flag has no effect; the message says beside which, and what to do.
    """
    for names, is_unused, why in _UNUSED:
        for name in names:
            if name in given and values[name] and is_unused(values):
                value = "" if values[name] is True else f" {values[name]}"
                raise ValueError(
                    f"--{name}{value} would have no effect: {why}, or leave out --{name}."
                )


def check_resume(values: Values) -> None:
    """Refuses to resume a run that is to be replaced, too, or that has no name.

    Raises:
        ValueError: --resume stands beside --overwrite, or without --output.
    """
    if values["resume"] and values["overwrite"]:
        raise ValueError("--resume continues a run, --overwrite replaces it: give one of them.")
    if values["resume"] and not values["output"]:
        raise ValueError("Say which run to resume: --resume --output FOLDER.")


def check_alone(name: str, others: Collection[str]) -> None:
    """Refuses flags of a training beside one that trains nothing.

    Args:
        name: of the flag that trains nothing.
        others: names of the flags of a training that were given.

    Raises:
        ValueError: there are any.
    """
    if others:
        listed = ", ".join(f"--{other}" for other in sorted(others))
        raise ValueError(f"--{name} trains nothing, so leave out --{name} or {listed}.")
