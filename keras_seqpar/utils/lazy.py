"""Public names that are imported when they are first used (PEP 562)."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(
    package: str, names: Mapping[str, Sequence[str]], *, rooms: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Makes the public names of a package without importing the modules that define them.

    Args:
        package: the package's `__name__`.
        names: module, relative to the package -> the names it defines.
        rooms: sub-packages that may be used as attributes, `package.room`.

    Returns:
        What to assign to the package's `__getattr__`, `__dir__` and `__all__`.

    Example:

    >>> __getattr__, __dir__, __all__ = lazy_names(__name__, {"tree": ["Hierarchy"]})
    """
    module_of = {name: module for module, listed in names.items() for name in listed}
    public = sorted(module_of)

    def get(name: str):
        if name in module_of:
            return getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
        if name in rooms:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted([*public, *rooms]), public
