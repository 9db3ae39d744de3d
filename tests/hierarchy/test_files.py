"""Hierarchies in JSON and YAML files."""

import itertools
import json
import os
import re
import string
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_seqpar.hierarchy import files
from keras_seqpar.hierarchy.files import from_file, to_file
from keras_seqpar.hierarchy.tree import Hierarchy, Node
from keras_seqpar.utils.names import same_form
from tests import harness

ENDINGS = ["json", "yaml"]
NESTED = {"pets": ["cat", "dog"], "road": {"car": None, "heavy": ["bus", "truck"]}, "tree": None}


@pytest.mark.parametrize("ending", ENDINGS)
@given(tree=harness.trees())
def test_a_file_gives_back_what_was_written(tmp_path_factory, ending, tree):
    path = tmp_path_factory.mktemp("files") / f"tree.{ending}"
    to_file(tree, path)
    assert from_file(path) == tree
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=100)
@given(
    labels=st.lists(
        harness.labels(),
        min_size=1,
        max_size=6,
        unique_by=same_form,
    )
)
def test_any_label_survives_a_file(tmp_path_factory, ending, labels):
    path = tmp_path_factory.mktemp("files") / f"tree.{ending}"
    for tree in (labels, {"the top": labels[1:], labels[0]: None} if labels[1:] else labels):
        hierarchy = Hierarchy.of(tree)
        to_file(hierarchy, path)
        assert from_file(path) == hierarchy


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "label", ["no", "On", "1", "1.5", "2020-01-01", "null", "~", "- a", "a: b", "#a", "!a", "&a"]
)
def test_labels_that_yaml_takes_for_something_else_are_quoted(tmp_path, ending, label):
    label = label if re.search("[a-z0-9]", label) else f"{label}x"
    path = tmp_path / f"tree.{ending}"
    to_file(Hierarchy.of({label: ["a1", "b"], "c": None}), path)
    assert from_file(path).superclasses[0].label == label


def test_files_are_as_people_write_them(tmp_path):
    for tree, text in {
        ("cat", "dog"): "- cat\n- dog\n",
        json.dumps(NESTED): "pets:\n- cat\n- dog\nroad:\n  car: null\n  heavy:\n  - bus\n"
        "  - truck\ntree: null\n",
    }.items():
        hierarchy = Hierarchy.of(list(tree) if isinstance(tree, tuple) else json.loads(tree))
        to_file(hierarchy, tmp_path / "tree.yml")
        assert (tmp_path / "tree.yml").read_text() == text
        to_file(hierarchy, tmp_path / "tree.JSON")
        assert Hierarchy.of(json.loads((tmp_path / "tree.JSON").read_text())) == hierarchy


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "tree",
    [
        Hierarchy([Node("a"), Node("b")], ["b", "a"]),
        Hierarchy([Node("crane", id="bird"), Node("crane", id="machine")]),
        Hierarchy([Node("s", (Node("x"), Node("x", id="y"))), Node("s", (Node("z"),), "t")]),
        Hierarchy.of({"tree": ["oak", "elm"], "categories": ["x"]}),
    ],
)
def test_order_and_ids_of_ones_own_survive(tmp_path, ending, tree):
    path = tmp_path / f"tree.{ending}"
    to_file(tree, path)
    assert from_file(path) == tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [b, *x]", r"line 1: anchors \(&\) and aliases"),
        ("a: &x [b]\nc: *x", r"line 1: anchors"),
        ("c: *x", "line 1: anchors"),
        ("<<: {a: [b]}", r"at the top: a label must be text, got <<"),
        ("animals:\n- cat\n- no", r"at animals > item 2: a label must be text, got no \(line 3\)"),
        ("yes: [a]", "at the top: a label must be text, got yes"),
        ("a: [1, b]", "at a > item 1: a label must be text, got 1"),
        ("a: [1_000.5]", "got 1_000.5"),
        ("a: [2020-01-01]", "got 2020-01-01"),
        ("a:\n- ~\n- b", "at a > item 1: a label must be text, got null"),
        ("a: [b]\nc: [d]\na: [e]", "at the top: 'a' appears twice"),
        ("a: {b: [c], b: [d]}", "at a: 'b' appears twice"),
        ("a: {b: [c]}\nd: {b: [e]}", "'b' is named twice"),
        ("a: [c]\nb: [c]", "'c' is named twice"),
        ("a: [a]", "'a' is both a superclass and a category"),
        ("a: [b, ' a ']", "'a' is both a superclass and a category"),
        ("a: []", "at a: there is no category. A superclass needs children"),
        ("a: {b: {}}", "at a > b: there is no category"),
        ("[]", "at the top: there is no category"),
        ("{}", "at the top: there is no category"),
        ("", "0 YAML documents"),
        ("cat", "at the top: expected a list or a mapping, got 'cat'"),
        ("a: b", r"at a: expected a list or a mapping, got 'b'. Write \[b\]"),
        ("a: [[b]]", "at a > item 1: expected a label, got a list"),
        ("[a, b]: c", "at the top: expected a label, got a list"),
        ("{a: b}: c", "at the top: expected a label, got a mapping"),
        ("--- [a]\n--- [b]", "2 YAML documents"),
        ("[a, b", "it is no YAML: while parsing"),
        ("a:\n\t- b", "it is no YAML: while scanning"),
        ('- "a\\nb"', "'a.nb' has the control character"),
        ("- ' '", "The label ' ' is empty"),
        ("- e\u0301\n- \u00e9", "'\u00e9' is named twice"),
        ('{"tree": [{"id": "a", "label": "b\\rc"}], "categories": ["a"]}', "the control character"),
        ("- !!python/name:os.system x", "line 1: tags .* not allowed"),
        ("!!set {a, b}", "line 1: tags"),
        ("- !!str 1", "line 1: tags"),
        ("[" * 100_000, "line 1: it is nested more than 32 levels deep"),
        ("- " * 100_000, "line 1: it is nested more than 32 levels deep"),
        ("- " + "a" * 1001, "at item 1: a label has more than 1000 characters"),
        ("? " + "a" * 1001 + "\n: [b]", "at the top: a label has more than 1000 characters"),
        ('["\\ud800a"]', "half a surrogate pair"),
        ("tree: [a]\ncategories: [a]", "at tree > item 1: .* mappings with id, label"),
        ("tree: a\ncategories: [a]", "at tree: expected a list of one or more nodes"),
        ("tree: [{id: a, label: A, x: b}]\ncategories: [a]", "at tree > item 1"),
        ("tree: [{id: a, label: [b]}]\ncategories: [a]", "item 1: label must be text"),
        (
            "tree: [{id: a, label: A, children: []}]\ncategories: [a]",
            "item 1: expected a list of one",
        ),
        ("tree: [{id: a, label: A}]\ncategories: a", "at categories: "),
        ("tree: [{id: a, label: A}]\ncategories: [b]", "no reordering of the tree's leaves"),
        ("tree: [{id: A, label: A}]\ncategories: [A]", "The node id 'A'"),
        (b"\xff\xfe\x00", "codec can't decode"),
        (b"- a\x00", "it is no YAML: "),
        (b"a" * (files.MOST_BYTES + 1), "more than 2097152 bytes"),
    ],
)
def test_a_bad_yaml_file_is_named_with_the_place(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as error:
        from_file(path)
    assert str(error.value).startswith(f"No hierarchy can be read from {path}: ")
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": ["b"], "a": ["c"]}', "at the top: 'a' appears twice"),
        ('{"a": {"b": ["c"], "b": ["d"]}}', "at a: 'b' appears twice"),
        ('["a", 1]', "at item 2: a label must be text, got 1"),
        ('["a", true]', "at item 2: a label must be text, got true"),
        ('["a", NaN]', "at item 2: a label must be text, got NaN"),
        ('{"a": 1e999}', "at a: a label must be text, got 1e999"),
        ('["a", ' + "9" * 10_000 + "]", "at item 2: a label must be text, got 999"),
        ('{"a": {"b": []}}', "at a > b: there is no category"),
        ('{"a": "b"}', "at a: expected a list or a mapping"),
        ('{"a": [["b"]]}', "at a > item 1: expected a label"),
        ('{"a": [null]}', "at a > item 1: a label must be text, got null"),
        ("null", "at the top: expected a list or a mapping"),
        ('["\\ud800a"]', "half a surrogate pair"),
        ('["a"', "Expecting ',' delimiter: line 1"),
        ("", "Expecting value: line 1"),
        ("[" * 100_000, "nested more than 32 levels deep"),
        ('{"a":' * 100_000, "nested more than 32 levels deep"),
        ('{"a":' * 40 + '["b"]' + "}" * 40, "nested more than 32 levels deep"),
        ('{"a": ["a"]}', "'a' is both a superclass and a category"),
    ],
)
def test_a_bad_json_file_is_named_with_the_place(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        from_file(path)
    assert str(error.value).startswith(f"No hierarchy can be read from {path}: ")
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize(
    "text",
    [
        '!!python/object/apply:os.mkdir ["{}"]',
        '!!python/object/new:os.mkdir ["{}"]',
        '? !!python/object/apply:os.mkdir ["{}"]\n: [a]',
        'a: [!!python/object/apply:subprocess.call [["mkdir", "{}"]]]',
    ],
)
def test_nothing_in_a_file_is_run(tmp_path, text):
    path, made = tmp_path / "bad.yaml", tmp_path / "made"
    path.write_text(text.replace("{}", str(made)))
    with pytest.raises(ValueError, match="tags"):
        from_file(path)
    assert not made.exists()


def test_a_bomb_of_aliases_is_refused_before_it_grows(tmp_path):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    names = string.ascii_lowercase
    lines += [
        f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]"
        for last, name in itertools.pairwise(names)
    ]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="line 1: anchors"):
        from_file(tmp_path / "bomb.yaml")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "tree.json"
    to_file(Hierarchy.of(["a", "b"]), path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "replace", fail)
        to_file(Hierarchy.of(["c"]), path)
    assert path.read_bytes() == before
    long = Hierarchy([Node("a" * 1001, id="a")])
    with pytest.raises(ValueError, match=r"cannot be written .* has 1001 characters. At most 1000"):
        to_file(long, path)
    with pytest.raises(ValueError, match="cannot be written .* is no valid text"):
        to_file(Hierarchy([Node("\ud800a", id="a")]), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["tree.json"]


def test_arguments_of_file_functions_are_checked(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"ends in .json, .yaml, .yml, got .*'tree.txt'"):
        from_file("tree.txt")
    with pytest.raises(ValueError, match=r"ends in .json, .yaml, .yml"):
        to_file(Hierarchy.of(["a"]), tmp_path / "tree")
    with pytest.raises(TypeError, match="Make one with Hierarchy.of"):
        to_file(["a"], tmp_path / "tree.json")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        from_file(tmp_path / "nowhere.json")
    (tmp_path / "a.yaml").write_text("- a")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ImportError, match="need PyYAML: pip install pyyaml"):
        from_file(tmp_path / "a.yaml")


def test_yaml_is_read_as_pyyaml_does(tmp_path):
    text = """# a comment
'quoted: key': ['it''s', "caf\\xe9", plain text]
? long key
: [\u00e9\u00df, 'no']
"""
    (tmp_path / "a.yaml").write_text(text, "utf-8")
    assert from_file(tmp_path / "a.yaml") == Hierarchy.of(yaml.safe_load(text))
