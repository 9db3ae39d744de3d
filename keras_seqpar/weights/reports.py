"""What a function that fills networks reports."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Filled:
    """Which weights were filled, and from where; `print` shows it in sentences.

    Args:
        source: where the weights came from.
        names: the weights that were filled, as `layer/weight`.
        kept: the weights of the model that were left as they are: branches or a classifier that
            the source does not have, and those in `unfilled`.
        ignored: the weights of the source that were not used, in its own names: later stages,
            other branches, a classifier.
        notes: facts about the source, for example its license.
        unfilled: only with `partial=True`: the weights of the trunk (of a plain network: of the
            whole network) that the source does not have, or has with another shape or function.
            They are part of `kept`.

    Example:

    >>> filled = from_network(add_category(pets, "bus"), model)
    >>> all(name.startswith("bus_") for name in filled.kept)
    True
    """

    source: str
    names: tuple[str, ...]
    kept: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unfilled: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"Filled {len(self.names)} weights from {self.source}."]
        if self.unfilled:
            lines.append(
                f"{len(self.unfilled)} weights do NOT fit and keep their values: "
                f"{_some(self.unfilled, 20)}."
            )
        if rest := tuple(key for key in self.kept if key not in set(self.unfilled)):
            lines.append(f"Left as they are: {_some(rest)}.")
        if self.ignored:
            lines.append(f"Not needed from the source: {_some(self.ignored)}.")
        return "\n  ".join([*lines, *self.notes])


def _some(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
