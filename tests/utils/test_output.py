"""Output in encodings that lack characters."""

import io
import os
import subprocess
import sys

import pytest

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.utils import output
from tests.utils.test_commands import say  # noqa: F401

LABELS = ["café", "猫", "👍🏽", "plain"]
TREE = Hierarchy.of({"pets – all": LABELS[:3], "plain": None})
ASCII = """\
2 split-points, 4 categories
|-- pets - all
|   |-- caf\\xe9
|   |-- \\u732b
|   `-- \\U0001f44d\\U0001f3fd
`-- plain"""


def stdout(monkeypatch, encoding, **options) -> io.TextIOWrapper:
    stream = io.TextIOWrapper(io.BytesIO(), encoding, **options)
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def written(stream) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("ascii", ASCII),
        ("cp1252", ASCII.replace("\\xe9", "é").replace("pets -", "pets –")),
        ("utf-8", None),
        ("utf-16", None),
    ],
)
def test_a_hierarchy_can_be_printed_in_any_encoding(monkeypatch, encoding, text):
    with monkeypatch.context() as patch:
        stream = stdout(patch, encoding)
        print(TREE)
        shown = written(stream).rstrip("\n")
    assert shown == (text or str(TREE)) and "└── 👍🏽" in str(TREE)


@pytest.mark.parametrize("stream", [None, io.StringIO(), object()])
def test_streams_without_an_encoding_get_the_text_as_it_is(monkeypatch, stream):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        shown = output.printable("└ é"), str(TREE)
        output.show_all_characters()
    assert shown == ("└ é", str(TREE))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "|-- caf\\xe9 \\udce9"),
        ({"errors": "surrogateescape"}, "|-- caf\\xe9 \\udce9"),
        ({"errors": "replace"}, "??? caf? ?"),  # as the user chose
    ],
)
def test_streams_show_fallback_characters(monkeypatch, options, text):
    with monkeypatch.context() as patch:
        stream = stdout(patch, "ascii", **options)
        output.show_all_characters()
        print("├── café \udce9", end="")
        shown = written(stream)
    assert shown == text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_commands_print_what_their_output_cannot_encode(say, monkeypatch, encoding):  # noqa: F811
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    monkeypatch.setenv("PYTHONUTF8", "0")
    done = say("--dataset=└── 猫", "x")
    assert (done.returncode, done.stdout) == (0, "`-- \\u732b x\n"), done.stderr


def test_print_works_in_a_script_of_a_user(root):
    script = "from keras_seqpar import Hierarchy; print(Hierarchy.of({'a': ['caf\\xe9', 'b']}))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "2 split-points, 2 categories\n`-- a\n    |-- caf\\xe9\n    `-- b\n"
