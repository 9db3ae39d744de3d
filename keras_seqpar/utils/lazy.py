"""Imports on demand: public names (PEP 562), and modules that are imported after a library."""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def around_import(name: str, context: Callable[[], contextlib.AbstractContextManager]) -> None:
    """Runs the import of a library inside a context, whenever it happens.

    Args:
        name: the library. If it is imported already, nothing happens.
        context: makes the context, for example one that drops notices.
    """
    if name not in sys.modules:
        sys.meta_path.insert(0, _ImportWatcher(name, context))


def import_after(library: str, *modules: str) -> None:
    """Imports modules as soon as a library is imported, now if it is imported already.

    A module whose own import brings the library in is left alone: it completes by itself.

    Args:
        library: for example "keras".
        *modules: what to import then. They must not import modules that may bring the library in
            first, since those would be incomplete at that moment.
    """

    @contextlib.contextmanager
    def then_import() -> Iterator[None]:
        yield
        for module in modules:
            if module not in sys.modules:
                importlib.import_module(module)

    if sys.modules.get(library) is not None:  # None keeps a library from being imported
        for module in modules:
            importlib.import_module(module)
    around_import(library, then_import)


class _ImportWatcher(importlib.abc.MetaPathFinder):
    """Finds one library as the other finders do, and runs its code inside a context."""

    def __init__(self, name: str, context: Callable[[], contextlib.AbstractContextManager]):
        self.name = name
        self.context = context
        self.searching = False

    def find_spec(self, fullname, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name or self.searching:
            return None
        self.searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.searching = False
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_in_context(module) -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            with self.context():
                execute(module)

        spec.loader.exec_module = execute_in_context  # type: ignore[method-assign]
        return spec
