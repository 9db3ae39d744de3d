import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_seqpar.hierarchy.tree import Hierarchy, Node
from tests import harness

PETS = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}


@pytest.mark.parametrize("label", ["", "   ", "!?", "猫", "_"])
def test_a_label_without_letter_or_digit_is_refused(label):
    with pytest.raises(ValueError, match=r"no letter a-z and no digit. Give the category a label"):
        Hierarchy.of(["cat", label])


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


def test_two_labels_of_one_id_are_refused():
    text = "The labels 'French horn' and 'french-horn' both become the id 'french_horn'. Rename"
    with pytest.raises(ValueError, match=text):
        Hierarchy.of(["French horn", "french-horn"])


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
