"""Checks what a .tflite file says about its network. Standard library only."""

import math
from collections.abc import Mapping


def check_facts(about: Mapping) -> None:
    """Checks those facts of a description that programs compute with.

    Args:
        about: the description of a file, as `convert` wrote it.

    Raises:
        ValueError: a fact is of a kind that `convert` does not write.
    """
    for key in ("network", "quantization", "node", "label", "takes", "activation", "quantizer"):
        value = about.get(key)
        if value is not None and not isinstance(value, str):
            raise ValueError(_wrong(key, value, "text"))
    if ("mean" in about) != ("std" in about):
        raise ValueError("its description has only one of mean and std")
    for key in ("mean", "std"):
        value = about.get(key, [1])
        if not isinstance(value, list) or not value or not all(map(is_number, value)):
            raise ValueError(_wrong(key, value, "a list of finite numbers"))
    if not all(about.get("std", [1])):
        raise ValueError(_wrong("std", about["std"], "above 0"))
    limit = about.get("max_gain", 1)
    if not is_number(limit) or limit < 1:
        raise ValueError(_wrong("max_gain", limit, "a number of 1 or more"))


def is_number(value) -> bool:
    """Whether a value is a finite number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # 10**400
        return False


def _wrong(key: str, value, wanted: str) -> str:
    return f"its description gives {key!r} as {value!r:.80}, which should be {wanted}"
