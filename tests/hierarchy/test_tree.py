import json
import random
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_seqpar.hierarchy.tree import Hierarchy, Node
from tests import harness

PETS = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("", "The label '' is empty. Give every category a name."),
        ("  \u3000", "is empty"),
        ("a\nb", r"The label 'a\\nb' has the control character '\\n'. A label is one line"),
        ("cat\n", "control character"),
        ("a\tb", "control character"),
        ("a\u2028b", "control character"),
        ("\x00", "control character"),
        (
            "cat\u200b",
            r"the invisible character U\+200B \(ZERO WIDTH SPACE\), so that it looks like",
        ),
        ("\ufeff3", r"the invisible character U\+FEFF"),
        ("\u202ecat", r"the invisible character U\+202E \(RIGHT-TO-LEFT OVERRIDE\)"),
        ("caf\udce9", "is no valid text: the name of its file or folder is not in UTF-8"),
        ("x" * 1001, "has 1001 characters. At most 1000 are allowed"),
    ],
)
def test_what_can_be_no_label_is_refused(label, message):
    for source in (["cat", label], {label: ["a", "b"]}, {"a": {"b": None, label: None}}):
        with pytest.raises(ValueError, match=message):
            Hierarchy.of(source)
    with pytest.raises(ValueError, match=message):
        Hierarchy.of(["cat"]).add(label)
    assert Hierarchy.of(["cat", label.replace(label, "x" * 1000)])


SETS = [
    ["C", "C++", "C#", "c"],
    ["3", "C3", "c3"],
    ["猫1", "犬1", "1"],
    ["a b", "a_b", "A-B", "a+b"],
    ["Polish", "polish", "POLISH"],
    ["кот", "кит", "Кот"],
    ["👍", "👍🏽", "👍🏿", "👩‍🚀", "👩🚀", "❤️", "❤"],
    ["?", "!", "...", "+", "-", "_"],
    ["Å", "Ä", "A"],
    ["कि", "कु"],
    ["שלום", "سلام", "می‌خواهم"],
    ["x" * 1000, "x" * 999 + "y"],
]


@pytest.mark.parametrize("labels", SETS)
def test_every_label_gets_an_id_of_its_own(labels):
    tree = Hierarchy.of(labels)
    assert tree.categories == tuple(labels)
    assert len(set(tree.category_ids)) == len(labels)
    assert all(re.fullmatch("[a-z][a-z0-9_]{0,149}", id_) for id_ in tree.category_ids)
    assert [tree.find(label).label for label in labels] == labels
    back = Hierarchy.of(labels[::-1])
    assert {n.label: n.id for n in back.nodes} == {n.label: n.id for n in tree.nodes}
    nested = Hierarchy.of({labels[0]: labels[1:], "other": None})
    assert {n.id for n in nested.nodes} == {*tree.category_ids, "other"}
    assert Hierarchy.from_config(json.loads(json.dumps(tree.get_config()))) == tree
    for keep in ([labels[-1]], labels[::-1]):
        pruned = tree.prune(keep)
        assert pruned.category_ids == tuple(tree.find(label).id for label in keep)


@pytest.mark.parametrize("labels", SETS)
def test_labels_that_come_one_by_one_keep_the_ids_of_the_others(labels):
    grown = joined = Hierarchy.of(labels[:1])
    for label in labels[1:]:
        before = grown.category_ids
        grown = grown.add(label)
        joined = joined.merge(Hierarchy.of([label]))
        assert grown.category_ids[:-1] == before
        assert grown.find(label).label == label
    assert grown.categories == joined.categories == tuple(labels)
    assert grown == joined and len(set(grown.category_ids)) == len(labels)
    with pytest.raises(ValueError, match="is named twice"):
        grown.add(f" {labels[-1]}")
    with pytest.raises(ValueError, match="is named twice"):
        grown.merge(Hierarchy.of([labels[-1]]))


def test_a_label_is_found_before_an_id():
    tree = Hierarchy.of(["a b"]).add("a_b")
    assert tree.category_ids[0] == "a_b" != tree.category_ids[1]
    assert tree.find("a_b") is tree.nodes[1] and tree.node("a_b") is tree.nodes[0]
    assert tree.prune(["a_b"]).categories == ("a_b",)
    assert tree.subtree(["a_b"]).categories == ("a b",)
    assert tree.find(tree.category_ids[1]).label == "a_b"


@pytest.mark.parametrize("one", ["café", "がぎ", "각"])
def test_labels_are_compared_in_one_unicode_form(one):
    other = unicodedata.normalize("NFD", one)
    assert one != other
    tree, twin = Hierarchy.of({"top": [one, "dog"]}), Hierarchy.of({"top": [f" {other} ", "dog"]})
    assert tree == twin and tree.categories == twin.categories == (one, "dog")
    assert tree.find(other) is tree.find(one) and tree.prune([other]).categories == (one,)
    assert Node(other, id="x").label == one
    for repeat in (lambda: Hierarchy.of([one, other]), lambda: tree.add(other)):
        with pytest.raises(ValueError, match=f"'{one}' is named twice"):
            repeat()
    other_tree = Hierarchy.of({"x": [f"x{other}"], f"{other}{other}": None})
    assert other_tree.merge(tree).find(other).label == one


@pytest.mark.parametrize("label", [3, None, ("a",), b"cat", 1.5])
def test_a_label_must_be_text(label):
    with pytest.raises(TypeError, match=f"must be a string, got {re.escape(repr(label))} of type"):
        Hierarchy.of(["cat", label])
    with pytest.raises(TypeError, match="must be a string"):
        Node(label, id="x")


def test_a_flat_hierarchy():
    tree = Hierarchy.of(["tench", "French horn"])
    assert tree.categories == ("tench", "French horn")
    assert tree.category_ids == ("tench", "french_horn")
    assert tree.depth == 1
    assert tree.superclasses == ()
    assert [node.is_category for node in tree.nodes] == [True, True]


def test_a_nested_hierarchy():
    tree = Hierarchy.of(PETS)
    assert tree.categories == ("cat", "dog", "car", "bus", "ship", "tree")
    assert tree.depth == 3
    assert [node.id for node in tree.superclasses] == ["pets", "vehicles", "road"]
    order = ["pets", "cat", "dog", "vehicles", "road", "car", "bus", "ship", "tree"]
    assert [node.id for node in tree.nodes] == order
    assert [node.id for node in tree.path(tree.find("bus"))] == ["vehicles", "road", "bus"]
    assert [tree.level(tree.find(n)) for n in ("tree", "cat", "road", "bus")] == [1, 2, 2, 3]


@pytest.mark.parametrize(
    "source",
    [
        ("a", "b"),
        ["a", "b"],
        {"a": None, "b": None},
        iter(["a", "b"]),
        [{"a": None}, "b"],
        {"a": None, "b": None}.keys(),
    ],
)
def test_the_ways_to_write_a_flat_hierarchy(source):
    assert Hierarchy.of(source) == Hierarchy([Node("a"), Node("b")])


def test_mixed_lists_and_mappings():
    assert Hierarchy.of(["x", {"s": ["y", {"t": ("z",)}]}]) == Hierarchy.of(
        {"x": None, "s": {"y": None, "t": ["z"]}}
    )


def test_a_hierarchy_is_returned_as_it_is():
    tree = Hierarchy.of(PETS)
    assert Hierarchy.of(tree) is tree


def test_printing():
    assert str(Hierarchy.of(PETS)) == "\n".join(
        [
            "3 split-points, 6 categories",
            "├── pets",
            "│   ├── cat",
            "│   └── dog",
            "├── vehicles",
            "│   ├── road",
            "│   │   ├── car",
            "│   │   └── bus",
            "│   └── ship",
            "└── tree",
        ]
    )
    assert str(Hierarchy.of(["Zoë"])) == "1 split-point, 1 category\n└── Zoë"
    assert repr(Hierarchy.of(["a", "b"])) == "<Hierarchy: depth 1, categories a, b>"


def test_names_are_labels_or_ids():
    tree = Hierarchy.of(["French horn", "3"])
    assert tree.find("French horn") is tree.find("french_horn")
    assert tree.find("3") is tree.find("c3")


def test_a_chosen_order_is_kept():
    tree = Hierarchy.of(["a", "b", "c"])
    assert tree.select(["c", "a"]) == ("c", "a")
    assert tree.prune(("c", "a")).categories == ("c", "a")
    assert [node.id for node in tree.prune(["c", "a"]).nodes] == ["c", "a"]


def test_a_superclass_stands_for_its_categories_in_logit_order():
    tree = Hierarchy(Hierarchy.of(PETS).roots, ["bus", "tree", "dog", "car", "cat", "ship"])
    assert tree.select(["vehicles", "cat"]) == ("bus", "car", "ship", "cat")
    assert tree.select(["pets"]) == ("dog", "cat")


def test_pruning_drops_superclasses_without_a_kept_category():
    tree = Hierarchy.of(PETS).prune(["ship", "cat"])
    assert str(tree) == "\n".join(
        ["2 split-points, 2 categories"]
        + ["├── pets", "│   └── cat", "└── vehicles", "    └── ship"]
    )
    assert tree.categories == ("ship", "cat")


@settings(max_examples=100)
@given(st.data())
def test_pruning_keeps_exactly_what_leads_to_the_chosen(data):
    tree = data.draw(harness.trees())
    names = data.draw(harness.choices(tree))
    pruned = tree.prune(names)
    chosen = tree.select(names)
    assert pruned.category_ids == chosen
    kept = {node.id for id_ in chosen for node in tree.path(tree.find(id_))}
    assert {node.id for node in pruned.nodes} == kept
    for node in pruned.nodes:
        above = [n.id for n in tree.path(tree.find(node.id))]
        assert [n.id for n in pruned.path(node)] == above
        assert node.label == tree.find(node.id).label
    again = data.draw(harness.choices(pruned))
    assert pruned.prune(again) == tree.prune(pruned.select(again))
    assert pruned.prune(pruned.categories) == pruned


@settings(max_examples=100)
@given(harness.trees())
def test_a_hierarchy_survives_json(tree):
    again = Hierarchy.from_config(json.loads(json.dumps(tree.get_config())))
    assert again == tree and hash(again) == hash(tree)
    assert again.categories == tree.categories
    assert str(again) == str(tree)
    assert tree.prune(tree.category_ids) == tree


def test_equality_is_by_value():
    tree = Hierarchy.of(["a", "b"])
    assert tree == Hierarchy.of(("a", "b"))
    assert tree != Hierarchy.of(["b", "a"])
    assert tree != Hierarchy.of(["A", "b"])  # same ids, other labels
    assert tree != Hierarchy(tree.roots, ["b", "a"])
    assert tree != "a, b"
    assert len({tree, Hierarchy.of(["a", "b"])}) == 1


def test_hostile_names_stay_apart():
    tree = Hierarchy.of(harness.HOSTILE)
    assert len({node.id for node in tree.nodes}) == len(harness.HOSTILE)
    assert tree.categories == harness.HOSTILE


@pytest.mark.parametrize("source", [[], {}, (), iter([])])
def test_no_category_is_refused(source):
    with pytest.raises(ValueError, match="needs at least one category, got none"):
        Hierarchy.of(source)


@pytest.mark.parametrize("source", ["cat", 3, None, b"cat", {"pets": "cat"}, {"pets": 3}])
def test_other_data_is_refused(source):
    given_ = source["pets"] if isinstance(source, dict) else source
    text = f"list of labels or a mapping .*got {re.escape(repr(given_))} of type"
    with pytest.raises(TypeError, match=text):
        Hierarchy.of(source)


@pytest.mark.parametrize("source", [{"b", "a"}, {"pets": {"cat", "dog"}}, frozenset("ab")])
def test_a_set_is_refused_because_it_has_no_order(source):
    with pytest.raises(TypeError, match="A set has no order"):
        Hierarchy.of(source)


def test_repeated_names_are_refused():
    with pytest.raises(
        ValueError, match=r"'a' is named twice. Every name may be used once in a tree"
    ):
        Hierarchy.of(["a", "b", "a"])
    with pytest.raises(ValueError, match="'cat' is named twice"):
        Hierarchy.of({"x": ["cat"], "y": ["cat"]})
    with pytest.raises(ValueError, match="'pets' is both a superclass and a category"):
        Hierarchy.of({"pets": ["cat", "pets"]})


def test_two_nodes_of_one_id_are_refused():
    text = "The nodes 'cat' and 'dog' have the same id 'pet'. Give one of them another id"
    with pytest.raises(ValueError, match=text):
        Hierarchy([Node("cat", id="pet"), Node("dog", id="pet")])


@pytest.mark.parametrize("below", [[], {}, ()])
def test_a_superclass_without_children_is_refused(below):
    with pytest.raises(ValueError, match=r"The superclass 'pets' has no children. Give it"):
        Hierarchy.of({"pets": below, "car": None})


def test_a_tree_that_contains_itself_is_refused():
    loop: dict = {"a": ["x"]}
    loop["b"] = {"c": loop}
    with pytest.raises(ValueError, match="contains itself: a superclass is its own descendant"):
        Hierarchy.of(loop)
    ring: list = ["x"]
    ring.append({"a": ring})
    with pytest.raises(ValueError, match="contains itself"):
        Hierarchy.of(ring)


def test_an_order_that_is_none_is_refused():
    tree = Hierarchy.of(["a", "b"])
    for order in (["a"], ["a", "a"], ["a", "b", "c"], []):
        with pytest.raises(ValueError, match="is no reordering of the tree's leaves"):
            Hierarchy(tree.roots, order)


@pytest.mark.parametrize("id_", ["3", "A", "a/b", "_a", "a b", "é"])
def test_a_bad_id_is_refused(id_):
    with pytest.raises(ValueError, match=re.escape(f"The node id {id_!r} of 'x'")):
        Node("x", id=id_)


def test_a_label_shared_by_two_ids_cannot_be_looked_up():
    tree = Hierarchy([Node("crane", id="n02012849"), Node("crane", id="n03126707")])
    assert tree.categories == ("crane", "crane")
    assert tree.select(["n03126707"]) == ("n03126707",)
    with pytest.raises(
        ValueError, match=r"'crane' means several nodes. Choose an id: n02012849, n03126707\."
    ):
        tree.find("crane")


def test_unknown_names_get_the_nearest_match_and_the_list():
    tree = Hierarchy.of(PETS)
    text = (
        "Unknown category or superclass 'vehicle'. Did you mean 'vehicles'? "
        "Valid: pets, cat, dog, vehicles, road, car, bus, ship, tree."
    )
    for call in (tree.find, lambda name: tree.select([name]), lambda name: tree.prune([name])):
        with pytest.raises(ValueError) as e:
            call("vehicle")
        assert str(e.value) == text
    with pytest.raises(ValueError, match=r"^Unknown category or superclass 'xyzzy'\. Valid: pets"):
        tree.find("xyzzy")
    with pytest.raises(ValueError, match=r"Unknown category or superclass 7. Valid"):
        tree.select([7])


@pytest.mark.parametrize("name", [["cat"], {"cat": 1}, ["a", "b"]])
def test_a_name_that_is_a_container_is_refused(name):
    with pytest.raises(ValueError, match=re.escape(f"superclass {name!r}")):
        Hierarchy.of(["cat", "dog"]).select([name])


def test_choosing_twice_is_refused():
    tree = Hierarchy.of(PETS)
    for names, label, last in (
        (["cat", "dog", "cat"], "cat", "cat"),
        (["cat", "pets"], "cat", "pets"),
        (["road", "car"], "car", "car"),
    ):
        text = f"The category '{label}' is chosen twice \\(last by '{last}'\\). Name each"
        with pytest.raises(ValueError, match=text):
            tree.select(names)


def test_choosing_nothing_is_refused():
    with pytest.raises(ValueError, match=r"Choose at least one category. Valid: cat, dog, car"):
        Hierarchy.of(PETS).select([])


def test_choosing_needs_a_sequence():
    tree = Hierarchy.of(["cat", "dog"])
    with pytest.raises(TypeError, match=r"sequence of names, got 'cat'. Write \['cat'\] for one"):
        tree.select("cat")
    for names in (None, 3):
        with pytest.raises(TypeError, match=f"categories must be a sequence of names, got {names}"):
            tree.select(names)
    with pytest.raises(TypeError, match="A set has no order"):
        tree.select({"cat", "dog"})


def test_large_trees_are_quick_to_walk():
    labels = [f"n{i}" for i in range(3000)]
    random.Random(0).shuffle(labels)
    tree = Hierarchy.of({f"s{i}": labels[i * 30 : i * 30 + 30] for i in range(100)})
    assert tree.categories == tuple(labels)
    assert tree.prune(labels[::-1]).categories == tuple(labels[::-1])
