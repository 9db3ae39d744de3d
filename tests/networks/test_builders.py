import json
import re

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_seqpar as sp
from keras_seqpar.families.base import Plan
from keras_seqpar.families.resnet import Bottlenecks
from tests import harness

TEN = [*harness.LABELS, "garbage truck", "gas pump", "golf ball", "parachute"]
NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}


@pytest.fixture
def policy():
    """Sets a global dtype policy for one test."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture
def channels_first():
    before = keras.config.image_data_format()
    yield lambda: keras.config.set_image_data_format("channels_first")
    keras.config.set_image_data_format(before)


# What the papers and libraries count.


@pytest.mark.only_backend("torch")  # the one that can build without allocating
def test_the_late_split_has_the_papers_counts():
    with keras.device("meta"):
        full = sp.build_phl(TEN, family="resnet50", plan="late_sp")
        cut = sp.cutout(full, TEN[:5])
        plain = sp.build_plain(10, family="resnet50")
    for model, params in ((full, 19_986_506), (cut, 14_264_901), (plain, 23_528_522)):
        assert sp.cost(model).params == params
        assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == params
    for model, macs in ((full, 3.99e9), (cut, 3.66e9)):
        counted = sp.cost(model)
        assert counted.input_shape == (224, 224, 3)
        assert abs((counted.macs + counted.norm_macs) / macs - 1) < 0.015
    branches = {node.params for node in sp.cost(full).nodes if node.kind == "category"}
    assert branches == {1_144_321}
    assert sp.cost(full).nodes[0].params == 8_543_296


# What holds for all networks.


@pytest.mark.parametrize(
    ("tree", "family", "options"),
    [
        (["cat", "dog", "car"], "resnet18", {}),
        (NESTED, "resnet50", {"width": 0.25}),
        (NESTED, "resnet34", {"stem": "standard", "size": 32}),
        (NESTED, "resnet18", {"include_preprocessing": True, "classifier_activation": "sigmoid"}),
        (["cat", "dog"], "resnet18", {"drop_path_rate": 0.3, "classifier_activation": None}),
    ],
)
def test_networks_work(tree, family, options, tmp_path):
    """Trees of other shapes: `test_random_hierarchies_work`; families: tests/families/."""
    model = harness.build(tree, family=family, **options)
    harness.randomize(model)
    harness.check_network(model, tmp_path)


@pytest.mark.parametrize(
    "build",
    [
        lambda: sp.build_plain(
            ["cat", "dog"], family="resnet18", width=0.125, stem="small", input_shape=(16, 16, 3)
        ),
        lambda: sp.build_plain(
            3,
            family="convnext_v2_atto",
            width=0.05,
            input_shape=(32, 32, 1),
            include_preprocessing=True,
        ),
        lambda: sp.build_one_branch(
            ["all", "cat", "branch"],
            family="resnet18",
            width=0.125,
            stem="small",
            input_shape=(16, 16, 3),
        ),
    ],
    ids=["plain", "plain_convnext", "one_branch"],
)
def test_networks_without_branches_work(build, tmp_path):
    model = build()
    harness.randomize(model)
    harness.check_network(model, tmp_path)
    with pytest.raises(ValueError, match="is a plain network: its categories share all layers"):
        sp.attend(model, {"cat": 1.5})


@settings(max_examples=4)
@given(harness.trees(), st.sampled_from(["resnet18", "resnet50"]))
def test_random_hierarchies_work(tmp_path_factory, tree, family):
    model = harness.network(tree, family=family)
    assert model.get_layer("categories").hierarchy == tree
    harness.check_network(model, tmp_path_factory.mktemp("tree"), gradient=False)


@settings(max_examples=3)
@given(st.data())
def test_gradients_of_one_category_reach_its_path_and_nothing_else(data):
    tree = data.draw(harness.trees())
    column = data.draw(st.integers(0, len(tree.categories) - 1))
    model = sp.with_activation(harness.network(tree), None)
    path = [node.id for node in tree.path(tree.find(tree.category_ids[column]))]
    wanted = harness.variables_of(model, path)
    reached = harness.reached(model, harness.images(model), lambda y: keras.ops.sum(y[:, column]))
    assert reached == [id(v) in wanted for v in model.trainable_variables]


@pytest.mark.parametrize("tree", [["cat", "dog"], NESTED], ids=["phl", "nhl"])
def test_gradients_in_training_mode_reach_everything(tree):
    model = harness.build(tree, classifier_activation=None)  # its own: statistics will move
    harness.randomize(model)
    assert all(harness.reached(model, harness.images(model), training=True))


def test_through_softmax_every_branch_learns_from_every_category():
    model = harness.network(NESTED)
    loss = lambda y: -keras.ops.log(y[0, 0])  # noqa: E731
    assert all(harness.reached(model, harness.images(model), loss))


# Names.


def test_names_are_the_documented_ones():
    model = harness.build({"birds": ["robin", "French horn"], "fish": None}, name="mine")
    top = [layer.name for layer in model.layers]
    assert model.name == "mine"
    assert top[:2] == ["image", "trunk"] and top[-1] == "categories"
    branches = ["branch_birds", "branch_fish", "branch_french_horn", "branch_robin"]
    assert sorted(top[2:-1]) == branches
    names = {layer.name for layer in harness.leaves(model)}
    assert {
        "stem_conv",
        "stage2_block1_conv1",
        "birds_stage3_block1_conv1",
        "birds_gain",
        "robin_stage4_block1_conv1_norm",
        "robin_pool",
        "robin_logit",
        "fish_stage3_block1_conv2",
        "fish_stage4_block1_conv2",
    } <= names
    for branch in branches:
        inner = model.get_layer(branch)
        prefix = branch.removeprefix("branch_") + "_"
        assert all(layer.name.startswith(prefix) for layer in inner.layers)


def test_default_names_tell_the_family():
    assert harness.build(["a"]).name == "phl_resnet18"
    assert harness.build({"a": ["b"]}).name == "nhl_resnet18"
    plain = sp.build_plain(1, family="resnet18", width=0.125, input_shape=(32, 32, 3))
    assert plain.name == "plain_resnet18"
    assert plain.get_layer("categories").hierarchy.categories == ("0",)


def test_hostile_labels_do_not_collide(tmp_path):
    half = len(harness.HOSTILE) // 2
    tree = [{"super stage4": harness.HOSTILE[:half]}, *harness.HOSTILE[half:]]
    model = harness.network(tree, stem="standard", size=32)  # which has more layers
    harness.check_names(model)
    again = harness.reload(model, tmp_path)
    assert harness.same_values(harness.values(again), harness.values(model))
    x = harness.images(model)
    chosen = [harness.HOSTILE[i] for i in (3, 12, 0)]
    want = harness.logits(model, x)[:, [3, 12, 0]]
    assert np.array_equal(harness.logits(sp.cutout(again, chosen), x), want)
    names = [layer.name for layer in harness.leaves(sp.attention_input(model))]
    assert len(names) == len(set(names))


# Configuration, types and formats.


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("mixed_bfloat16", "convnext_v2_atto"),
        ("float16", "resnet18"),
        ("float64", "resnet18"),
    ],
)
def test_dtype_policies_survive(name, family, policy, tmp_path):
    tree = {"pets": ["cat", "dog"], "car": None}
    policy(name)
    model = harness.build(tree, family=family, include_preprocessing=True)
    harness.randomize(model)
    x = harness.images(model) * 40 + 120
    scores = harness.predict(model, x)
    steered = sp.attend(model, {"cat": 1.5})
    policy("float32")
    again = harness.reload(model, tmp_path)
    others = (again, sp.cutout(model, tree), sp.cutout(model, tree, copy=True), steered)
    for other in (model, *others):
        found = {layer.name: layer.dtype_policy.name for layer in harness.leaves(other)}
        assert found.pop("categories") == "float32"
        assert set(found.values()) == {name}
    assert scores.dtype == "float32"
    assert harness.config_of(again) == harness.config_of(model)
    for other in others[:3]:
        assert np.array_equal(harness.predict(other, x), scores)
    exact = harness.build(tree, family=family, include_preprocessing=True)
    sp.copy_weights(model, exact)
    assert harness.error(scores, harness.predict(exact, x)) < 0.1


@pytest.mark.parametrize(
    ("family", "preprocessing"), [("resnet18", True), ("convnext_v2_atto", False)]
)
def test_the_global_data_format_does_not_matter(family, preprocessing, channels_first, tmp_path):
    options = {"family": family, "include_preprocessing": preprocessing}
    model = harness.network(NESTED, **options)
    x = harness.images(model)
    scores = harness.predict(model, x)
    cost = sp.cost(model)
    channels_first()
    other = harness.build(NESTED, **options)
    assert json.dumps(other.get_config()) == json.dumps(model.get_config())
    sp.copy_weights(model, other)
    for twin in (other, harness.reload(other, tmp_path), sp.cutout(other, NESTED, copy=True)):
        assert harness.error(harness.predict(twin, x), scores) < 1e-6
        assert sp.cost(twin).nodes == cost.nodes


def test_preprocessing_equals_explicit_normalization():
    plain, ready = (harness.network(include_preprocessing=p) for p in (False, True))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("float32")
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalized = ((pixels / 255 - mean) / std).astype("float32")
    assert harness.error(harness.logits(ready, pixels), harness.logits(plain, normalized)) < 1e-5


def test_preprocessing_of_other_channels_goes_to_plus_minus_1():
    options = {"family": "resnet18", "plan": harness.plan(), "width": 0.125, "stem": "small"}
    models = [
        sp.build_phl(
            ["a", "b"], input_shape=(16, 16, 1), include_preprocessing=ready, seed=0, **options
        )
        for ready in (False, True)
    ]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1)).astype("float32")
    want = harness.logits(models[0], pixels / 127.5 - 1)
    assert harness.error(harness.logits(models[1], pixels), want) < 1e-5


def test_any_image_size():
    model = harness.build(
        NESTED, input_shape=(None, None, 3), stem="standard", classifier_activation=None
    )
    harness.randomize(model)
    for shape in ((2, 32, 32, 3), (1, 45, 70, 3)):
        x = np.random.default_rng(0).normal(size=shape).astype("float32")
        fixed = harness.build(
            NESTED, input_shape=shape[1:], stem="standard", classifier_activation=None
        )
        sp.copy_weights(model, fixed)
        assert np.array_equal(harness.predict(fixed, x), harness.predict(model, x))


def test_the_smallest_image_is_what_the_strides_allow():
    model = harness.build(NESTED, size=4)
    assert model.get_layer("branch_bus").inputs[0].shape[1:3] == (1, 1)
    assert np.isfinite(harness.predict(model, harness.images(model))).all()
    with pytest.raises(ValueError, match=r"\(3, 3, 3\) is too small"):
        harness.build(NESTED, size=3)


# Initial weights.


@pytest.mark.parametrize("family", ["resnet18", "convnext_v2_atto"])
def test_a_seed_repeats_the_weights(family):
    first = harness.values(harness.build(NESTED, family=family, seed=3))
    assert harness.same_values(harness.values(harness.build(NESTED, family=family, seed=3)), first)
    other = harness.build(NESTED, family=family, seed=4)
    kernels = [w.name.endswith("kernel") for w in other.weights]
    for is_kernel, a, b in zip(kernels, harness.values(other), first, strict=True):
        assert np.array_equal(a, b) != is_kernel


def test_without_a_seed_every_build_differs():
    a, b = (harness.values(harness.build(["x"], seed=None)) for _ in range(2))
    assert not harness.same_values(a, b)


def test_layers_start_from_different_values():
    model = harness.build(["a", "b", "c"])
    branches = [model.get_layer(f"branch_{i}") for i in "abc"]
    kernels = [harness.array(w) for b in branches for w in b.weights if w.name == "kernel"]
    flat = [k.ravel()[:8] for k in kernels if k.size >= 8]
    for i, a in enumerate(flat):
        assert not any(np.array_equal(a, b) for b in flat[:i])


@settings(max_examples=4)
@given(st.data())
def test_pruning_before_building_equals_cutting_after(data):
    tree = data.draw(harness.trees())
    names = data.draw(harness.choices(tree))
    plan = harness.plan(tree.depth)
    cut = sp.cutout(harness.build(tree), names, name="same")
    built = harness.build(tree.prune(names), plan=plan, name="same")
    assert harness.config_of(built) == harness.config_of(cut)
    assert [w.path for w in built.weights] == [w.path for w in cut.weights]
    assert harness.same_values(harness.values(built), harness.values(cut))


def test_a_pruned_tree_keeps_its_plan_by_its_number_of_split_points():
    options = {"family": "resnet50", "plan": "late_sp", "width": 0.125, "size": 32}
    tree = sp.Hierarchy.of(NESTED)
    full = harness.build(tree, **options)
    small = sp.build_nhl(
        tree.prune(["dog", "cat"]),
        split_points=3,
        family="resnet50",
        width=0.125,
        input_shape=(32, 32, 3),
        stem="small",
        seed=0,
        name="same",
    )
    cut = sp.cutout(full, ["dog", "cat"], name="same")
    assert harness.config_of(small) == harness.config_of(cut)
    assert harness.same_values(harness.values(small), harness.values(cut))


# Stochastic depth.


def test_stochastic_depth_grows_with_depth_and_rests_at_inference():
    model = harness.build(NESTED, drop_path_rate=0.4)
    rates = {
        layer.name.removesuffix("_drop"): layer.rate
        for layer in harness.leaves(model)
        if layer.name.endswith("_drop")
    }
    # two blocks in the trunk, one per split-point: five on the longest way
    assert rates == pytest.approx(
        {
            "stage2_block1": 0.1,
            **{f"{n}_stage3_block1": 0.2 for n in ("pets", "vehicles", "tree")},
            **{f"{n}_stage4_block1": 0.3 for n in ("cat", "dog", "road", "ship", "tree")},
            **{f"{n}_stage5_block1": 0.4 for n in ("car", "bus", "ship", "tree", "cat", "dog")},
        }
    )
    still = harness.build(NESTED)
    harness.randomize(model)
    harness.randomize(still)
    x = harness.images(model, 8)
    assert np.array_equal(harness.predict(model, x), harness.predict(still, x))
    trained = harness.array(model(x, training=True))
    assert not np.allclose(trained, harness.array(still(x, training=True)))


# Errors.


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"family": "resnet5"}, ValueError, "Unknown family 'resnet5'. Did you mean 'resnet50'?"),
        ({"family": "vgg"}, ValueError, "Valid: resnet18, resnet34, resnet50, resnet101"),
        ({"plan": "late"}, ValueError, "Unknown plan 'late'. Did you mean 'late_sp'? Valid"),
        ({"plan": None}, ValueError, "Unknown plan None. Valid: "),
        ({"stem": "big"}, ValueError, "Unknown stem 'big'. Valid: standard, small."),
        ({"classifier_activation": "sofmax"}, ValueError, "sofmax"),
        ({"seed": 1.5}, TypeError, "seed must be an integer or None, got 1.5."),
        ({"seed": True}, TypeError, "seed must be an integer or None, got True."),
        ({"width": "1"}, TypeError, "width must be a number, got '1'."),
        ({"width": True}, TypeError, "width must be a number, got True."),
        ({"width": 0}, ValueError, "width must be a finite number above 0, got 0."),
        ({"width": -1}, ValueError, "width must be a finite number above 0, got -1."),
        ({"width": float("nan")}, ValueError, "width must be a finite number above 0, got nan."),
        ({"width": float("inf")}, ValueError, "width must be a finite number above 0, got inf."),
        (
            {"drop_path_rate": 1},
            ValueError,
            "must be a finite number from 0 to below 1, got 1.",
        ),
        (
            {"drop_path_rate": -0.1},
            ValueError,
            "must be a finite number from 0 to below 1, got -0.1",
        ),
        ({"drop_path_rate": None}, TypeError, "drop_path_rate must be a number, got None."),
        ({"input_shape": (32, 32)}, ValueError, "must be (height, width, channels), got (32, 32)"),
        ({"input_shape": 32}, ValueError, "must be (height, width, channels), got 32"),
        ({"input_shape": (32, 32, 0)}, ValueError, "number of channels of 1 or more, got (32, 32"),
        ({"input_shape": (32, 32, None)}, ValueError, "number of channels of 1 or more, got "),
        ({"input_shape": (32, 31, 3)}, ValueError, "reduces the resolution 32 times, so height"),
        ({"input_shape": (32, 31, 3)}, ValueError, 'Take larger images or take stem="small".'),
        (
            {"input_shape": (7, 7, 3), "stem": "small"},
            ValueError,
            "(7, 7, 3) is too small: this network reduces the resolution 8 times, so height and "
            "width must be whole numbers of at least 8. Take larger images.",
        ),
        ({"input_shape": (32.0, 32, 3)}, ValueError, "must be whole numbers of at least 32"),
    ],
)
@pytest.mark.parametrize("builder", ["build_phl", "build_nhl", "build_plain", "build_one_branch"])
def test_bad_arguments_are_refused(builder, options, kind, text):
    if builder == "build_plain" and "plan" in options:
        return
    options = {"family": "resnet18", "input_shape": (32, 32, 3), **options}
    with pytest.raises(kind, match=re.escape(text)):
        getattr(sp, builder)(["a", "b"], **options)


def test_a_nested_hierarchy_is_no_phl():
    text = "A PHL network has one split-point, but this hierarchy has 3. Give build_phl a flat"
    with pytest.raises(ValueError, match=text):
        sp.build_phl(NESTED)
    with pytest.raises(ValueError, match="has no superclasses, but this hierarchy has 3 levels"):
        sp.build_one_branch(NESTED)


def test_too_few_levels_are_refused():
    text = r"hierarchy has 3 split-points, but the plan has 2 level\(s\). Give a plan with at least"
    for options in ({"plan": harness.plan(2, "resnet50")}, {"split_points": 2}):
        with pytest.raises(ValueError, match=text):
            sp.build_nhl(NESTED, **options)


@pytest.mark.parametrize("count", [0, -3])
def test_a_plain_network_needs_a_category(count):
    with pytest.raises(ValueError, match=f"categories must be 1 or more, got {count}"):
        sp.build_plain(count, family="resnet18")


@pytest.mark.parametrize("count", [True, 2.0, "two"])
def test_a_plain_network_takes_labels_or_a_number(count):
    with pytest.raises(TypeError, match=f"got {count!r}"):
        sp.build_plain(count, family="resnet18")


def test_bad_split_points_are_refused():
    for bad in (0, -1, "2", 2.0, True):
        with pytest.raises((TypeError, ValueError), match=f"split_points must be .*got {bad!r}"):
            sp.build_nhl(["a", "b"], split_points=bad)


@pytest.mark.only_backend("torch")  # what is built is the same everywhere; torch builds quickest
def test_the_plan_is_the_users_too():
    plan = Plan(
        trunk=(1, None),
        levels=((Bottlenecks(24, 2, hidden=8),), (Bottlenecks(40, 1, 2, hidden=8),)),
    )
    model = sp.build_nhl(
        {"s": ["a", "b"], "c": None},
        family="resnet50",
        plan=plan,
        input_shape=(16, 16, 3),
        stem="small",
    )
    assert model.get_layer("trunk").output_shape == (None, 8, 8, 512)
    assert model.get_layer("branch_s").output_shape == (None, 8, 8, 24)
    assert model.get_layer("branch_a").get_layer("a_pool").output.shape == (None, 40)
    assert len(model.get_layer("branch_s").get_layer("s_stage3_block2_conv2").weights) == 1
