import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.families.base import Plan
from keras_seqpar.weights import copy_weights, from_network, named_weights
from tests import harness


def test_names_cover_all_weights_by_layer():
    model = harness.network()
    named = named_weights(model)
    assert len(named) == len(model.weights)
    assert {id(v) for v in named.values()} == {id(v) for v in model.weights}
    for key in (
        "stem_conv/kernel",
        "stage2_block1_conv1_norm/moving_variance",
        "french_horn_logit/bias",
    ):
        assert key in named_weights(harness.network(harness.LABELS))
    assert tuple(named["stem_conv/kernel"].shape) == (3, 3, 3, 8)


def test_two_layers_of_one_name_are_refused():
    def part(name):
        inputs = keras.Input((2,))
        return keras.Model(inputs, keras.layers.Dense(2, name="same")(inputs), name=name)

    inputs = keras.Input((2,))
    model = keras.Model(inputs, part("b")(part("a")(inputs)), name="both")
    with pytest.raises(ValueError, match=r"Two weights of 'both' are called 'same/kernel'"):
        named_weights(model)


def test_a_strict_copy_makes_networks_equal():
    source = harness.network()
    target = harness.build(harness.LABELS[:4], seed=5)
    x = harness.images(source)
    assert not np.array_equal(harness.predict(target, x), harness.predict(source, x))
    copied = copy_weights(source, target)
    assert copied.names == tuple(named_weights(target))
    assert copied.kept == copied.ignored == ()
    assert np.array_equal(harness.predict(target, x), harness.predict(source, x))


def test_order_of_categories_does_not_mix_branches_up():
    source = harness.network()
    order = [2, 0, 3, 1]
    target = harness.build([harness.LABELS[i] for i in order], seed=5)
    copy_weights(source, target)
    x = harness.images(source)
    assert np.array_equal(harness.logits(target, x), harness.logits(source, x)[:, order])


def test_copies_are_independent():
    source, target = harness.build(["a", "b"]), harness.build(["a", "b"], seed=5)
    copy_weights(source, target)
    before = harness.values(source)
    harness.randomize(target)
    assert harness.same_values(harness.values(source), before)
    assert not harness.same_values(harness.values(target), before)


def test_copies_outlive_what_keras_does_with_the_source():
    """On JAX, `predict` frees the arrays that it was given: a copy must not be one of them."""
    source, target = harness.build(["a", "b"]), harness.build(["a", "b"], seed=5)
    copy_weights(source, target)
    source.predict(harness.images(source), verbose=0)
    assert harness.same_values(harness.values(target), harness.values(source))


def test_a_partial_copy_takes_what_fits():
    source = harness.network()
    labels = [*harness.LABELS[1:3], "new"]
    target = harness.build(labels, seed=5)
    fresh = _values(target)
    copied = copy_weights(source, target, partial=True).names
    given, now = _values(source), _values(target)
    assert copied == tuple(key for key in now if key in given)
    assert set(now) - set(copied) == {key for key in now if key.startswith("new_")}
    for key, value in now.items():
        assert np.array_equal(value, given[key] if key in copied else fresh[key])
    x = harness.images(source)
    want = harness.logits(source, x)[:, 1:3]
    assert np.array_equal(harness.logits(target, x)[:, :2], want)


def _values(model):
    return {k: harness.array(v) for k, v in named_weights(model).items()}


def test_a_file_of_other_categories_is_refused_with_a_readable_difference(tmp_path):
    source = harness.reload(harness.network(["cat", "dog"]), tmp_path)
    target = harness.build(["cat", "horse"])
    before = harness.values(target)
    with pytest.raises(ValueError) as e:
        copy_weights(source, target)
    count = sum(key.startswith("horse_") for key in named_weights(target))
    lines = str(e.value).split("\n")
    assert lines[0] == f"The weights of {source.name!r} do not fit {target.name!r}."
    assert lines[1] == f"  {count} missing in the source:"
    assert lines[2] == "    horse_stage3_block1_conv1/kernel"
    assert lines[10] == f"    ... and {count - 8} more"
    assert lines[11] == f"  {count} without a place in the target:"
    assert lines[12] == "    dog_stage3_block1_conv1/kernel"
    assert len(lines) == 21
    assert harness.same_values(harness.values(target), before)  # nothing is half copied


def test_other_shapes_are_refused_and_named():
    narrow, wide = harness.build(["a", "b"]), harness.build(["a", "b"], width=0.25)
    with pytest.raises(ValueError) as e:
        copy_weights(wide, narrow)
    assert "missing" not in str(e.value) and "without a place" not in str(e.value)
    assert "of another shape:" in str(e.value)
    assert "stem_conv/kernel: (3, 3, 3, 16) given, (3, 3, 3, 8) wanted" in str(e.value)
    before = harness.values(narrow)
    with pytest.raises(ValueError, match="of another shape"):  # equal biases are no layer
        copy_weights(wide, narrow, partial=True)
    assert harness.same_values(harness.values(narrow), before)


def test_a_copy_of_nothing_is_refused_even_when_partial():
    inputs = keras.Input((2,))
    other = keras.Model(inputs, keras.layers.Dense(1, name="alone")(inputs), name="other")
    with pytest.raises(ValueError, match=r"weights of 'other' do not fit 'phl_resnet18'"):
        copy_weights(other, harness.build(["a"]), partial=True)


@pytest.mark.parametrize("bad", [None, "model.keras", {"stem_conv/kernel": 1}])
def test_only_models_are_taken(bad):
    model = harness.network(["a"])
    for pair in ((bad, model), (model, bad)):
        with pytest.raises(TypeError, match=r"Expected a keras\.Model, got "):
            copy_weights(*pair)


def test_a_cutout_with_a_new_branch_keeps_the_trained_ones():
    trained = harness.network()
    small = sp.cutout(trained, harness.LABELS[1:3])
    target = harness.build([*harness.LABELS[1:3], "new"], seed=9)
    assert len(copy_weights(small, target, partial=True).names) == len(small.weights)


# Other functions.


def refused(source, target, *texts):
    """Copying and filling fail, name what differs, and change nothing."""
    before = harness.values(target)
    for fill in (copy_weights, lambda a, b: from_network(b, a)):
        with pytest.raises(ValueError, match="do not fit") as error:
            fill(source, target)
        for text in texts:
            assert text in str(error.value)
    assert harness.same_values(harness.values(target), before)


def test_strides_in_other_convolutions_are_refused():
    v1, timms = (
        harness.build(["a", "b"], family=family, plan="late_sp", size=32)
        for family in ("resnet50_v1", "resnet50")
    )
    refused(
        v1,
        timms,
        "1 other settings in building:\n    family: resnet50_v1 in the source, resnet50 in the",
        "stage2_block1_conv1: strides (2, 2) in the source, (1, 1) in the target",
        "stage2_block1_conv2: strides (1, 1) in the source, (2, 2) in the target",
    )


def changed(model, **settings):
    """The network with other settings of its first normalization."""

    def clone(layer):
        config = layer.get_config()
        if layer.name == "stem_conv_norm":
            config.update(settings)
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=clone, recursive=True)


def test_another_epsilon_is_refused_and_another_momentum_is_not():
    model = harness.network(["a", "b"])
    text = "stem_conv_norm: epsilon 0.001 in the source, 1e-05 in the target"
    refused(changed(model, epsilon=1e-3), harness.build(["a", "b"]), text)
    copy_weights(changed(model, momentum=0.5), harness.build(["a", "b"]))


def test_other_preprocessing_is_refused_and_none_is_not():
    pixels = harness.build(["a", "b"], include_preprocessing=True)
    copy_weights(harness.network(["a", "b"]), pixels)  # normalized images in both cases

    def clone(layer):
        config = layer.get_config()
        if layer.name == "preprocessing":
            config.update(scale=1 / 127.5, offset=-1.0)
        return type(layer).from_config(config)

    other = keras.models.clone_model(pixels, clone_function=clone, recursive=True)
    refused(other, pixels, "preprocessing: scale 0.00784313725490196 in the source, [[[0.0171")


def test_what_is_no_part_of_the_function_may_differ():
    model = harness.network(["a", "b"])
    other = harness.build(["a", "b"], drop_path_rate=0.1, classifier_activation=None)
    copy_weights(model, sp.attend(other, {"a": 2.0}))
    assert np.array_equal(
        harness.predict(other, harness.images(model)), harness.logits(model, harness.images(model))
    )


def test_plain_networks_of_other_categories_are_told_apart():
    options = {"family": "resnet18", "width": 0.125, "input_shape": (32, 32, 3), "stem": "small"}
    ab, ba, plain = (sp.build_plain(names, **options) for names in (["a", "b"], ["b", "a"], 2))
    for target, shown in ((ba, "b, a"), (plain, "c0, c1")):
        text = rf"logits: for a, b in the source, for {shown} in the target"
        with pytest.raises(ValueError, match=text):
            copy_weights(ab, target)
        for report in (copy_weights(ab, target, partial=True), from_network(target, ab)):
            assert report.kept == ("logits/kernel", "logits/bias")
    assert from_network(sp.build_plain(["a", "b"], **options), ab).kept == ()


# Trunks and branches.


def test_a_plain_network_fills_a_trunk_and_not_the_other_way_round():
    options = {"family": "resnet18", "width": 0.125, "input_shape": (32, 32, 3), "stem": "small"}
    plain, model = sp.build_plain(["a", "b"], **options), sp.build_phl(["a", "b"], **options)
    report = from_network(model, plain)
    assert report.names == tuple(named_weights(model.get_layer("trunk")))
    assert "stage4_block1_conv1/kernel" in report.ignored and "logits/bias" in report.ignored
    x = harness.images(model)
    before = harness.values(plain)
    with pytest.raises(ValueError, match="missing in the source:\n    stage4_block1_conv1/kernel"):
        from_network(plain, model)
    assert harness.same_values(harness.values(plain), before)
    report = from_network(plain, model, partial=True)
    assert all(key.startswith(("stage4", "logits")) for key in report.kept)
    assert all(key.startswith("stage4") for key in report.unfilled) and report.unfilled
    trunks = from_network(model.get_layer("trunk"), model.get_layer("trunk"))
    assert trunks.kept == trunks.ignored == ()
    assert np.isfinite(harness.predict(plain, x)).all()


def test_a_deeper_family_is_refused_where_it_begins_with_the_same_layers():
    options = {"width": 0.125, "input_shape": (32, 32, 3), "stem": "small"}
    plan = Plan((None, None), harness.plan().levels)
    deeper = sp.build_plain(2, family="resnet34", **options)
    model = sp.build_phl(["a", "b"], family="resnet18", plan=plan, **options)
    with pytest.raises(ValueError, match="family: resnet34 in the source, resnet18 in the target"):
        from_network(model, deeper)


def test_a_trunk_with_more_blocks_is_refused():
    blocks = [
        harness.plan(),
        Plan((1, 2), harness.plan().levels),
        Plan((2, 1), harness.plan().levels),
    ]
    short, longer, other = (harness.build(["a", "b"], plan=plan) for plan in blocks)
    refused(short, longer, "missing in the source:\n    stage2_block2_conv1/kernel")
    refused(other, short, "without a place in the target:\n    stage1_block2_conv1/kernel")
    # the trunk is the beginning of a longer one, and the branches take other features
    report = from_network(short, longer)
    assert report.names == tuple(named_weights(short.get_layer("trunk")))


def test_a_branch_below_other_superclasses_is_left():
    ab, other = {"s": ["a", "b"], "t": ["c", "d"]}, {"s": ["a", "c"], "u": ["b", "d"]}
    source, target = harness.network(ab), harness.build(other)
    report = from_network(target, source)
    branches = {key.split("_")[0] for key in report.names} - {"stem", "stage1", "stage2"}
    assert branches == {"s", "a"}
    assert {key.split("_")[0] for key in report.kept} == {"b", "c", "d", "u"}


# Banks.


@pytest.mark.parametrize("forms", [(False, True), (True, False), (True, True)])
def test_branches_are_filled_whatever_their_form(forms):
    tree = {"pets": ["cat", "dog"], "car": None, "tree": None}
    other = {"pets": ["dog", "cow"], "car": None, "things": ["tree"]}
    source = harness.network(tree)
    expected = from_network(harness.build(other, seed=5), source)
    source = sp.fuse(source) if forms[0] else source
    target = harness.build(other, seed=5, fused=forms[1])
    report = from_network(target, source, name=expected.source)
    assert (set(report.names), set(report.kept)) == (set(expected.names), set(expected.kept))
    assert set(report.ignored) == set(expected.ignored)
    x, columns = harness.images(target), [[0, 2], [1, 2]]  # dog and car, in each
    found, wanted = (
        harness.logits(m, x)[:, i] for m, i in zip((target, source), columns, strict=True)
    )
    assert harness.error(found, wanted) < 1e-5


def test_banks_are_compared_as_branches_are():
    source, tree = sp.fuse(harness.network(["a", "b", "c"])), ["a", "b", "c"]
    target = harness.build(tree, fused=True, dtype="mixed_bfloat16", drop_path_rate=0.1, seed=5)
    copied = copy_weights(sp.attend(source, {"a": 2.0}), target)  # as a run saves its network
    assert copied.names == tuple(named_weights(target))
    wanted = named_weights(source)
    for name, weight in named_weights(target).items():
        assert np.array_equal(harness.array(weight), harness.array(wanted[name])), name
    other = harness.build(["a", "c", "b"], fused=True)
    with pytest.raises(ValueError, match="branches of a, b, c in the source, of a, c, b"):
        copy_weights(source, other)
    wider = harness.build(tree, fused=True, width=0.25)
    with pytest.raises(ValueError, match="of another shape"):
        copy_weights(source, wider)
    for pair in ((source, harness.network(tree)), (harness.network(tree), source)):
        with pytest.raises(ValueError, match=r"is fused and .* is not. .* keras_seqpar.unfuse"):
            copy_weights(*pair)


def test_a_trunk_is_filled_below_banks():
    options = {"family": "resnet18", "width": 0.125, "input_shape": (32, 32, 3)}
    plain, model = sp.build_plain(2, **options), sp.build_phl(["a", "b"], fused=True, **options)
    for partial in (False, True):
        report = from_network(model, plain, partial=partial)
        assert report.names == tuple(named_weights(model.get_layer("trunk")))
        assert "a_stage4_block1_conv1/kernel" in report.kept
