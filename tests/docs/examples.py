"""The examples in the docstrings of the package, and how they run."""

import ast
import doctest
import pathlib
import re
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# Modules whose examples need an environment of their own, where `tests/qat` runs them.
QAT = ("keras_seqpar.mobile.quantization.qat.", "keras_seqpar.mobile.export.aware.")


def parsed(module: str) -> ast.Module:
    """The source of a module or package."""
    path = ROOT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text("utf-8"))


def module_of(where: str) -> str:
    """The module of a function, class, method or constant."""
    while not (ROOT / (where.replace(".", "/") + ".py")).is_file():
        where = where.rpartition(".")[0]
    return where


def examples() -> dict[str, str]:
    """The docstrings that have an example, those of constants included, by where they are."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "keras_seqpar").rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        found |= _docstrings(ast.parse(path.read_text("utf-8")), module.removesuffix(".__init__"))
    return {where: text for where, text in found.items() if ">>>" in text}


def _docstrings(node, where: str) -> Iterator[tuple[str, str]]:
    yield where, ast.get_docstring(node) or ""
    for item, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, (ast.ClassDef, ast.FunctionDef)):
            yield from _docstrings(item, f"{where}.{item.name}")
        elif isinstance(item, (ast.Assign, ast.AnnAssign)) and isinstance(below, ast.Expr):
            target = item.target if isinstance(item, ast.AnnAssign) else item.targets[0]
            if isinstance(target, ast.Name) and isinstance(below.value, ast.Constant):
                yield f"{where}.{target.id}", str(below.value.value)


def begin(page: str, names: dict) -> dict:
    """Runs the Python blocks of a page of the reference, which its examples begin with."""
    for code in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S):
        exec(compile(code, "<page>", "exec"), names)
    return names


def run(where: str, text: str, names: dict, capsys) -> None:
    """Runs an example, and compares what it prints with what it says."""
    for example in doctest.DocTestParser().get_examples(text):
        capsys.readouterr()
        exec(compile(example.source, where, "single"), names)
        printed = capsys.readouterr().out
        fits = doctest.OutputChecker().check_output(example.want, printed, FLAGS)
        assert fits or not example.want, f"{where}: {example.source}{printed}"
