import re

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_seqpar as sp
from keras_seqpar.families.layers import TopDownGain
from keras_seqpar.networks.graph import replay
from tests import harness

NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}
GAINS = st.sampled_from([0.0, 0.5, 0.9, 1.3, 2.0])


def tree_of(model: keras.Model) -> sp.Hierarchy:
    return model.get_layer("categories").hierarchy


def below(tree: sp.Hierarchy, names) -> set[int]:
    """Columns of the categories that a gain on `names` reaches."""
    nodes = {node.id for name in names for node in tree.find(name).walk()}
    return {i for i, id_ in enumerate(tree.category_ids) if id_ in nodes}


def by_hand(model: keras.Model, x, gains: dict, after: dict | None = None) -> np.ndarray:
    """Logits with gains (node id -> number or one per image), layer by layer.

    Walks the sub-models and multiplies behind each gain layer, or behind the layer that `after`
    names for a node.
    """
    tree = tree_of(model)

    def run(part, features):
        """A branch, its features multiplied behind the gain layer."""
        id_ = part.name.removeprefix("branch_")
        gain = gains.get(id_)
        factor = np.reshape(np.asarray(1.0 if gain is None else gain, "float32"), (-1, 1, 1, 1))
        factor = keras.ops.convert_to_tensor(factor)
        place = f"{id_}_{(after or {}).get(id_, 'gain')}"

        def call(layer, *args, **kwargs):
            y = layer(*args, **kwargs)
            return y * factor if layer.name == place else y

        return replay(part, features, call)

    columns = {}

    def walk(nodes, features):
        for node in nodes:
            y = run(model.get_layer(f"branch_{node.id}"), features)
            if node.is_category:
                columns[node.id] = harness.array(y)
            walk(node.children, y)

    walk(tree.roots, model.get_layer("trunk")(x))
    return np.hstack([columns[id_] for id_ in tree.category_ids])


@pytest.mark.parametrize("tree", [harness.LABELS[:4], NESTED], ids=["phl", "nhl"])
def test_every_branch_has_one_gain(tree):
    model = harness.network(tree)
    for node in tree_of(model).nodes:
        branch = model.get_layer(f"branch_{node.id}")
        found = [layer for layer in branch.layers if isinstance(layer, TopDownGain)]
        assert [layer.name for layer in found] == [f"{node.id}_gain"]
        assert found[0].gain == 1.0


@pytest.mark.parametrize(
    ("family", "before"),
    [
        ("resnet18", "tench_stage3_block1_conv1"),
        ("resnet50", "tench_stage3_block1_conv2"),
        ("convnext_v2_atto", "tench_stage3_block1_norm"),
    ],
)
def test_the_gain_stands_where_the_plan_says(family, before):
    branch = harness.network(family=family).get_layer("branch_tench")
    gain = branch.get_layer("tench_gain")
    assert gain.input is branch.get_layer(before).output


@settings(max_examples=3)
@given(st.data())
def test_a_gain_changes_what_is_below_it_and_nothing_else(data):
    tree = data.draw(harness.trees())
    family = data.draw(st.sampled_from(["resnet18", "convnext_v2_atto"]))
    model = harness.network(tree, family=family)
    nodes = data.draw(st.lists(st.sampled_from(tree.nodes), min_size=1, max_size=3, unique=True))
    gains = {data.draw(st.sampled_from([n.label, n.id])): data.draw(GAINS) for n in nodes}
    x = harness.images(model)
    old, config = harness.logits(model, x), harness.config_of(model)

    attended = sp.attend(model, gains)
    new = harness.logits(attended, x)
    touched = below(tree, gains)
    for i in range(old.shape[1]):
        assert np.array_equal(new[:, i], old[:, i]) != (i in touched)
    by_id = {tree.find(name).id: gain for name, gain in gains.items()}
    assert harness.error(new, by_hand(model, x, by_id)) < 1e-6
    assert [id(w) for w in attended.weights] == [id(w) for w in model.weights]
    assert attended.name == model.name
    # the source is as it was
    assert np.array_equal(harness.logits(model, x), old)
    assert harness.config_of(model) == config


@pytest.mark.parametrize("tree", [harness.LABELS[:4], NESTED], ids=["phl", "nhl"])
def test_neutral_gains_change_nothing(tree):
    model = harness.network(tree)
    x = harness.images(model)
    names = sp.gain_names(model)
    neutral = sp.attend(model, dict.fromkeys(names, 1))
    assert harness.config_of(neutral) == harness.config_of(model)
    assert np.array_equal(harness.predict(neutral, x), harness.predict(model, x))
    steerable = sp.attention_input(model)
    ones = np.ones((2, len(names)), "float32")
    assert np.array_equal(harness.predict(steerable, x, ones), harness.predict(model, x))


def test_attending_again_replaces_the_named_gains_only():
    model = harness.network(NESTED)
    x = harness.images(model)
    twice = sp.attend(sp.attend(model, {"cat": 2, "car": 0.5}), {"cat": 1.5, "dog": 3})
    once = sp.attend(model, {"cat": 1.5, "car": 0.5, "dog": 3})
    assert np.array_equal(harness.predict(twice, x), harness.predict(once, x))
    assert harness.config_of(twice) == harness.config_of(once)
    back = sp.attend(once, {"cat": 1, "car": 1, "dog": 1})
    assert np.array_equal(harness.predict(back, x), harness.predict(model, x))


def test_gains_survive_saving_cutting_and_copying(tmp_path):
    model = harness.network(NESTED)
    x = harness.images(model)
    attended = sp.attend(model, {"vehicles": 1.5, "bus": 0.5, "cat": 2})
    want = harness.logits(attended, x)[:, [3, 0]]
    loaded = harness.check_network(attended, tmp_path)
    for net in (
        sp.cutout(attended, ["bus", "cat"]),
        sp.cutout(attended, ["bus", "cat"], copy=True),
        sp.cutout(loaded, ["bus", "cat"]),
        sp.attend(sp.cutout(model, ["bus", "cat"]), {"vehicles": 1.5, "bus": 0.5, "cat": 2}),
        sp.cutout(sp.attend(harness.reload(model, tmp_path), {"vehicles": 1.5, "bus": 0.5,
                                                              "cat": 2}), ["bus", "cat"]),
    ):  # fmt: skip
        assert np.array_equal(harness.logits(net, x), want)


@settings(max_examples=3)
@given(st.data())
def test_a_gains_input_steers_every_image_by_itself(tmp_path_factory, data):
    tree = data.draw(harness.trees())
    model = harness.network(tree)
    names = sp.gain_names(model)
    assert names == tuple(node.label for node in tree.nodes)
    gains = np.array(data.draw(st.lists(
        st.lists(GAINS, min_size=len(names), max_size=len(names)), min_size=2, max_size=2
    )), "float32")  # fmt: skip
    x = harness.images(model)
    steerable = sp.attention_input(model)
    assert [tuple(i.shape) for i in steerable.inputs] == [(None, 16, 16, 3), (None, len(names))]
    got = harness.logits(steerable, x, gains)
    ids = [node.id for node in tree.nodes]
    columns = dict(zip(ids, gains.T, strict=True))
    assert harness.error(got, by_hand(model, x, columns)) < 1e-6
    for i in range(2):
        constant = sp.attend(model, dict(zip(ids, map(float, gains[i]), strict=True)))
        assert harness.error(got[i], harness.logits(constant, x)[i]) < 1e-6
    again = harness.reload(steerable, tmp_path_factory.mktemp("gains"))
    assert np.array_equal(harness.predict(again, x, gains), harness.predict(steerable, x, gains))


def test_a_cutout_of_a_steerable_network_keeps_its_columns(tmp_path):
    model = harness.network(NESTED)
    x = harness.images(model)
    steerable = sp.attention_input(sp.attend(model, {"road": 1.5}))
    cut = sp.cutout(steerable, ["bus", "cat"])
    names = sp.gain_names(cut)
    assert names == ("pets", "cat", "vehicles", "road", "bus")
    full = np.ones((2, 9), "float32")
    gains = np.array([[0.5, 2, 1.3, 0.9, 3], [1, 1, 1, 2, 0]], "float32")
    for i, name in enumerate(names):
        full[:, sp.gain_names(steerable).index(name)] = gains[:, i]
    want = harness.logits(steerable, x, full)[:, [3, 0]]
    assert np.array_equal(harness.logits(cut, x, gains), want)
    assert np.array_equal(harness.logits(sp.cutout(cut, ["bus", "cat"], copy=True), x, gains), want)
    harness.check_network(cut, tmp_path)
    flat = sp.cutout(sp.attention_input(harness.network()), harness.LABELS[3:1:-1])
    assert sp.gain_names(flat) == harness.LABELS[3:1:-1]


def test_constant_gains_multiply_those_of_the_input():
    model = harness.network(NESTED)
    x = harness.images(model)
    names = sp.gain_names(model)
    gains = np.ones((2, len(names)), "float32")
    gains[:, names.index("cat")] = 2
    both = sp.attention_input(sp.attend(model, {"cat": 1.5, "road": 0.5}))
    after = sp.attend(sp.attention_input(model), {"cat": 1.5, "road": 0.5})
    want = harness.logits(sp.attend(model, {"cat": 3, "road": 0.5}), x)
    assert np.array_equal(harness.logits(both, x, gains), want)
    assert np.array_equal(harness.logits(after, x, gains), want)


def test_gains_have_gradients():
    model = sp.attention_input(harness.network(NESTED, classifier_activation=None))
    x, ones = harness.images(model), np.ones((2, 9), "float32")
    assert all(harness.reached(model, [x, ones]))


@pytest.mark.parametrize("tree", [["a"], NESTED])
def test_networks_of_mixed_precision_can_be_steered(tree):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = harness.build(tree)
    finally:
        keras.config.set_dtype_policy(before)
    x = harness.images(model)
    count = len(sp.gain_names(model))
    for gain in (1.0, 1.5):  # exact in bfloat16
        constant = sp.attend(model, dict.fromkeys(sp.gain_names(model), gain))
        steered = harness.logits(sp.attention_input(model), x, np.full((2, count), gain))
        assert np.array_equal(steered, harness.logits(constant, x))


# Gains at other layers.


@pytest.mark.parametrize("after", ["stage3_block1_relu", "stage3_block1_shortcut"])
def test_gains_act_after_the_layer_named(after):
    model = harness.network()
    x = harness.images(model)
    ids = tree_of(model).category_ids
    moved = sp.attend(model, {"tench": 2, "chain saw": 0.5}, after=after)
    gains, places = {"tench": 2, "chain_saw": 0.5}, dict.fromkeys(ids, after)
    assert harness.error(harness.logits(moved, x), by_hand(model, x, gains, places)) < 1e-6
    assert not np.array_equal(harness.logits(moved, x), harness.logits(sp.attend(model, gains), x))
    gains = np.array([[2, 1, 0.5, 0], [1, 3, 1, 0.9]], "float32")
    steered = harness.logits(sp.attention_input(model, after=after), x, gains)
    columns = dict(zip(ids, gains.T, strict=True))
    assert harness.error(steered, by_hand(model, x, columns, places)) < 1e-6


@pytest.mark.parametrize(
    ("family", "place"),
    [("resnet18", "conv1"), ("resnet50", "conv2"), ("convnext_v2_atto", "norm")],
)
def test_naming_the_plans_place_changes_nothing(family, place):
    model = harness.network(family=family)
    gains, after = {"tench": 1.5, "chain saw": 1}, f"stage3_block1_{place}"
    here = sp.attend(model, gains, after=after)
    assert harness.config_of(here) == harness.config_of(sp.attend(model, gains))
    steered = sp.attention_input(model, after=after)
    assert harness.config_of(steered) == harness.config_of(sp.attention_input(model))


def test_networks_with_moved_gains_are_networks_like_others(tmp_path):
    model = harness.network(NESTED)
    config, x = harness.config_of(model), harness.images(model)
    gains = {"vehicles": 1.5, "bus": 0.5, "cat": 2}
    moved = sp.attend(model, {"vehicles": 1.5}, after="stage3_block1_relu")
    moved = sp.attend(moved, {"bus": 0.5, "cat": 2}, after="stage5_block1_conv2")
    places = {"vehicles": "stage3_block1_relu"}
    places |= dict.fromkeys(["bus", "cat"], "stage5_block1_conv2")
    want = by_hand(model, x, gains, places)
    assert harness.error(harness.logits(moved, x), want) < 1e-6
    assert {id(w) for w in moved.weights} == {id(w) for w in model.weights}
    assert sp.cost(moved).nodes == sp.cost(model).nodes
    # saved, cut, copied
    loaded = harness.check_network(moved, tmp_path)
    for cut in (
        sp.cutout(loaded, ["bus", "cat"]),
        sp.cutout(moved, ["bus", "cat"], copy=True),
    ):
        assert harness.error(harness.logits(cut, x), want[:, [3, 0]]) < 1e-6
    # attended again where the gains are now, with an input as well, and moved back
    again = by_hand(model, x, {**gains, "cat": 3}, places)
    assert harness.error(harness.logits(sp.attend(loaded, {"cat": 3}), x), again) < 1e-6
    ones = np.ones((2, 9), "float32")
    ones[:, sp.gain_names(model).index("cat")] = 1.5
    for steerable in (
        sp.attention_input(loaded),
        sp.attend(
            sp.attend(sp.attention_input(model), {"vehicles": 1.5}, after="stage3_block1_relu"),
            {"bus": 0.5, "cat": 2},
            after="stage5_block1_conv2",
        ),
    ):
        assert harness.error(harness.logits(steerable, x, ones), again) < 1e-6
    back = moved
    for name, stage in (("vehicles", 3), ("cat", 4), ("bus", 5)):
        back = sp.attend(back, {name: 1}, after=f"stage{stage}_block1_conv1")
    assert harness.config_of(back) == harness.config_of(model) == config


# Errors.


@pytest.mark.parametrize(
    ("names", "after", "kind", "text"),
    [
        (["cat"], "stage5_block1_cnv1", ValueError, "Did you mean 'stage5_block1_conv1'? Valid: "),
        (["cat"], "cat_stage5_block1_conv1", ValueError, "Unknown layer to act after 'cat_stage5"),
        (["cat"], "pool", ValueError, "Unknown layer to act after 'pool'."),  # no positions left
        (["cat"], "gain", ValueError, "Unknown layer to act after 'gain'."),
        (["cat", "ship"], "stage3_block1_conv1", ValueError, "Unknown layer"),
        (["pets", "cat"], "stage3_block1_conv1", ValueError, "name fewer nodes"),
        (["cat"], 3, TypeError, "after must be the name of a layer, got 3."),
    ],
)
def test_places_that_are_not_there_are_refused(names, after, kind, text):
    with pytest.raises(kind, match=re.escape(text)):
        sp.attend(harness.network(NESTED), dict.fromkeys(names, 2), after=after)


def test_an_input_acts_after_layers_of_all_branches_only():
    with pytest.raises(ValueError, match="These branches have no layer in common"):
        sp.attention_input(harness.network(NESTED), after="stage4_block1_conv1")


@pytest.mark.parametrize(
    ("gains", "kind", "text"),
    [
        ({}, ValueError, "Name at least one node. Valid: pets, cat, dog, vehicles, road, car"),
        ({"cta": 1}, ValueError, "Unknown category or superclass 'cta'. Did you mean 'cat'? Valid"),
        ({"cat": -1}, ValueError, "The gain of 'cat' must be finite and not negative, got -1.0."),
        ({"cat": float("nan")}, ValueError, "The gain of 'cat' must be finite and not negative"),
        ({"cat": float("inf")}, ValueError, "The gain of 'cat' must be finite and not negative"),
        ({"cat": "2"}, TypeError, "The gain of 'cat' must be a number, got '2'."),
        ({"cat": None}, TypeError, "The gain of 'cat' must be a number, got None."),
        ({"cat": True}, TypeError, "The gain of 'cat' must be a number, got True."),
        (["cat"], TypeError, "gains must map names to numbers, got ['cat']."),
        (2.0, TypeError, "gains must map names to numbers, got 2.0."),
    ],
)
def test_bad_gains_are_refused(gains, kind, text):
    with pytest.raises(kind, match=re.escape(text)):
        sp.attend(harness.network(NESTED), gains)


def test_a_node_named_twice_is_refused():
    model = harness.network(harness.LABELS)
    with pytest.raises(ValueError, match="A node is named twice, by label and by id, in "):
        sp.attend(model, {"French horn": 2, "french_horn": 2})


def test_a_second_gains_input_is_refused():
    model = sp.attention_input(harness.network())
    with pytest.raises(ValueError, match=r"'phl_resnet18' has a gains input already\."):
        sp.attention_input(model)
