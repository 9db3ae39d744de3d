import keras
import numpy as np
import pytest
from keras import ops

from keras_seqpar.families.layers import StochasticDepth, TopDownGain, check_gain
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.layers import CategoryScores, GainSplit
from tests import harness
from tests.harness import array

TREE = Hierarchy.of({"pets": ["cat", "dog"], "car": None})
X = np.random.default_rng(0).normal(size=(4, 3, 2, 5)).astype("float32")


def again(layer):
    """The layer after a round trip through its serialized configuration."""
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == f"keras_seqpar>{type(layer).__name__}"
    new = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(new) == config
    return new


def test_scores_join_logits_in_order():
    columns = [np.full((2, 1), value, "float32") for value in (3, 1, 2)]
    layer = CategoryScores(TREE, None)
    assert np.array_equal(array(layer(columns)), [[3, 1, 2]] * 2)
    assert np.array_equal(array(layer(np.hstack(columns))), [[3, 1, 2]] * 2)


def test_scores_apply_the_activation():
    x = np.array([[3.0, 1.0, -2.0]], "float32")
    for activation, want in (
        ("softmax", harness.softmax(x)),
        ("sigmoid", 1 / (1 + np.exp(-x))),
        ("linear", x),
        (None, x),
    ):
        assert harness.error(array(CategoryScores(TREE, activation)(x)), want) < 1e-6


def test_scores_carry_the_hierarchy_through_their_configuration():
    tree = Hierarchy(TREE.roots, ["car", "dog", "cat"])
    new = again(CategoryScores(tree, "sigmoid", name="categories", dtype="float32"))
    assert new.hierarchy == tree
    assert new.classifier_activation == "sigmoid"


def test_scores_know_their_shape():
    layer = CategoryScores(TREE)
    assert layer.compute_output_shape([(None, 1)] * 3) == (None, 3)
    assert layer.compute_output_shape((7, 3)) == (7, 3)
    assert layer([keras.Input((1,)) for _ in range(3)]).shape == (None, 3)
    assert layer(keras.Input((3,))).shape == (None, 3)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="softmaxx"):
        CategoryScores(TREE, "softmaxx")


def test_a_neutral_gain_does_nothing():
    x = ops.convert_to_tensor(X)
    assert TopDownGain()(x) is x
    inputs = keras.Input((3, 2, 5))
    model = keras.Model(inputs, TopDownGain()(inputs))
    assert np.array_equal(harness.predict(model, X), X)


@pytest.mark.parametrize("gain", [0, 0.5, 2, 1.3, np.float32(1.5), np.int64(3)])
def test_a_gain_multiplies(gain):
    layer = again(TopDownGain(gain))
    assert layer.gain == float(gain)
    assert np.array_equal(array(layer(X)), X * np.float32(gain))


def test_gains_per_image_multiply_the_constant_one():
    gains = np.array([[1.0], [0.0], [2.0], [0.7]], "float32")
    factor = gains.reshape(4, 1, 1, 1)
    assert np.array_equal(array(TopDownGain()(X, gains)), X * factor)
    assert np.array_equal(array(TopDownGain(3.0)(X, gains)), X * np.float32(3) * factor)
    inputs, gain_inputs = keras.Input((3, 2, 5)), keras.Input((1,))
    y = TopDownGain(3.0)(inputs, gain_inputs)
    assert y.shape == inputs.shape
    model = keras.Model([inputs, gain_inputs], y)
    assert np.array_equal(harness.predict(model, X, gains), X * np.float32(3) * factor)


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_bfloat16"])
def test_gains_keep_the_type_of_the_features(policy):
    layer = again(TopDownGain(1.25, dtype=policy))
    y = layer(X, np.full((4, 1), 2, "float32"))
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    assert harness.error(array(ops.cast(y, "float32")), X * 2.5) < 1e-2


@pytest.mark.parametrize("gain", [-0.1, float("nan"), float("inf"), -float("inf")])
def test_a_gain_out_of_range_is_refused(gain):
    text = f"must be finite and not negative, got {gain}. 1 is neutral, above 1 enhances"
    with pytest.raises(ValueError, match=text.replace(".", r"\.")):
        TopDownGain(gain)
    with pytest.raises(ValueError, match="The gain of 'cat' must be finite"):
        check_gain(gain, "cat")


@pytest.mark.parametrize("gain", ["1", None, True, [1.0], 1j])
def test_a_gain_that_is_no_number_is_refused(gain):
    with pytest.raises(TypeError, match="The gain of 'cat' must be a number, got "):
        check_gain(gain, "cat")
    with pytest.raises(TypeError, match="The gain must be a number, got "):
        TopDownGain(gain)


def test_splitting_gains():
    gains = np.arange(6, dtype="float32").reshape(2, 3)
    layer = again(GainSplit(("pets", "cat", "dog")))
    assert layer.nodes == ["pets", "cat", "dog"]
    for i, column in enumerate(layer(gains)):
        assert np.array_equal(array(column), gains[:, i : i + 1])
    assert [x.shape for x in layer(keras.Input((3,)))] == [(None, 1)] * 3


def test_stochastic_depth_is_the_identity_at_inference():
    x = ops.convert_to_tensor(X)
    layer = StochasticDepth(0.5, seed=3)
    assert layer(x) is x
    assert layer(x, training=False) is x
    assert StochasticDepth(0.0)(x, training=True) is x


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean():
    x = np.ones((2000, 1, 1, 3), "float32")
    y = array(again(StochasticDepth(0.25, seed=3))(x, training=True))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert np.array_equal(y, np.broadcast_to(y[..., :1], y.shape))
    assert abs((y == 0).mean() - 0.25) < 0.04
    assert abs(y.mean() - 1) < 0.06


def test_stochastic_depth_is_repeatable_by_seed_and_moves_on():
    x = np.ones((64, 1, 1, 1), "float32")
    a, b, c = StochasticDepth(0.5, seed=1), StochasticDepth(0.5, seed=1), StochasticDepth(0.5, 2)
    first, second = array(a(x, training=True)), array(a(x, training=True))
    assert np.array_equal(array(b(x, training=True)), first)
    assert not np.array_equal(first, second)
    assert not np.array_equal(array(c(x, training=True)), first)
