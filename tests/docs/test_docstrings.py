"""The examples of docstrings run, and the reference has every public name, each with an example."""

import ast
import functools
import importlib
import pkgutil
import re

import pytest

import keras_seqpar as sp
from tests.docs import examples
from tests.references import timm_nets

EXAMPLES = examples.examples()
PAGES = {
    path.stem: path.read_text("utf-8")
    for path in sorted((examples.ROOT / "docs/reference").glob("*.md"))
}


def defined(name: str) -> str:
    """Where a public name is defined, found in the sources."""
    room, _, last = name.rpartition(".")
    for node in ast.walk(examples.parsed(room)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy_names":
            for module, names in ast.literal_eval(node.args[1]).items():
                if last in names:
                    return defined(f"{room}.{module}.{last}")
        elif isinstance(node, ast.ImportFrom) and last in [x.name for x in node.names]:
            return defined(f"{node.module}.{last}")
    return name


# The names that the reference shows, and where each is defined -> its page, what it is imported of.
SHOWN = [
    (page, name) for page, text in PAGES.items() for name in re.findall(r"^::: (\S+)$", text, re.M)
]
PUBLIC = {defined(name): (page, name.rpartition(".")[0]) for page, name in SHOWN}


def test_the_reference_shows_every_public_name_once():
    packages = [x.name for x in pkgutil.walk_packages(sp.__path__, "keras_seqpar.") if x.ispkg]
    rooms = {"keras_seqpar", *packages, *(room for _, room in PUBLIC.values())}
    names = {
        f"{room}.{name}"
        for room in rooms
        for name in getattr(importlib.import_module(room), "__all__", [])
    }
    assert len(names) > 100
    assert {defined(name) for name in names} <= set(PUBLIC)
    assert len(PUBLIC) == len(SHOWN)


def test_every_name_of_the_reference_has_an_example():
    assert set(PUBLIC) <= set(EXAMPLES)


@pytest.fixture(scope="module")
def page_names(tmp_path_factory):
    """What the examples of a page begin with, in a folder that all examples share."""
    timm_nets.import_timm()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "agg")
        patch.chdir(tmp_path_factory.mktemp("examples"))
        start = examples.begin(PAGES["index"], {})
        yield functools.cache(lambda page: examples.begin(PAGES.get(page, ""), dict(start)))


HERE = [where for where in EXAMPLES if not where.startswith(examples.QAT)]


@pytest.mark.parametrize("where", HERE)
def test_examples_run(where, page_names, capsys, steady_clock):
    module = examples.module_of(where)
    owner = where if where in PUBLIC else where.rpartition(".")[0]  # a method's class
    page, room = PUBLIC.get(owner, (module.split(".")[1], module))
    exported = importlib.import_module(room)
    names = getattr(exported, "__all__", vars(exported)) if owner in PUBLIC else vars(exported)
    known = {name: getattr(exported, name) for name in names}
    examples.run(where, EXAMPLES[where], page_names(page) | known, capsys)
