import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.weights import copy_weights, named_weights
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
    assert copied == list(named_weights(target))
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


def test_a_loose_copy_takes_what_fits():
    source = harness.network()
    labels = [*harness.LABELS[1:3], "new"]
    target = harness.build(labels, seed=5)
    fresh = _values(target)
    copied = copy_weights(source, target, strict=False)
    given, now = _values(source), _values(target)
    assert copied == [key for key in now if key in given]
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
    assert copy_weights(wide, narrow, strict=False) == ["a_logit/bias", "b_logit/bias"]


def test_a_copy_of_nothing_is_refused_even_when_loose():
    inputs = keras.Input((2,))
    other = keras.Model(inputs, keras.layers.Dense(1, name="alone")(inputs), name="other")
    with pytest.raises(ValueError, match=r"weights of 'other' do not fit 'phl_resnet18'"):
        copy_weights(other, harness.build(["a"]), strict=False)


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
    assert len(copy_weights(small, target, strict=False)) == len(small.weights)
