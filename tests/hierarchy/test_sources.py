import gzip
import itertools
import json
import os
import re
import string
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_seqpar import hierarchy as hierarchies
from keras_seqpar.hierarchy import corpora, files, wordnet
from keras_seqpar.hierarchy.clustering import METHODS, superclass_counts
from keras_seqpar.hierarchy.nesting import nest
from keras_seqpar.hierarchy.tree import Hierarchy, Node
from keras_seqpar.utils.names import make_id
from tests import harness

ENDINGS = ["json", "yaml"]
NESTED = {"pets": ["cat", "dog"], "road": {"car": None, "heavy": ["bus", "truck"]}, "tree": None}


def check(hierarchy: Hierarchy, labels, depth: int = 4) -> None:
    """What must hold for every hierarchy that a source makes of `labels`."""
    assert hierarchy.categories == tuple(labels)
    assert 1 <= hierarchy.depth <= depth
    ids = [node.id for node in hierarchy.nodes]
    assert len(ids) == len(set(ids)) == len({node.label for node in hierarchy.nodes})
    assert all(len(node.children) != 1 for node in hierarchy.superclasses)
    assert len(hierarchy.roots) > 1 or hierarchy.depth == 1
    assert Hierarchy.from_config(json.loads(json.dumps(hierarchy.get_config()))) == hierarchy
    kept = labels[::-2]
    assert hierarchy.prune(kept).categories == tuple(kept)


def groups(hierarchy: Hierarchy) -> set[frozenset[str]]:
    """The categories below each superclass."""
    return {
        frozenset(n.label for n in node.walk() if n.is_category) for node in hierarchy.superclasses
    }


# Files


@pytest.mark.parametrize("ending", ENDINGS)
@given(tree=harness.trees())
def test_a_file_gives_back_what_was_written(tmp_path_factory, ending, tree):
    path = tmp_path_factory.mktemp("files") / f"tree.{ending}"
    hierarchies.to_file(tree, path)
    assert hierarchies.from_file(path) == tree
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=100)
@given(
    labels=st.lists(
        st.text(max_size=12).filter(lambda s: re.search("[a-zA-Z0-9]", s)),
        min_size=1,
        max_size=6,
        unique_by=make_id,
    )
)
def test_any_label_survives_a_file(tmp_path_factory, ending, labels):
    path = tmp_path_factory.mktemp("files") / f"tree.{ending}"
    for tree in (labels, {"the top": labels[1:], labels[0]: None} if labels[1:] else labels):
        if "the_top" in map(make_id, labels):
            continue
        hierarchy = Hierarchy.of(tree)
        hierarchies.to_file(hierarchy, path)
        assert hierarchies.from_file(path) == hierarchy


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "label", ["no", "On", "1", "1.5", "2020-01-01", "null", "~", "- a", "a: b", "#a", "!a", "&a"]
)
def test_labels_that_yaml_takes_for_something_else_are_quoted(tmp_path, ending, label):
    label = label if re.search("[a-z0-9]", label) else f"{label}x"
    path = tmp_path / f"tree.{ending}"
    hierarchies.to_file(Hierarchy.of({label: ["a1", "b"], "c": None}), path)
    assert hierarchies.from_file(path).superclasses[0].label == label


def test_files_are_as_people_write_them(tmp_path):
    for tree, text in {
        ("cat", "dog"): "- cat\n- dog\n",
        json.dumps(NESTED): "pets:\n- cat\n- dog\nroad:\n  car: null\n  heavy:\n  - bus\n"
        "  - truck\ntree: null\n",
    }.items():
        hierarchy = Hierarchy.of(list(tree) if isinstance(tree, tuple) else json.loads(tree))
        hierarchies.to_file(hierarchy, tmp_path / "tree.yml")
        assert (tmp_path / "tree.yml").read_text() == text
        hierarchies.to_file(hierarchy, tmp_path / "tree.JSON")
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
    hierarchies.to_file(tree, path)
    assert hierarchies.from_file(path) == tree


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
        ("a: [b]\nc: [d]\na: [e]", "at the top: 'a' stands there twice"),
        ("a: {b: [c], b: [d]}", "at a: 'b' stands there twice"),
        ("a: {b: [c]}\nd: {b: [e]}", "'b' is named twice"),
        ("a: [c]\nb: [c]", "'c' is named twice"),
        ("a: [a]", "'a' is both a superclass and a category"),
        ("a: [b, A!]", "'a' and 'A!' both become the id 'a'"),
        ("a: []", "at a: there is no category. A superclass needs children"),
        ("a: {b: {}}", "at a > b: there is no category"),
        ("[]", "at the top: there is no category"),
        ("{}", "at the top: there is no category"),
        ("", "0 YAML documents"),
        ("cat", "at the top: a list or a mapping must stand here, got 'cat'"),
        ("a: b", r"at a: a list or a mapping must stand here, got 'b'. Write \[b\]"),
        ("a: [[b]]", "at a > item 1: a label must stand here, got a list"),
        ("[a, b]: c", "at the top: a label must stand here, got a list"),
        ("{a: b}: c", "at the top: a label must stand here, got a mapping"),
        ("--- [a]\n--- [b]", "2 YAML documents"),
        ("[a, b", "it is no YAML: while parsing"),
        ("a:\n\t- b", "it is no YAML: while scanning"),
        ("- '???'", "cannot become a node id"),
        ("- !!python/name:os.system x", "line 1: tags .* not allowed"),
        ("!!set {a, b}", "line 1: tags"),
        ("- !!str 1", "line 1: tags"),
        ("[" * 100_000, "line 1: it is nested more than 32 levels deep"),
        ("- " * 100_000, "line 1: it is nested more than 32 levels deep"),
        ("- " + "a" * 1001, "at item 1: a label has more than 1000 characters"),
        ("? " + "a" * 1001 + "\n: [b]", "at the top: a label has more than 1000 characters"),
        ('["\\ud800a"]', "half a surrogate pair"),
        ("tree: [a]\ncategories: [a]", "at tree > item 1: .* mappings with id, label"),
        ("tree: a\ncategories: [a]", "at tree: one node or more must stand here in a list"),
        ("tree: [{id: a, label: A, x: b}]\ncategories: [a]", "at tree > item 1"),
        ("tree: [{id: a, label: [b]}]\ncategories: [a]", "item 1: label must be text"),
        ("tree: [{id: a, label: A, children: []}]\ncategories: [a]", "item 1: one node or more"),
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
        hierarchies.from_file(path)
    assert str(error.value).startswith(f"No hierarchy can be read from {path}: ")
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": ["b"], "a": ["c"]}', "at the top: 'a' stands there twice"),
        ('{"a": {"b": ["c"], "b": ["d"]}}', "at a: 'b' stands there twice"),
        ('["a", 1]', "at item 2: a label must be text, got 1"),
        ('["a", true]', "at item 2: a label must be text, got true"),
        ('["a", NaN]', "at item 2: a label must be text, got NaN"),
        ('{"a": 1e999}', "at a: a label must be text, got 1e999"),
        ('["a", ' + "9" * 10_000 + "]", "at item 2: a label must be text, got 999"),
        ('{"a": {"b": []}}', "at a > b: there is no category"),
        ('{"a": "b"}', "at a: a list or a mapping must stand here"),
        ('{"a": [["b"]]}', "at a > item 1: a label must stand here"),
        ('{"a": [null]}', "at a > item 1: a label must be text, got null"),
        ("null", "at the top: a list or a mapping must stand here"),
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
        hierarchies.from_file(path)
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
        hierarchies.from_file(path)
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
        hierarchies.from_file(tmp_path / "bomb.yaml")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "tree.json"
    hierarchies.to_file(Hierarchy.of(["a", "b"]), path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "replace", fail)
        hierarchies.to_file(Hierarchy.of(["c"]), path)
    assert path.read_bytes() == before
    long = Hierarchy.of(["a" * 1001])
    with pytest.raises(ValueError, match=r"cannot be written .* more than 1000 characters"):
        hierarchies.to_file(long, path)
    with pytest.raises(ValueError, match="cannot be written .* surrogate"):
        hierarchies.to_file(Hierarchy.of(["\ud800a"]), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["tree.json"]


def test_arguments_of_file_functions_are_checked(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"ends in .json, .yaml, .yml, got .*'tree.txt'"):
        hierarchies.from_file("tree.txt")
    with pytest.raises(ValueError, match=r"ends in .json, .yaml, .yml"):
        hierarchies.to_file(Hierarchy.of(["a"]), tmp_path / "tree")
    with pytest.raises(TypeError, match="Make one with Hierarchy.of"):
        hierarchies.to_file(["a"], tmp_path / "tree.json")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        hierarchies.from_file(tmp_path / "nowhere.json")
    (tmp_path / "a.yaml").write_text("- a")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ImportError, match="need PyYAML: pip install pyyaml"):
        hierarchies.from_file(tmp_path / "a.yaml")


def test_yaml_is_read_as_pyyaml_does(tmp_path):
    text = """# a comment
'quoted: key': ['it''s', "tab\\there", plain text]
? long key
: [\u00e9\u00df, 'no']
"""
    (tmp_path / "a.yaml").write_text(text, "utf-8")
    assert hierarchies.from_file(tmp_path / "a.yaml") == Hierarchy.of(yaml.safe_load(text))


# Nesting


@given(tree=harness.trees())
def test_nesting_gives_back_trees_without_lone_children(tree):
    leaves = [tree.find(id_) for id_ in tree.category_ids]
    above = [[n.label for n in tree.path(leaf)[:-1]] for leaf in leaves]
    made = nest(tree.categories, above)
    check(made, tree.categories)
    all_of_them = frozenset(tree.categories)
    assert groups(made) == {g for g in groups(tree) if 1 < len(g) < len(all_of_them)}


def test_nesting_refuses_names_that_stand_twice():
    with pytest.raises(ValueError, match="'a' is named twice"):
        nest(["a", "a"], [["s"], ["s"]])
    with pytest.raises(ValueError, match="both a superclass and a category"):
        nest(["a", "b", "c"], [["b"], [], ["b"]])


# WordNet

# Enough of WordNet, in its own format: (words, hypernyms as indices, gloss).
SYNSETS = [
    (["entity"], [], "what exists"),
    (["physical_entity"], [0], "an entity with a place"),
    (["abstraction"], [0], "an entity without"),
    (["dog", "domestic_dog"], [1], "barks"),
    (["cat", "true_cat"], [1], "purrs"),
    (["lapdog", "lap_dog"], [3, 1], "curly"),
    (["cur", "mutt"], [3], "small"),
    (["Blue_cat"], [4], "blue eyes"),
    (["tom"], [4], "striped"),
    (["jack"], [2], "a family name"),
    (["jack", "hoist"], [1], "lifts"),
    (["hound", "hound_dog"], [3], "hunts"),
    (["rache"], [11], "smells"),
    (["sleuth"], [11], "runs"),
]


def write_wordnet(folder, synsets=SYNSETS, version="3.0"):
    """Writes `data.noun` and `index.noun` of a small WordNet; returns the wnids."""
    head = f"  1 A license.  \n  2 WordNet {version} Copyright 2006 by Princeton University.  \n"
    offsets = [0] * len(synsets)
    for _ in range(2):  # offsets have a fixed width: the second time they are right
        lines = []
        place = len(head.encode())
        for i, (words, above, gloss) in enumerate(synsets):
            offsets[i] = place
            pointers = "".join(f" @ {offsets[j]:08d} n 0000" for j in above)
            shown = " ".join(f"{word} 0" for word in words)
            lines.append(
                f"{place:08d} 03 n {len(words):02x} {shown} {len(above) + 1:03d}{pointers} "
                f"~ {offsets[0]:08d} n 0000 | {gloss}  \n"
            )
            place += len(lines[-1].encode())
    senses: dict[str, list[int]] = {}
    for i, (words, _, _) in enumerate(synsets):
        for word in words:
            senses.setdefault(word.lower(), []).append(offsets[i])
    index = [
        f"{word} n {len(found)} 1 @ {len(found)} 0 {' '.join(f'{o:08d}' for o in found)}  \n"
        for word, found in sorted(senses.items())
    ]
    folder.mkdir(exist_ok=True)
    (folder / "data.noun").write_bytes((head + "".join(lines)).encode())
    (folder / "index.noun").write_bytes((head + "".join(index)).encode())
    return [f"n{offset:08d}" for offset in offsets]


@pytest.fixture(scope="module")
def small_wordnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wordnet") / "dict"
    return folder, write_wordnet(folder)


def test_wordnets_own_files_are_read(small_wordnet, tmp_path):
    folder, wnids = small_wordnet
    with zipfile.ZipFile(tmp_path / "wordnet.zip", "w") as archive:
        for name in ("data.noun", "index.noun"):
            archive.write(folder / name, f"wordnet/{name}")
    for place in (folder, str(folder), tmp_path / "wordnet.zip"):
        corpus = corpora.open_corpus(place)
        assert corpus.name.startswith("WordNet 3.0 in ")
        for wnid, (words, above, gloss) in zip(wnids, SYNSETS, strict=True):
            found = corpus.synset(wnid)
            assert found.lemmas == tuple(word.replace("_", " ") for word in words)
            assert found.hypernyms == tuple(wnids[i] for i in above)
            assert found.gloss == gloss
        assert corpus.senses("Jack") == [wnids[9], wnids[10]]
        assert corpus.senses("true cat") == [wnids[4]]
        assert corpus.senses("ca") == corpus.senses("") == corpus.senses("a license.") == []
        assert [s.lemmas[0] for s in corpus.path(wnids[5])] == [
            *("entity", "physical entity", "dog", "lapdog")
        ]


def test_the_wn_library_is_read(small_wordnet, tmp_path, monkeypatch):
    import wn

    folder, wnids = small_wordnet
    words = sorted({word for synset in SYNSETS for word in synset[0]})
    entries, synsets = "", ""
    for i, word in enumerate(words):
        senses = "".join(
            f'<Sense id="omw-en-{i}-{j}" synset="omw-en-{wnids[j][1:]}-n"/>'
            for j, synset in enumerate(SYNSETS)
            if word in synset[0]
        )
        lemma = f'<Lemma writtenForm="{word.replace("_", " ")}" partOfSpeech="n"/>'
        entries += f'<LexicalEntry id="omw-en-w{i}">{lemma}{senses}</LexicalEntry>'
    for j, (inside, above, gloss) in enumerate(SYNSETS):
        members = " ".join(f"omw-en-{words.index(word)}-{j}" for word in inside)
        relations = "".join(
            f'<SynsetRelation relType="hypernym" target="omw-en-{wnids[k][1:]}-n"/>' for k in above
        )
        synsets += (
            f'<Synset id="omw-en-{wnids[j][1:]}-n" ili="" partOfSpeech="n" members="{members}">'
            f"<Definition>{gloss}</Definition>{relations}</Synset>"
        )
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE LexicalResource SYSTEM '
        '"http://globalwordnet.github.io/schemas/WN-LMF-1.1.dtd">\n'
    )
    for name in ("omw-en", "other"):
        lexicon = (
            f'<Lexicon id="{name}" label="a" language="en" email="a" license="a" version="1.4">'
            f"{entries}{synsets}</Lexicon>"
        ).replace("omw-en-", f"{name}-")
        place = tmp_path / name
        place.mkdir()
        (place / "a.xml").write_text(
            f'{head}<LexicalResource xmlns:dc="http://purl.org/dc/elements/1.1/">{lexicon}'
            "</LexicalResource>"
        )
        monkeypatch.setattr(wn.config, "data_directory", place)
        wn.add(place / "a.xml", progress_handler=None)
        corpus, reference = corpora.open_corpus(place), corpora.open_corpus(folder)
        for wnid in wnids:
            a, b = corpus.synset(f"{name}-{wnid[1:]}-n"), reference.synset(wnid)
            assert (a.lemmas, a.gloss) == (b.lemmas, b.gloss)
            assert [x.split("-")[-2] for x in a.hypernyms] == [x[1:] for x in b.hypernyms]
        labels = ["rache", "sleuth", "tom", "blue cat", "jack"]
        made = hierarchies.from_wordnet(labels, corpus=place)
        assert made == hierarchies.from_wordnet(labels, corpus=folder)
        with pytest.raises(ValueError, match="has no noun 'tomm'. Did you mean 'tom'"):
            hierarchies.from_wordnet(["tomm"], corpus=place)
        if name == "omw-en":
            assert hierarchies.from_wordnet([wnids[8]], corpus=place).categories == ("tom",)
            with pytest.raises(ValueError, match="has no synset 'omw-en-99999999-n'"):
                hierarchies.from_wordnet(["n99999999"], corpus=place)
        else:
            with pytest.raises(ValueError, match=r"other:1.4\) is another version"):
                hierarchies.from_wordnet([wnids[8]], corpus=place)


def test_meanings_are_chosen_as_promised(small_wordnet):
    folder, wnids = small_wordnet
    corpus = corpora.open_corpus(folder)

    def found(names):
        return [synset.id for synset in wordnet.look_up(names, corpus).values()]

    assert found(["jack"]) == [wnids[10]]  # the first meaning is no physical thing
    assert found(["abstraction"]) == [wnids[2]]  # there is no physical one
    assert found({"my jack": wnids[9], "b": "cur"}) == [wnids[9], wnids[6]]
    assert list(wordnet.look_up([wnids[9], wnids[10], "cur"], corpus)) == [
        *("jack (abstraction)", "jack (physical entity)", "cur")
    ]


def test_names_of_superclasses_keep_clear_of_categories(small_wordnet):
    folder, _ = small_wordnet

    def superclasses(names):
        made = hierarchies.from_wordnet(names, corpus=folder)
        check(made, names)
        return [node.label for node in made.superclasses]

    assert superclasses(["lapdog", "cur", "tom", "blue cat"]) == ["dog", "cat"]
    assert superclasses(["dog", "lapdog", "cur", "tom"]) == ["domestic dog"]
    own = hierarchies.from_wordnet(
        {"dog": "cur", "domestic dog": "lapdog", "cat": "tom", "True Cat": "blue cat"},
        corpus=folder,
    )
    assert [n.label for n in own.superclasses] == ["dog (superclass)", "cat (superclass)"]
    some = ["lapdog", "cur", "rache", "sleuth", "blue cat"]
    assert superclasses([*some, "tom"]) == ["dog (other)", "hound", "cat"]
    own = {**{name: name for name in some}, "dog other": "tom"}
    made = hierarchies.from_wordnet(own, corpus=folder)
    assert [n.label for n in made.superclasses] == ["dog (other 2)", "hound", "cat"]


@pytest.mark.parametrize(
    ("names", "options", "kind", "message"),
    [
        (["bagle"], {}, ValueError, "has no noun 'bagle'. Did you mean 'beagle'.* corpora of nltk"),
        (["n00000001"], {}, ValueError, "has no synset 'n00000001'. All of WordNet"),
        (["dog", "n02084071"], {}, ValueError, "'dog.*' is named twice"),
        (["dog", "dog"], {}, ValueError, "'dog' is named twice"),
        ([], {}, ValueError, "at least one category"),
        ("dog", {}, TypeError, "got 'dog' of type str"),
        ([3], {}, TypeError, "A label must be a string, got 3"),
        ({"a": 3}, {}, TypeError, "must be a noun or an id of WordNet, got 3"),
        ({"a": ["cat"]}, {}, TypeError, "must be a noun or an id of WordNet"),
        (["dog"], {"levels": 5}, ValueError, "2 to 4, got 5"),
        (["dog"], {"levels": True}, TypeError, "must be an integer, got True"),
        (["dog"], {"corpus": "/nowhere"}, ValueError, "no WordNet at '/nowhere'.*wn library"),
        (["dog"], {"corpus": __file__}, ValueError, "no WordNet at .*not a zip file"),
    ],
)
def test_bad_input_for_wordnet_is_refused(names, options, kind, message):
    with pytest.raises(kind, match=message):
        hierarchies.from_wordnet(names, **options)


def test_broken_corpora_are_refused(tmp_path, monkeypatch):
    wnids = write_wordnet(tmp_path / "new", version="3.1")
    with pytest.raises(ValueError, match=r"is an id of WordNet 3.0, and .*\(WordNet 3.1\)"):
        hierarchies.from_wordnet(wnids[:1], corpus=tmp_path / "new")
    assert hierarchies.from_wordnet(["cur"], corpus=tmp_path / "new").categories == ("cur",)

    circle = [(["a"], [1], ""), (["b"], [0], "")]
    write_wordnet(tmp_path / "circle", circle)
    with pytest.raises(ValueError, match="hypernyms of n0.* run in a circle"):
        hierarchies.from_wordnet(["a"], corpus=tmp_path / "circle")

    write_wordnet(tmp_path / "broken")
    data = tmp_path / "broken" / "data.noun"
    data.write_bytes(data.read_bytes().replace(b" @ ", b" @@@ 7 "))
    with pytest.raises((ValueError, KeyError), match="broken or of another version|n0"):
        hierarchies.from_wordnet(["cur"], corpus=tmp_path / "broken")
    data.write_text("something else")
    with pytest.raises(ValueError, match="data.noun is no file of WordNet"):
        hierarchies.from_wordnet(["cur"], corpus=tmp_path / "broken")
    (tmp_path / "broken" / "index.noun").unlink()
    with pytest.raises(ValueError, match="There is no WordNet at"):
        hierarchies.from_wordnet(["cur"], corpus=tmp_path / "broken")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("something", "else")
    with pytest.raises(ValueError, match=r"no data\.noun in it"):
        hierarchies.from_wordnet(["cur"], corpus=tmp_path / "a.zip")
    monkeypatch.setattr(corpora, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="more than 10"):
        hierarchies.from_wordnet(["cur"], corpus=tmp_path / "new")
    (tmp_path / "wn.db").touch()
    monkeypatch.setitem(sys.modules, "wn", None)
    with pytest.raises(ImportError, match="pip install wn"):
        hierarchies.from_wordnet(["cur"], corpus=tmp_path)


@st.composite
def hanging(draw):
    """Things that hang in a random tree: for each the nodes from the root down."""
    parents = [None, *(draw(st.integers(0, i)) for i in range(draw(st.integers(1, 6))))]
    paths = []
    for i in range(len(parents)):
        path = [i]
        while parents[path[0]] is not None:
            path.insert(0, parents[path[0]])
        paths.append([str(x) for x in path])
    return draw(st.lists(st.sampled_from(paths), min_size=2, max_size=9))


def price(paths, assignment, target: int) -> float:
    """What a division costs, straight from its definition; infinite for one not allowed."""
    total = 0
    for id_ in set(assignment) - {None}:
        size = assignment.count(id_)
        if size < 2 or size == len(paths):
            return np.inf
        remainder = size < sum(id_ in path for path in paths)
        total += 2 * size**2 + (3 if remainder else 2) * target**2
    return total + assignment.count(None) * (2 + 2 * target**2)


@settings(max_examples=150)
@given(paths=hanging(), target=st.integers(2, 5))
def test_a_division_is_the_cheapest_of_all(paths, target):
    nodes = sorted({node for path in paths for node in path})
    best = np.inf
    for count in range(len(nodes) + 1):
        for chosen in itertools.combinations(nodes, count):
            nearest = [next((x for x in path[::-1] if x in chosen), None) for path in paths]
            if set(nearest) - {None} == set(chosen):
                best = min(best, price(paths, nearest, target))
    assert price(paths, wordnet.partition(paths, target), target) == best


@settings(max_examples=30)
@given(data=st.data())
def test_any_part_of_imagenet_can_be_grouped(data):
    labels = hierarchies.subset("imagenet1k")
    some = data.draw(st.lists(st.sampled_from(labels), min_size=2, max_size=60, unique=True))
    levels = data.draw(st.integers(2, 4))
    made = hierarchies.from_wordnet(some, levels=levels)
    check(made, some, levels)
    assert made == hierarchies.from_wordnet(some, levels=levels)
    again = hierarchies.from_wordnet(sorted(some), levels=levels)
    assert len(again.superclasses) == len(made.superclasses)


# Ready tables and subsets


def test_the_tables_are_whole_and_made_by_the_stated_rule():
    rows = list(corpora.table("imagenet1k.tsv"))
    labels = [row[1] for row in rows]
    assert len(rows) == len({make_id(label) for label in labels}) == 1000
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)  # ImageNet's order
    corpus = corpora.open_corpus()
    paths = [corpus.path(row[0]) for row in rows]
    assert [" > ".join(s.lemmas[0] for s in path) for path in paths] == [row[2] for row in rows]
    assert {path[0].lemmas for path in paths} == {("entity",)}
    for levels, column in ((2, 3), (3, 4), (4, 5)):
        above = wordnet.superclasses(labels, paths, levels)
        assert [" > ".join(names) for names in above] == [row[column] for row in rows]
    used = {synset.id for path in paths for synset in path}
    assert used == {row[0] for row in corpora.table("wordnet_nouns.tsv")}


def test_the_tables_are_small_and_carry_their_license(root):
    tables = root / "keras_seqpar" / "tables"
    assert sum(len(gzip.compress(p.read_bytes())) for p in tables.iterdir()) < 300_000
    license = (tables / "WORDNET_LICENSE.txt").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in license
    for name in ("imagenet1k.tsv", "wordnet_nouns.tsv"):
        assert "WORDNET_LICENSE.txt" in (tables / name).read_text().split("\n")[1]


@pytest.mark.parametrize(
    ("name", "wnid"),
    [
        ("mouse", "n03793489"),  # a label of ImageNet-1k: the computer's
        ("seal", "n02076196"),  # the ninth meaning, but ImageNet-1k has sea lions
        ("Golden Retriever", "n02099601"),
        ("domestic dog", "n02084071"),
        ("crane", "n03126707"),  # the lifting device is the more usual of the two
    ],
)
def test_nouns_mean_what_imagenet_shows(name, wnid):
    assert [s.id for s in wordnet.look_up([name], corpora.open_corpus()).values()] == [wnid]


def test_known_categories_have_known_ids():
    labels = hierarchies.subset("imagenet1k")
    index = dict(zip(hierarchies.wnids("imagenet1k"), labels, strict=True))
    for wnid, label in {
        "n01440764": "tench",
        "n02123045": "tabby",
        "n02012849": "crane (wading bird)",
        "n03126707": "crane (lifting device)",
        "n02113186": "Cardigan (corgi)",
        "n02963159": "cardigan (sweater)",
        "n03710637": "maillot (tights)",
        "n03710721": "maillot (swimsuit)",
        "n15075141": "toilet tissue",
    }.items():
        assert index[wnid] == label
    assert labels.index("Egyptian cat") == 285  # as in Keras and timm
    assert hierarchies.subset("imagenette")[:2] == ("tench", "English springer")
    assert hierarchies.wnids("imagewoof")[-1] == "n02115641"
    assert [len(hierarchies.subset(n)) for n in ("imagenette", "imagewoof", "meow")] == [10, 10, 5]
    from keras_seqpar.data.loading import IMAGENETTE

    ids = hierarchies.wnids("imagenette")
    assert dict(zip(ids, hierarchies.subset("imagenette"), strict=True)) == IMAGENETTE


@pytest.mark.parametrize("levels", [2, 3, 4])
@pytest.mark.parametrize("name", ["imagenette", "imagewoof", "imagenet1k", "meow"])
def test_ready_hierarchies_are_those_of_wordnet(name, levels):
    made = hierarchies.ready(name, levels=levels)
    labels = hierarchies.subset(name)
    check(made, labels, levels)
    assert made == hierarchies.from_wordnet(labels, levels=levels)
    assert made == hierarchies.from_wordnet(hierarchies.wnids(name), levels=levels)
    assert made.depth == {"imagenet1k": levels, "meow": 1}.get(name, min(levels, 3))
    assert hierarchies.ready(name, levels=1) == Hierarchy.of(labels)


def test_imagenet_is_grouped_evenly_and_with_sense():
    for levels, counts in ((2, [32]), (3, [11, 99]), (4, [5, 29, 175])):
        made = hierarchies.ready("imagenet1k", levels=levels)
        at = [made.level(node) for node in made.superclasses]
        assert [at.count(level) for level in range(1, levels)] == counts
        for node in made.superclasses:
            children = len(node.children)
            assert 2 <= children <= 4 * 1000 ** (1 / levels)
    three = hierarchies.ready("imagenet1k", levels=3)
    cats = hierarchies.subset("meow")
    assert three.prune(cats).superclasses[-1].label == "feline"
    for label, superclass in {
        "beagle": "hound",
        "monarch": "butterfly",
        "French horn": "wind instrument",
        "banana": "edible fruit",
        "ambulance": "car",
    }.items():
        assert three.path(three.find(label))[-2].label == superclass


@pytest.mark.parametrize("function", [hierarchies.subset, hierarchies.wnids, hierarchies.ready])
def test_unknown_subsets_and_levels_are_refused(function):
    with pytest.raises(ValueError, match=r"Did you mean 'imagewoof'\? Valid: imagenette, imagew"):
        function("imagewoofs")
    with pytest.raises(ValueError, match="Unknown subset 3"):
        function(3)
    for levels, message in ((0, "1 to 4, got 0"), (5, "1 to 4, got 5")):
        with pytest.raises(ValueError, match=message):
            hierarchies.ready("meow", levels=levels)


# Trained networks and controls


def planted(seed: int, clusters: int = 4, size: int = 5):
    """Labels, features and confusions in which categories i and j with i = j mod clusters go
    together."""
    rng = np.random.default_rng(seed)
    of = np.arange(clusters * size) % clusters
    labels = [f"cat {i}" for i in range(len(of))]
    features = 3 * rng.normal(size=(clusters, 12))[of] + 0.3 * rng.normal(size=(len(of), 12)) + 7
    confusion = rng.uniform(0, 0.5, (len(of), len(of))) + 5 * (of[:, None] == of)
    np.fill_diagonal(confusion, 200)
    wanted = {
        frozenset(label for label, c in zip(labels, of, strict=True) if c == k) for k in set(of)
    }
    return labels, features, confusion, wanted


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 1000))
def test_similarity_finds_planted_groups(method, seed):
    labels, features, confusion, wanted = planted(seed)
    options = {"superclasses": 4, "method": method}
    made = hierarchies.similarity(labels, features=features, **options)
    check(made, labels, 2)
    assert groups(made) == wanted
    if method != "ward":
        assert groups(hierarchies.similarity(labels, confusion=confusion, **options)) == wanted
        counts = confusion * np.arange(1, 21)[:, None]  # more images of some categories
        assert groups(hierarchies.similarity(labels, confusion=counts, **options)) == wanted


@given(seed=st.integers(0, 1000), levels=st.integers(2, 4))
def test_similarity_does_not_depend_on_order_scale_or_offset(seed, levels):
    labels, features, confusion, _ = planted(seed, clusters=6, size=4)
    made = hierarchies.similarity(labels, features=features, levels=levels)
    check(made, labels, levels)
    order = np.random.default_rng(seed).permutation(len(labels))
    mixed = [labels[i] for i in order]
    again = hierarchies.similarity(mixed, features=9 * features[order] - 5, levels=levels)
    check(again, mixed, levels)
    assert groups(again) == groups(made)
    a = hierarchies.similarity(labels, confusion=confusion, levels=levels)
    b = hierarchies.similarity(mixed, confusion=confusion[order][:, order], levels=levels)
    assert groups(a) == groups(b)


def test_clusters_have_the_count_that_was_asked_for():
    labels, features, _, _ = planted(0, clusters=10, size=4)
    for wanted in range(2, 40):
        made = hierarchies.similarity(labels, features=features, superclasses=wanted)
        assert len(made.roots) == wanted  # categories that are clusters by themselves included


def test_superclasses_are_numbered_by_place():
    made = hierarchies.similarity(
        ["a", "b", "c", "d", "e", "f"],
        features=[[0, 0], [9, 0], [0, 1], [9, 1], [0, 9], [9, 9]],
        superclasses=2,
        levels=3,
        method="complete",
    )
    labels = [node.label for node in made.superclasses]
    assert labels[0] == "superclass 1"
    assert all(re.fullmatch(r"superclass \d(\.\d)?", label) for label in labels)


def distance_within(hierarchy: Hierarchy, points: np.ndarray) -> float:
    """Mean distance of two categories with the same parent, weighted by pairs."""
    place = {label: i for i, label in enumerate(hierarchy.categories)}
    found = []
    for node in hierarchy.superclasses:
        inside = [points[place[n.label]] for n in node.walk() if n.is_category]
        found += [np.linalg.norm(a - b) for a, b in itertools.combinations(inside, 2)]
    return float(np.mean(found))


@given(seed=st.integers(0, 1000))
def test_controls_are_less_alike_than_groups_and_chance(seed):
    labels, features, confusion, wanted = planted(seed)
    unit = features - features.mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    alike = hierarchies.similarity(labels, features=features, superclasses=4)
    tree = Hierarchy.of({f"group {i}": sorted(group) for i, group in enumerate(wanted)})
    chance = [
        distance_within(hierarchies.random(labels, superclasses=4, seed=s), unit) for s in range(5)
    ]
    for source in ({"features": features}, {"confusion": confusion}, {"hierarchy": tree}):
        apart = hierarchies.dissimilar(labels, superclasses=4, **source)
        check(apart, labels, 2)
        assert sorted(len(group) for group in groups(apart)) == [5, 5, 5, 5]
        # 5 categories dealt from 4 groups of 5: at most one pair of each group comes together
        for group in groups(apart):
            assert max(len(group & inside) for inside in wanted) <= 2
        assert distance_within(alike, unit) < np.mean(chance) < distance_within(apart, unit)


@given(
    count=st.integers(6, 40),
    levels=st.integers(2, 3),
    seed=st.integers(0, 2**40),
    data=st.data(),
)
def test_chance_is_even_and_repeatable(count, levels, seed, data):
    labels = [f"cat {i}" for i in range(count)]
    superclasses = data.draw(st.integers(2, max(2, count // 2 if levels == 2 else count // 4)))
    options = {"superclasses": superclasses, "levels": levels}
    made = hierarchies.random(labels, seed=seed, **options)
    check(made, labels, levels)
    assert made == hierarchies.random(labels, seed=seed, **options)
    sizes = [sum(n.is_category for n in root.walk()) for root in made.roots]
    assert len(sizes) == superclasses and max(sizes) - min(sizes) <= 1


def test_chance_depends_on_the_seed():
    labels = [f"cat {i}" for i in range(20)]
    made = {str(hierarchies.random(labels, seed=seed)) for seed in range(20)}
    assert len(made) == 20


@pytest.mark.parametrize(
    ("categories", "superclasses", "levels", "counts"),
    [
        (100, None, 2, [10]),
        (1000, None, 3, [10, 100]),
        (1000, 8, 2, [8]),
        (1000, 10, 4, [10, 46, 215]),
        (10, None, 3, [2, 4]),
        (3, None, 2, [2]),
    ],
)
def test_levels_grow_by_equal_ratios(categories, superclasses, levels, counts):
    assert superclass_counts(categories, superclasses, levels) == counts


FOUR = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("function", "options", "kind", "message"),
    [
        ("similarity", {}, ValueError, "either confusion or features"),
        ("similarity", {"confusion": 1, "features": 1}, ValueError, "either confusion or feat"),
        ("similarity", {"features": np.zeros((3, 2))}, ValueError, r"4 labels, got shape \(3, 2\)"),
        ("similarity", {"features": np.zeros((4, 0))}, ValueError, r"got shape \(4, 0\)"),
        ("similarity", {"features": np.full((4, 2), np.nan)}, ValueError, "must be finite"),
        ("similarity", {"features": [["x"]]}, ValueError, "could not convert"),
        ("similarity", {"confusion": np.ones((4, 5))}, ValueError, "square .* shape \\(4, 5\\)"),
        ("similarity", {"confusion": -np.eye(4)}, ValueError, "0 or more, .* values from -1"),
        ("similarity", {"confusion": np.diag([1, 0, 1, 0])}, ValueError, "no images of b, d"),
        ("similarity", {"features": np.eye(4), "method": "x"}, ValueError, "'x'. Valid: average"),
        ("similarity", {"confusion": np.eye(4), "method": "ward"}, ValueError, "give features"),
        ("similarity", {"features": np.eye(4), "superclasses": 1}, ValueError, "at least 2"),
        ("similarity", {"features": np.eye(4), "superclasses": 4}, ValueError, "cannot be nested"),
        ("similarity", {"features": np.eye(4), "superclasses": 2.0}, TypeError, "integer or None"),
        ("similarity", {"features": np.eye(4), "levels": 4}, ValueError, "over 4 split-points"),
        ("similarity", {"features": np.eye(4), "levels": 1}, ValueError, "2 to 4, got 1"),
        ("dissimilar", {}, ValueError, "either confusion or features"),
        ("dissimilar", {"hierarchy": FOUR}, TypeError, "must be a Hierarchy"),
        ("dissimilar", {"hierarchy": Hierarchy.of(["a", "x"])}, ValueError, "has b, c, d, x"),
        (
            "dissimilar",
            {"hierarchy": Hierarchy.of(FOUR), "features": np.eye(4)},
            ValueError,
            "one of confusion, features and hierarchy",
        ),
        ("random", {"seed": 1.5}, TypeError, "seed must be an integer, got 1.5"),
        ("random", {"seed": True}, TypeError, "seed must be an integer"),
        ("random", {"seed": -1}, ValueError, "0 or more, got -1"),
        ("random", {"seed": 0, "superclasses": 0}, ValueError, "with 0 superclasses"),
    ],
)
def test_bad_input_for_clusters_is_refused(function, options, kind, message):
    with pytest.raises(kind, match=message):
        getattr(hierarchies, function)(FOUR, **options)


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        ("abc", TypeError, "got 'abc' of type str"),
        (["a", "A"], ValueError, "both become the id 'a'"),
        ({"a": ["b", "c"]}, ValueError, "must be a flat list"),
        ({"a", "b", "c"}, TypeError, "A set has no order"),
        (["superclass 1", "b", "c", "d"], ValueError, "'superclass 1' is both a superclass"),
    ],
)
def test_bad_labels_are_refused(labels, kind, message):
    with pytest.raises(kind, match=message):
        hierarchies.random(labels, seed=0)


@pytest.mark.only_backend("torch")  # the same lines everywhere, and TensorFlow takes long to import
def test_nothing_is_imported_that_is_not_needed():
    names = ("scipy", "yaml", "matplotlib", "wn", "tensorflow_datasets", "sklearn")
    shown = f"import sys; print(*[n for n in {names} if n in sys.modules])"
    used = "from keras_seqpar import hierarchies, plots; hierarchies.ready('imagewoof')"
    loaded = [
        set(subprocess.check_output([sys.executable, "-c", f"{line}; {shown}"], text=True).split())
        for line in ("import keras", used)
    ]
    assert loaded[1] <= loaded[0]  # what Keras and its backend import does not count
