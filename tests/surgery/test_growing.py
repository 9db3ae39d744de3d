"""add_category and merge: the ways back from a cutout."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_seqpar as sp
from keras_seqpar import presets
from keras_seqpar.networks.parts import find_parts
from tests import harness

NESTED = {"pets": ["cat", "dog"], "vehicles": {"land": ["car"]}, "tree": None}
SMALL = {"family": "resnet18", "input_shape": (32, 32, 3), "stem": "small", "seed": 0}


def hierarchy(model: keras.Model) -> sp.Hierarchy:
    return model.get_layer("categories").hierarchy


@settings(max_examples=5)
@given(st.data())
def test_adding_keeps_all_logits_and_removing_is_the_identity(data):
    tree = data.draw(harness.trees(max_depth=3, max_categories=4))
    model = harness.network(tree)
    level_of = {tree.level(node) for node in tree.nodes if node.is_category}
    parents = [None, *(node.label for node in tree.superclasses)]
    fitting = [p for p in parents if (1 if p is None else 1 + tree.level(tree.find(p))) in level_of]
    parent = data.draw(st.sampled_from(fitting))
    bigger = sp.add_category(model, "newcomer", parent=parent, seed=1)
    x = harness.images(model)
    assert hierarchy(bigger).categories == (*tree.categories, "newcomer")
    before = harness.logits(model, x)
    assert np.array_equal(harness.logits(bigger, x)[:, :-1], before)
    removed = sp.cutout(bigger, tree.categories)
    assert hierarchy(removed) == tree
    assert np.array_equal(harness.logits(removed, x), before)
    harness.check_names(bigger)


@pytest.mark.parametrize(("one", "other"), [("3", "C3"), ("Polish", "polish")])
def test_categories_of_similar_labels_can_be_added_and_merged(one, other, tmp_path):
    model = harness.network([one])
    grown = sp.add_category(model, other)
    with pytest.raises(ValueError, match="is named twice"):
        sp.add_category(grown, other)
    harness.randomize(grown.get_layer(f"branch_{hierarchy(grown).find(other).id}"))
    alone = sp.cutout(grown, [other], copy=True)
    first, twin = harness.build([one]), harness.build([other])
    for net, source in ((first, model), (twin, alone)):
        values = [harness.array(w) for w in source.weights]
        net.set_weights(values)
    both = sp.merge(first, twin)
    x = harness.images(model)
    assert hierarchy(both) == hierarchy(grown) and hierarchy(both).categories == (one, other)
    assert np.array_equal(harness.logits(both, x), harness.logits(grown, x))
    harness.check_names(both)
    grown.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    cut = sp.cutout(again, [other])
    assert hierarchy(cut).categories == (other,)
    assert np.array_equal(harness.logits(cut, x)[:, 0], harness.logits(grown, x)[:, 1])


def test_a_new_branch_equals_one_built_with_the_network(tmp_path):
    model = harness.build(["a", "b"], seed=3, drop_path_rate=0.2)
    grown = sp.add_category(model, "c", seed=3)
    built = harness.build(["a", "b", "c"], seed=3, drop_path_rate=0.2)
    x = harness.images(model)
    assert np.array_equal(harness.predict(grown, x), harness.predict(built, x))
    harness.randomize(grown)
    harness.check_network(grown, tmp_path)


def test_the_new_branch_is_neutral_and_trainable_whatever_its_twin_is():
    model = sp.attend(harness.build(["a", "b"]), {"a": 2.0})
    model.get_layer("branch_a").trainable = False
    branch = sp.add_category(model, "c").get_layer("branch_c")
    assert branch.get_layer("c_gain").gain == 1.0
    assert branch.trainable_variables


def test_the_new_branch_can_be_trained_alone():
    model = harness.build(["a", "b"])
    harness.randomize(model)
    grown = sp.add_category(model, "c", freeze_others=True)
    new = grown.get_layer("branch_c")
    assert {id(v) for v in grown.trainable_variables} == {id(v) for v in new.trainable_variables}
    assert len(model.trainable_variables) == len(harness.build(["a", "b"]).trainable_variables)
    x = harness.images(model, 4)
    old_logits, old = harness.logits(model, x), harness.values(new)
    grown.compile("sgd", "categorical_crossentropy", run_eagerly=harness.EAGER)
    grown.fit(x, np.eye(3)[[0, 1, 2, 2]], verbose=0)
    assert np.array_equal(harness.logits(grown, x)[:, :2], old_logits)  # statistics included
    assert not harness.same_values(harness.values(new), old)
    assert np.array_equal(harness.logits(model, x), old_logits)
    both = sp.merge(model, sp.cutout(grown, ["c"]))  # an equal trunk, not the same one
    assert harness.error(harness.logits(both, x), harness.logits(grown, x)) < 1e-6


def test_growing_with_a_gains_input():
    model = sp.attention_input(harness.network())
    grown = sp.add_category(model, "newcomer")
    assert sp.gain_names(grown) == (*harness.LABELS[:4], "newcomer")
    x = harness.images(model)
    scores = harness.logits(sp.with_activation(grown, None), x, np.ones((2, 5), "float32"))
    assert np.array_equal(scores[:, :4], harness.logits(harness.network(), x))


def banks_of(model: keras.Model) -> list[tuple[str, ...]]:
    return [bank.nodes for bank in find_parts(model, allow_fused=True).banks]


@pytest.mark.parametrize("parent", [None, "vehicles", "land"])
def test_a_fused_network_grows_as_a_named_one(parent, tmp_path):
    model = harness.network(NESTED)
    fused = sp.fuse(model)
    grown = sp.add_category(fused, "bus", parent=parent, seed=1)
    assert len(banks_of(grown)) == len(banks_of(fused))
    expected = sp.add_category(model, "bus", parent=parent, seed=1)
    assert harness.same_values(harness.values(sp.unfuse(grown)), harness.values(expected))
    x = harness.images(model)
    assert harness.error(harness.logits(grown, x), harness.logits(expected, x)) < 1e-5
    again = harness.reload(grown, tmp_path)
    assert np.array_equal(harness.logits(again, x), harness.logits(grown, x))
    twice = sp.add_category(sp.add_category(fused, "bus", parent=parent), "bike", parent=parent)
    assert harness.error(harness.logits(twice, x)[:, :-2], harness.logits(fused, x)) < 1e-5


def test_a_new_branch_gets_a_bank_of_its_own_where_others_are_fed_or_trained_otherwise():
    model = sp.fuse(harness.network(["a", "b"]))
    alone = sp.add_category(model, "c", freeze_others=True)
    assert banks_of(alone) == [("a", "b"), ("c",)]
    new = alone.get_layer("bank_2").trainable_variables
    assert {id(v) for v in alone.trainable_variables} == {id(v) for v in new} != set()
    assert banks_of(sp.add_category(alone, "d")) == [("a", "b"), ("c",), ("d",)]
    assert len(model.trainable_variables) > len(new)  # the source stays as it is
    wider = sp.cutout(harness.network(NESTED), ["cat", "car", "tree"], copy=True)
    wider.get_layer("branch_pets").trainable = False
    grown = sp.add_category(sp.fuse(wider), "bus", parent="vehicles", seed=1)
    assert banks_of(grown)[-1] == ("bus",)
    x = harness.images(grown)
    expected = sp.add_category(wider, "bus", parent="vehicles", seed=1)
    assert harness.error(harness.logits(grown, x), harness.logits(expected, x)) < 1e-5


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"category": "cat"}, "'cat' is named twice"),
        ({"category": "bus", "parent": "cat"}, "'cat' is a category and cannot hold 'bus'"),
        ({"category": "bus", "parent": "lands"}, "Did you mean 'land'"),
        ({"category": "bus", "parent": "land", "like": "tree"}, "Categories at that level: car"),
        ({"category": "bus", "like": "car"}, "Categories at that level: tree"),
        ({"category": "a\nb"}, "the control character"),
    ],
)
def test_what_cannot_be_added(options, text):
    with pytest.raises(ValueError, match=text):
        sp.add_category(harness.network(NESTED), **options)


def test_no_category_to_build_like():
    model = harness.network({"pets": ["cat"], "vehicles": ["car"]})
    with pytest.raises(ValueError, match="at that level: none"):
        sp.add_category(model, "tree")


@settings(max_examples=4)
@given(st.data())
def test_merging_what_was_cut_apart(data):
    tree = data.draw(harness.trees(max_depth=3, max_categories=5).filter(_several))
    model = harness.network(tree)
    labels = data.draw(st.permutations(tree.categories))
    middle = data.draw(st.integers(1, len(labels) - 1))
    one, other = labels[:middle], labels[middle:]
    merged = sp.merge(sp.cutout(model, one), sp.cutout(model, other, copy=True))
    assert hierarchy(merged).categories == (*one, *other)
    x = harness.images(model)
    columns = [tree.categories.index(label) for label in (*one, *other)]
    assert harness.error(harness.logits(merged, x), harness.logits(model, x)[:, columns]) < 1e-6


def _several(tree: sp.Hierarchy) -> bool:
    return len(tree.categories) > 1


def test_merging_refuses_other_trunks_and_superclasses():
    model = harness.build(NESTED)
    with pytest.raises(ValueError, match=r"The trunks differ \(stem_conv/kernel"):
        sp.merge(sp.cutout(model, ["cat"]), harness.build({"pets": ["bird"]}, seed=1))
    other = sp.cutout(model, ["dog"], copy=True)
    harness.randomize(other.get_layer("branch_pets"))
    with pytest.raises(ValueError, match="The branches of 'pets' differ"):
        sp.merge(sp.cutout(model, ["cat"]), other)


def test_merging_refuses_trunks_that_compute_something_else():
    model = harness.network(["cat", "dog"])
    other = sp.cutout(model, ["dog"], copy=True)
    other.get_layer("trunk").get_layer("stem_conv_norm").epsilon = 0.1
    with pytest.raises(ValueError, match=r"The trunks differ \(stem_conv_norm\)"):
        sp.merge(sp.cutout(model, ["cat"]), other)


def test_merging_refuses_other_gains_of_a_common_superclass():
    model = harness.network(NESTED)
    keen = sp.attend(sp.cutout(model, ["dog"]), {"pets": 2.0})
    with pytest.raises(ValueError, match=r"The branches of 'pets' differ \(their layers\)"):
        sp.merge(sp.cutout(model, ["cat"]), keen)


def test_merging_refuses_the_same_category_twice():
    model = harness.network(NESTED)
    with pytest.raises(ValueError, match="'cat' is named twice"):
        sp.merge(sp.cutout(model, ["cat"]), sp.cutout(model, ["dog", "cat"]))
    with pytest.raises(ValueError, match="both a superclass and a category"):
        sp.merge(sp.cutout(model, ["tree"]), harness.build({"tree": ["oak"]}))


def test_merging_refuses_a_gains_input_on_one_side():
    model = harness.network()
    with pytest.raises(ValueError, match="One of the networks has a gains input"):
        sp.merge(sp.attention_input(sp.cutout(model, ["tench"])), sp.cutout(model, ["chain saw"]))


@pytest.mark.parametrize("work", [lambda m: sp.add_category(m, "x"), lambda m: sp.merge(m, m)])
def test_only_seqpar_networks_grow(work):
    with pytest.raises(ValueError, match="is a plain network"):
        work(sp.build_plain(2, family="resnet18", width=0.125))
    with pytest.raises(TypeError, match=r"Expected a keras\.Model"):
        work("model.keras")


def test_a_merged_network_says_how_it_was_built():
    model = harness.build(NESTED)
    both = sp.merge(sp.cutout(model, ["cat"]), sp.cutout(model, ["tree"]))
    assert find_parts(both).build == find_parts(model).build
    flat = sp.build_phl(["x", "y"], width=0.125, **SMALL)
    nested = sp.build_nhl({"pets": ["cat", "dog"]}, width=0.125, **SMALL)
    merged = sp.merge(flat, nested)
    build = find_parts(merged).build
    assert (build.builder, build.plan, build.family) == ("merged", None, "resnet18")
    assert sp.plain_twin(merged).output_shape == (None, 4)
    with pytest.raises(ValueError, match="merged from two that were built differently"):
        presets.pack(merged)
