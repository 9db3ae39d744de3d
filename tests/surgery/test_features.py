"""The features inside a branch: the same values, and their gradients on every backend."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_seqpar as sp
from tests import harness

TREE = {"pets": ["cat", "dog"], "car": None}


def gradient(rest, features, *others, column: int = 0) -> np.ndarray:
    """Gradient of the scores of a column with respect to the features."""
    features, *others = map(ops.convert_to_tensor, (features, *others))
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(features)
            score = ops.sum(rest([features, *others])[:, column])
        return harness.array(tape.gradient(score, features))
    if backend == "jax":
        import jax

        return np.array(jax.grad(lambda f: ops.sum(rest([f, *others])[:, column]))(features))
    features = features.detach().requires_grad_()
    ops.sum(rest([features, *others])[:, column]).backward()
    return harness.array(features.grad.cpu())


@pytest.mark.parametrize("after", [None, "stage4_block1_conv1", "dog_stage4_block1_conv1"])
def test_the_two_networks_are_the_network(after):
    model = sp.with_activation(harness.network(TREE), None)
    images = ops.convert_to_tensor(harness.images(model))
    before, rest = sp.split_branch(model, "dog", after=after)
    features = before(images)
    assert len(features.shape) == 4
    assert np.array_equal(harness.array(rest([features, images])), harness.predict(model, images))
    assert {id(w) for w in rest.weights} <= {id(w) for w in model.weights}


def test_gradients_are_those_of_small_differences():
    model = sp.with_activation(harness.network(TREE), None)
    images = harness.images(model, 1)
    before, rest = sp.split_branch(model, "pets")  # features that two categories read
    features = harness.array(before(images))
    found = gradient(rest, features, images, column=1)
    direction = np.random.default_rng(1).normal(size=features.shape).astype("float32")
    step = 1e-3 * np.abs(features).max() / np.abs(direction).max()
    ends = [
        harness.predict(rest, features + sign * step * direction, images)[0, 1].astype("float64")
        for sign in (1, -1)
    ]
    wanted = (ends[0] - ends[1]) / (2 * step)
    assert np.abs(found).max() > 0
    assert np.sum(found * direction) == pytest.approx(wanted, rel=0.02)
    assert np.abs(gradient(rest, features, images, column=2)).max() == 0  # of "car"


def test_gains_are_before_or_behind():
    model = sp.with_activation(harness.network(TREE), None)
    attended = sp.attend(model, {"dog": 2.0}, after="stage4_block1_relu")  # at the branch's end
    images = harness.images(model)
    plain, _ = sp.split_branch(attended, "dog", after="stage4_block1_relu")
    gained, rest = sp.split_branch(attended, "dog")
    twice = 2 * harness.predict(plain, images)
    assert harness.error(harness.predict(gained, images), twice) == 0
    again = harness.predict(rest, harness.predict(gained, images), images)
    assert np.array_equal(again, harness.predict(attended, images))

    steerable = sp.attention_input(model)
    gains = np.full((2, 4), 1.5, "float32")
    before, rest = sp.split_branch(steerable, "cat")
    features = harness.predict(before, images, gains)
    again = harness.predict(rest, features, images, gains)
    assert np.array_equal(again, harness.predict(steerable, images, gains))


def test_what_is_refused_is_named():
    model = harness.network(TREE)
    with pytest.raises(ValueError, match=r"Unknown layer of the branch of 'dog' 'conv9'\. .*Valid"):
        sp.split_branch(model, "dog", after="conv9")
    with pytest.raises(ValueError, match="wolf"):
        sp.split_branch(model, "wolf")
    with pytest.raises(TypeError, match="after must be the name of a layer, got 3"):
        sp.split_branch(model, "dog", after=3)
    with pytest.raises(ValueError, match="plain network"):
        sp.split_branch(sp.plain_twin(model), "dog")
