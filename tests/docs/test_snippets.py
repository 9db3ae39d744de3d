"""The snippets of README and docs: what users copy first must run. Docstrings: test_docstrings.py.

Python blocks of a page run in order, in one namespace and an empty folder. Of shell blocks, the
commands in `RUN` are run on a network for digits; all others are read with the flags of the real
command. `NOT_RUN` lists the Python blocks that cannot run here; their names are looked up.
"""

import ast
import contextlib
import functools
import importlib
import os
import pathlib
import re
import shlex
import sys
import tomllib
from unittest import mock

import keras
import numpy as np
import pytest
from markdown.extensions.toc import slugify

import keras_seqpar as sp
from keras_seqpar import data
from tests import commands
from tests.references import digits_nets

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    *(
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.glob("docs/**/*.md"))
        if path.parent.name != "reference"
    ),
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tflite/*/README.md"))),
]
# Beginning of a Python block -> why it is not run.
NOT_RUN = {
    'weights.load(model, "timm:resnet50")': ("downloads weights"),
    "import tf_keras": "needs tensorflow-model-optimization, which has an environment of its own",
    "import tensorflow_model_optimization as tfmot": "likewise",
    "mesh = keras.distribution.DeviceMesh": "needs JAX and eight devices",
}
# What runs, on `runs/digits/best.keras`, in the place of what `recipes/train.py` would write.
RUN = (
    "python recipes/evaluate.py runs/digits/best.keras",
    "python recipes/group.py --labels",
    "python tflite/convert.py runs/digits/best.keras",
    "python -m keras_seqpar.mobile.run digits.tflite",
)


def blocks(page: str, *languages: str) -> list[tuple[int, str]]:
    """The fenced blocks of a page: the number of the line before each, and its text."""
    found = []
    text = (ROOT / page).read_text("utf-8")
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S):
        if match[1] in languages:
            found.append((text.count("\n", 0, match.start(2)), match[2]))
    return found


def with_python(page: str) -> bool:
    return any(not text.startswith(tuple(NOT_RUN)) for _, text in blocks(page, "python"))


@pytest.mark.parametrize("page", [page for page in PAGES if with_python(page)])
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # Two training steps are not worth compiling.
    eager = functools.partialmethod(keras.Model.compile, run_eagerly=True)
    monkeypatch.setattr(keras.Model, "compile", eager)
    monkeypatch.setenv("MPLBACKEND", "agg")
    for i in range(7):  # the photos of the user
        photo = pathlib.Path("my_photos", "cat" if i < 5 else "dog", f"{i}.png")
        photo.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(photo, np.full((8, 8, 3), i, "uint8"), scale=False)
    namespace = {"__name__": page}
    for line, text in blocks(page, "python"):
        if not text.startswith(tuple(NOT_RUN)):
            # Empty lines before it, so that a traceback names the line of the page.
            exec(compile("\n" * line + text, str(ROOT / page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_that_are_not_run_use_names_that_exist(page):
    rooms = {"sp": sp}
    for name in ("mobile", "weights", "selective", "plots", "hierarchy", "presets"):
        rooms[name] = importlib.import_module(f"keras_seqpar.{name}")
    for _, text in blocks(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                room = rooms.get(node.value.id)
                assert room is None or hasattr(room, node.attr), ast.unparse(node)


def test_every_block_that_is_not_run_is_still_there():
    texts = [text for page in PAGES for _, text in blocks(page, "python")]
    assert all(any(text.startswith(first) for text in texts) for first in NOT_RUN)


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("docs/")])
def test_links_lead_somewhere(page):
    """Links inside of docs/ are checked by `make docs`."""
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", (ROOT / page).read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.is_file(), link
        titles = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M) if anchor else []
        assert not anchor or anchor in [slugify(title, "-") for title in titles], link


# Shell.


def test_a_flag_that_a_command_does_not_have_is_found(capsys):
    with pytest.raises(AssertionError):
        check_command(shlex.split("python recipes/evaluate.py best.keras --no_such_flag 1"))
    with pytest.raises(AssertionError):
        check_command(shlex.split("python tflite/web/serve.py --no_such_flag 1"))


def shell_lines(page: str) -> list[tuple[list[str], str]]:
    """The commands of the shell blocks of a page: words, and the whole line."""
    found = []
    for _, text in blocks(page, "sh", "bash", "shell"):
        for line in text.replace("\\\n", " ").splitlines():
            for part in re.split(r" && ", line):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words:
                    found.append((words, " ".join(words)))
    return found


def parse(path: str, *arguments: str) -> None:
    """Reads arguments as a command of this repository does, without running it."""

    def read(call, flags_parser):
        flags_parser(list(sys.argv))
        raise SystemExit(0)

    with mock.patch("absl.app.run", read):
        assert commands.call(path, *arguments) == 0


def check_argparse(path: str, arguments: list[str]) -> None:
    source = (ROOT / path).read_text("utf-8")
    for flag in (x.split("=")[0] for x in arguments if x.startswith("--")):
        assert f'"{flag}"' in source, f"{path} has no flag {flag}"


def check_command(words: list[str]) -> None:
    """Checks the command of a page against what it would run."""
    tool, *rest = words
    if tool == "srun":
        tool, *rest = rest
    if tool == "torchrun":
        at = next(i for i, word in enumerate(rest) if word.endswith(".py"))
        tool, rest = "python", rest[at:]
    if tool == "make":
        targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert all(x in targets for x in rest if "=" not in x), words
    elif tool == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        for wanted in re.findall(r"\.\[([\w,]+)\]", " ".join(rest)):
            assert set(wanted.split(",")) <= set(extras["optional-dependencies"]), wanted
    elif tool == "node":
        assert (ROOT / rest[0]).is_file(), rest[0]
    elif tool in ("curl", "export", "sh", ".", "pytest", "cp", "npm") or rest[:2] == ["-m", "venv"]:
        pass
    elif tool == "python" and rest[0] == "-m":
        module = importlib.util.find_spec(rest[1])
        assert module is not None and module.origin, rest[1]
        path = "keras_seqpar/mobile/runtime/run.py" if rest[1].endswith("mobile.run") else None
        assert path, f"Tell this test where {rest[1]} defines its flags."
        check_argparse(path, rest[2:])
    elif tool == "python":
        path, arguments = rest[0], rest[1:]
        if "argparse" in (ROOT / path).read_text("utf-8"):
            check_argparse(path, arguments)
            return
        if ">" in arguments:
            arguments = arguments[: arguments.index(">")]
        parse(path, *arguments)
        if path == "recipes/study.py" and "--" in arguments:
            parse("recipes/train.py", *arguments[arguments.index("--") + 1 :])
    else:
        raise AssertionError(f"Tell this test how to check {words}.")


@pytest.mark.parametrize("page", PAGES)
def test_shell_commands_have_the_flags_that_pages_give_them(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words, line in shell_lines(page):
        if not line.startswith(RUN):
            try:
                check_command(words)
            except AssertionError as error:
                raise AssertionError(f"{page}: {line}\n{capsys.readouterr().err}") from error


@pytest.fixture
def folder_with_digits(tmp_path, monkeypatch):
    """A folder with the network and an image that README's commands name."""
    monkeypatch.chdir(tmp_path)
    os.makedirs("runs/digits")
    digits_nets.load("mobile").save("runs/digits/best.keras")
    pixels = data.load("digits", image_size=32).train.read([0])[0]
    keras.utils.save_img("image.jpg", pixels, scale=False)


def test_shell_commands_that_run(folder_with_digits, capsys):
    lines = [x for page in PAGES for x in shell_lines(page) if x[1].startswith(RUN)]
    assert {next(y for y in RUN if line.startswith(y)) for _, line in lines} == set(RUN)
    for words, line in lines:
        if words[1] == "-m":
            module = importlib.import_module("keras_seqpar.mobile.runtime.run")
            with mock.patch.object(sys, "argv", words[2:]), contextlib.suppress(SystemExit):
                assert not module.main(), line
        else:
            assert commands.call(*words[1:]) == 0, f"{line}\n{capsys.readouterr().err}"


# Other languages.


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "kotlin")])
def test_names_in_kotlin_blocks_are_in_the_sources(page):
    sources = "\n".join(p.read_text("utf-8") for p in (ROOT / "tflite/android").rglob("*.kt"))
    for _, text in blocks(page, "kotlin"):
        text = re.sub(r"//.*|\"[^\"]*\"", "", text)
        used = set(re.findall(r"\b(\w+)\(|\.(\w+)\b|\b(\w+) = ", text))
        for name in {name for names in used for name in names if name}:
            known = name in (
                "forEach",
                "use",
                "println",
                "File",
                "floatArrayOf",
                "listOf",
                "answer",
            )
            assert known or re.search(rf"\b{name}\b", sources), name
