"""Names: ids made from labels, and the error message for an unknown name."""

import difflib
import re
import unicodedata
from collections.abc import Iterable


def make_id(label: str) -> str:
    """Turns a label into a node id of the form `[a-z][a-z0-9_]*`.

    Letters lose their accents and become lower case, everything else becomes a single
    underscore, and a leading digit is preceded by `c` ("3" becomes `c3`).

    Args:
        label: free text.

    Returns:
        The id.

    Raises:
        TypeError: `label` is no string.
        ValueError: the label has no letter a-z and no digit.

    Example:

    >>> make_id("French horn"), make_id("3")
    ('french_horn', 'c3')
    """
    if not isinstance(label, str):
        raise TypeError(f"A label must be a string, got {label!r} of type {type(label).__name__}.")
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
    if not words:
        raise ValueError(
            f"The label {label!r} cannot become a node id: it has no letter a-z and no digit. "
            "Give the category a label with at least one of them."
        )
    return words if words[0].isalpha() else "c" + words


def unknown_name(kind: str, name, valid: Iterable[str], extra: str = "") -> str:
    """The error message for a name that is not among the valid ones.

    Args:
        kind: what was looked for, for example "category".
        name: what was given.
        valid: the valid names.
        extra: a closing sentence.

    Returns:
        One message with the name, the nearest match and the valid names.
    """
    valid = [str(item) for item in valid]
    near = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(valid[:30]) + (f", ... ({len(valid)} in all)" if len(valid) > 30 else "")
    return f"Unknown {kind} {name!r}.{guess} Valid: {shown}.{' ' + extra if extra else ''}"
