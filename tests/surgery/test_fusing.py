import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_seqpar as sp
from keras_seqpar.networks.bank.layers import Bank
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.networks.thresholds import Threshold
from tests import harness

NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}
SMALL = {"pets": ["cat", "dog"], "tree": None}
FAMILIES = ["resnet18", "resnet50", "convnext_v2_atto", "efficientnet_lite0"]


def check_fused(model):
    fused, images = sp.fuse(model), harness.images(model)
    expected = harness.logits(model, images)
    assert harness.error(harness.logits(fused, images, compiled=True), expected) < 1e-5
    named = sp.unfuse(fused)
    assert harness.same_values(harness.values(named), harness.values(model))
    return fused, named, images, expected


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_fused_and_unfused_exactly(family):
    check_fused(harness.network(SMALL, family=family))


@settings(max_examples=3)
@given(st.data())
def test_random_hierarchies_are_fused_unfused_and_cut_exactly(data):
    tree = data.draw(harness.trees())
    names = data.draw(harness.choices(tree))
    columns = [tree.category_ids.index(id_) for id_ in tree.select(names)]
    model = harness.network(tree)
    fused, named, images, expected = check_fused(model)
    assert np.array_equal(harness.predict(named, images), harness.predict(model, images))
    cut = sp.cutout(fused, names)
    assert len(find_parts(cut, allow_fused=True).banks) > 0
    assert harness.error(harness.logits(cut, images), expected[:, columns]) < 1e-5
    cut = sp.cutout(fused, names, fused=False)
    assert harness.same_values(harness.values(cut), harness.values(sp.cutout(model, names)))


def test_a_fused_network_is_a_network_like_others(tmp_path):
    model = sp.fuse(harness.network(SMALL, family="efficientnet_lite0"))
    harness.check_network(model, tmp_path)


@pytest.mark.only_backend("tensorflow")
def test_a_fused_network_costs_what_its_branches_cost():
    model = harness.network(NESTED, family="resnet50")
    assert sp.cost(sp.fuse(model)).nodes == sp.cost(model).nodes


@pytest.mark.parametrize("family", ["resnet18", "convnext_v2_atto"])
def test_a_seed_gives_a_fused_network_the_weights_of_a_named_one(family):
    fused = harness.build(NESTED, family=family, fused=True)
    named = harness.build(NESTED, family=family)
    assert harness.same_values(harness.values(sp.unfuse(fused)), harness.values(named))
    assert sp.cost(fused).nodes == sp.cost(named).nodes


@pytest.mark.only_backend("tensorflow")
def test_without_a_seed_branches_start_apart_and_equally_wide():
    fused = harness.build(NESTED, family="resnet50", seed=None, fused=True)
    parts = find_parts(fused, allow_fused=True)
    seeded = find_parts(harness.build(NESTED, family="resnet50", fused=True), allow_fused=True)
    for bank, other in zip(parts.banks, seeded.banks, strict=True):
        for mine, theirs in zip(bank.stacked, other.stacked, strict=True):
            value = harness.array(mine)
            if mine.name.endswith("kernel"):
                assert not any(np.array_equal(value[0], x) for x in value[1:])
            if value.size > 2000:
                assert value.std() == pytest.approx(harness.array(theirs).std(), rel=0.1)


def test_a_step_of_training_changes_both_forms_alike():
    start = harness.network(SMALL)
    images, targets = harness.images(start, 4), np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    after = []
    for fused in (False, True):
        model = sp.cutout(start, ["cat", "dog", "tree"], copy=True)
        model = sp.fuse(model) if fused else model
        model.compile(
            keras.optimizers.SGD(0.1), "categorical_crossentropy", run_eagerly=harness.EAGER
        )
        model.train_on_batch(images, targets)
        after.append(harness.values(sp.unfuse(model) if fused else model))
    for old, named, fused in zip(harness.values(start), *after, strict=True):
        scale = max(np.abs(named - old).max(), 1e-3 * np.abs(old).max())
        assert np.abs(fused - named).max() < 2e-3 * scale + 1e-6


@pytest.mark.only_backend("tensorflow")
def test_stochastic_depth_drops_in_each_branch_for_itself():
    tree = [f"c{i}" for i in range(10)]
    model = harness.build(tree, drop_path_rate=0.9, fused=True)
    images = harness.images(model, 4)
    calm = harness.predict(model, images)
    assert np.array_equal(harness.predict(model, images), calm)
    (bank,) = find_parts(model, allow_fused=True).banks
    features = model.get_layer("trunk")(images, training=False)
    runs = np.stack([harness.array(bank(features, training=True)) for _ in range(6)])
    assert not np.array_equal(runs[0], runs[1])
    # The last block drops its residual for 9 images of 10, for each branch in others.
    kept = np.abs(runs - np.median(runs, axis=0)) > 1e-6
    assert 0 < kept.mean() < 0.5
    assert len(np.unique(kept.reshape(-1, 10), axis=0)) > 4


def test_gains_act_in_banks_as_in_branches():
    model = harness.network(NESTED)
    images, gains = harness.images(model), {"pets": 2.0, "car": 0.5}
    attended = sp.attend(sp.fuse(model), gains)
    expected = sp.attend(model, gains)
    assert (
        harness.error(harness.predict(attended, images), harness.predict(expected, images)) < 1e-5
    )
    assert harness.error(
        harness.predict(sp.fuse(expected), images), harness.predict(expected, images)
    ) < 1e-5  # fmt: skip
    again = sp.attend(sp.unfuse(attended), {"pets": 2.0})
    assert harness.error(harness.predict(again, images), harness.predict(expected, images)) < 1e-6
    names = sp.gain_names(attended)
    assert names == sp.gain_names(model)
    rows = np.random.default_rng(0).uniform(0.5, 2, (2, len(names))).astype("float32")
    steerable = sp.attention_input(attended)
    wanted = harness.predict(sp.attention_input(expected), images, rows)
    for form in (steerable, sp.unfuse(steerable), sp.with_activation(steerable, "softmax")):
        assert harness.error(harness.predict(form, images, rows), wanted) < 1e-5
    columns = [names.index(name) for name in ("pets", "dog")]
    cut = sp.cutout(steerable, ["dog"], classifier_activation=None)
    wanted = sp.cutout(sp.attention_input(expected), ["dog"], classifier_activation=None)
    given = rows[:, columns]
    assert harness.error(
        harness.predict(cut, images, given), harness.predict(wanted, images, given)
    ) < 1e-5  # fmt: skip


def test_what_shares_weights_and_what_copies_them():
    fused = sp.fuse(harness.network(NESTED))
    ids = {id(weight) for weight in fused.weights}
    for same in (sp.attend(fused, {"cat": 2.0}), sp.with_activation(fused, None)):
        assert {id(weight) for weight in same.weights} == ids
    cut = sp.cutout(fused, ["cat", "ship"])
    trunk = {id(weight) for weight in fused.get_layer("trunk").weights}
    assert {id(weight) for weight in cut.weights} & ids == trunk
    assert not {id(weight) for weight in sp.cutout(fused, ["cat"], copy=True).weights} & ids


def test_what_banks_keep_of_a_network():
    model = sp.with_threshold(harness.network(NESTED), Threshold(1.5))
    fused = sp.fuse(model)
    for one in (fused, sp.unfuse(fused)):
        parts = find_parts(one, allow_fused=True)
        assert parts.threshold == Threshold(1.5)
        assert parts.build == find_parts(model).build
    everything = list(find_parts(model).hierarchy.categories)[::-1]
    for one, threshold in (
        (sp.cutout(fused, everything), Threshold(1.5)),
        (sp.cutout(fused, ["cat"]), None),
        (sp.attend(fused, {"cat": 2.0}), None),
    ):
        assert find_parts(one, allow_fused=True).threshold == threshold
    assert sp.cutout(model, ["cat", "dog"], fused=True).get_layer("bank_2").nodes == ("cat", "dog")


def test_branches_that_differ_get_banks_of_their_own():
    model = harness.build(["a", "b", "c"], family="resnet50")
    moved = sp.attend(model, {"b": 2.0}, after="stage3_block1_conv1")
    fused = sp.fuse(moved)
    assert [bank.nodes for bank in find_parts(fused, allow_fused=True).banks] == [
        ("a", "c"),
        ("b",),
    ]
    images = harness.images(model)
    assert harness.error(harness.logits(fused, images), harness.logits(moved, images)) < 1e-5
    grown = sp.add_category(model, "d", freeze_others=True, seed=1)
    banks = find_parts(sp.fuse(grown), allow_fused=True).banks
    assert [(bank.nodes, len(bank.trainable_variables) > 0) for bank in banks] == [
        (("a", "b", "c"), False),
        (("d",), True),
    ]


@pytest.mark.only_backend("tensorflow")  # JAX compiles all operations anew for it
def test_half_precision():
    options = {"dtype": "mixed_bfloat16", "family": "convnext_v2_atto"}
    model = harness.build(["a", "b", "c"], **options)
    fused = sp.fuse(model)
    (bank,) = find_parts(fused, allow_fused=True).banks
    assert bank.compute_dtype == "bfloat16"
    images = harness.images(model)
    assert harness.error(harness.logits(fused, images), harness.logits(model, images)) < 0.05


def test_what_cannot_be_done_says_what_to_do():
    model = harness.network(NESTED)
    fused = sp.fuse(model)
    with pytest.raises(ValueError, match="is fused already"):
        sp.fuse(fused)
    with pytest.raises(ValueError, match="is not fused"):
        sp.unfuse(model)
    with pytest.raises(ValueError, match="is not fused"):
        sp.unfuse(harness.network(NESTED, family="resnet50"))
    with pytest.raises(ValueError, match="add it to the result with keras_seqpar.attention_input"):
        sp.fuse(sp.attention_input(model))
    with pytest.raises(ValueError, match="has a gains input already"):
        sp.attention_input(sp.attention_input(fused))
    with pytest.raises(ValueError, match="Move them in keras_seqpar.unfuse"):
        sp.attend(fused, {"cat": 2.0}, after="stage3_block1_conv1")
    for refused in (
        lambda: sp.merge(fused, model),
        lambda: sp.split_branch(fused, "cat"),
        lambda: sp.fit_budget(fused, {"params": 1}),
    ):
        with pytest.raises(ValueError, match=r"is fused: .* keras_seqpar.unfuse\(model\)"):
            refused()
    inputs = keras.Input((4, 4, 8))
    branch = keras.Model(inputs, keras.layers.PReLU(name="branch_prelu")(inputs))
    with pytest.raises(ValueError, match="A bank cannot compute the layer 'branch_prelu', a PReLU"):
        Bank(branch, ["a"])
