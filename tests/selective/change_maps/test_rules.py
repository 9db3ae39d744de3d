"""Through which layers and operations changes are followed, and the errors for others."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_seqpar import selective
from tests import harness
from tests.selective import random_nets as rn
from tests.selective.players import play


def test_an_unsupported_layer_is_named_and_can_be_dense():
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(2, 3, padding="same", name="before")(inputs)
    x = layers.Permute((2, 1, 3), name="turned")(x)
    model = keras.Model(inputs, layers.Conv2D(2, 3, name="behind")(x), name="odd")
    with pytest.raises(ValueError, match=r"'odd' \('turned': no rule.*unsupported=\"dense\""):
        selective.stream(model)
    (stream,) = play(model, rn.lone_pixels((8, 8))[:2], ["positions"], unsupported="dense")
    assert list(stream.program.unsupported) == ["turned"]


def test_subclasses_of_keras_layers_are_unsupported():
    class Mirrored(layers.ReLU):
        def call(self, x):
            return ops.flip(x, axis=1)

    def mirrored(x):
        return ops.flip(x, axis=1)

    inputs = keras.Input((8, 8, 2))
    x = layers.ZeroPadding2D(1, name="pad")(inputs)
    x = layers.Conv2D(2, 3, activation=mirrored, name="conv")(x)
    model = keras.Model(inputs, Mirrored(name="relu")(x))
    (stream,) = play(model, rn.lone_pixels((8, 8))[:1], ["positions"], unsupported="dense")
    assert list(stream.program.unsupported) == ["conv"]  # after it, any layer works
    with pytest.raises(ValueError, match="'relu'.*Mirrored"):
        selective.stream(keras.Model(x, Mirrored(name="relu")(x)))


def test_a_layer_with_a_loop_and_a_condition():
    class Doubled(layers.Layer):
        def call(self, x):
            x = ops.cond(ops.sum(x) > 0, lambda: x, lambda: -x)
            done = ops.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, 2 * y), (0, x))
            return done[1]

    inputs = keras.Input((8, 8, 2))
    x = Doubled()(layers.Conv2D(2, 3, padding="same")(inputs))
    model = keras.Model(inputs, layers.Conv2D(2, 3)(x))
    play(model, rn.lone_pixels((8, 8))[:2], ["positions"], unsupported="dense")


SCALES = np.array([0.5, -1.0, 2.0, 1.0], "float32")
OPERATIONS = {
    "sum": lambda x, y: x + y,
    "numbers": lambda x, y: 1.5 - 2.0 * x,
    "scales": lambda x, y: x * SCALES + ops.convert_to_tensor(SCALES),
    "quotient": lambda x, y: x / (1.0 + ops.absolute(y)),
    "power": lambda x, y: ops.absolute(x) ** 1.5,
    "larger": lambda x, y: ops.maximum(ops.minimum(x, 0.5), y),
    "clip": lambda x, y: ops.clip(x, -0.5, 0.5),
    "activations": lambda x, y: ops.gelu(ops.leaky_relu(ops.hard_silu(x))) + ops.relu6(y),
    "roots": lambda x, y: ops.sqrt(ops.square(x) + 1) * ops.rsqrt(ops.exp(y)),
    "logarithm": lambda x, y: ops.log(1.0 + ops.exp(-ops.absolute(x))) - ops.log1p(ops.square(y)),
    "channels": lambda x, y: ops.concatenate([x, -y], axis=-1),
    "one for all channels": lambda x, y: x * ops.sigmoid(ops.max(y, axis=-1, keepdims=True)),
    "softmax": lambda x, y: ops.softmax(x) + ops.log_softmax(y, axis=3),
}


def with_operation(operation):
    """A network that calls an operation of keras.ops on two maps."""
    inputs = keras.Input((9, 11, 3))
    x = layers.Conv2D(4, 3, padding="same", name="one")(inputs)
    y = layers.Conv2D(4, 1, name="two")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 3, name="behind")(operation(x, y)))
    harness.randomize(model)
    return model


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_operations_of_keras_ops_are_followed(operation):
    model = with_operation(operation)
    (stream,) = play(model, rn.lone_pixels((9, 11))[:3], ["positions"])
    assert not stream.program.unsupported and not stream.program.barriers
    assert stream.change_map("behind").sum() < stream.change_map("behind").size


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (lambda x, y: x * np.ones((9, 11, 1), "float32"), "an array that has positions"),
        (lambda x, y: ops.clip(x, np.zeros((9, 1, 1), "float32"), 1.0), "its bounds differ"),
        (lambda x, y: ops.concatenate([x, y], axis=1), "only channels"),
        (lambda x, y: x + ops.mean(y, axis=1, keepdims=True), r"works on axis \[1\]"),
        (lambda x, y: ops.flip(x, axis=1), "no rule is known for Flip"),
    ],
)
def test_operations_that_read_other_positions_are_refused_by_name(operation, why):
    model = with_operation(operation)
    with pytest.raises(ValueError, match=why):
        selective.stream(model)
    play(model, rn.lone_pixels((9, 11))[:2], ["positions"], unsupported="dense")


def test_layers_after_a_reduction_over_all_positions_are_dense():
    model = with_operation(lambda x, y: x * ops.mean(y, axis=(1, 2), keepdims=True))
    (stream,) = play(model, rn.lone_pixels((9, 11))[:2], ["positions"])
    assert stream.change_map("behind").all() and stream.change_map("one").sum() < 10


def test_networks_that_differ_in_a_number_have_other_fingerprints():
    found = []
    for by in (2.0, 2.0, 3.0, SCALES, SCALES + 1):
        found.append(selective.stream(with_operation(lambda x, y, by=by: x * by)).fingerprint)
    assert found[0] == found[1]
    assert len(set(found)) == 4


def test_names_and_initializers_do_not_change_the_fingerprint():
    found = set()
    for seed in range(2):
        layer = layers.Conv2D(2, 3, kernel_initializer=keras.initializers.HeNormal(seed))
        model = keras.Sequential([keras.Input((9, 11, 3)), layer, layers.ReLU()])
        layer.set_weights([np.ones((3, 3, 3, 2)), np.zeros(2)])
        layer.trainable = bool(seed)
        found.add(selective.stream(model).fingerprint)
    assert len(found) == 1


def test_models_that_cannot_be_streamed_are_refused():
    with pytest.raises(TypeError, match="Expected a keras.Model, got 3"):
        selective.stream(3)
    vector = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(
        ValueError, match="first input is an image of shape .height, width, channels"
    ):
        selective.stream(vector)
    open_size = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 1)])
    with pytest.raises(ValueError, match="Pass input_shape"):
        selective.stream(open_size)
    assert selective.stream(open_size, input_shape=(8, 9, 3)).program.shapes[0] == (8, 9, 3)
    with pytest.raises(ValueError, match="does not fit"):
        selective.stream(open_size, input_shape=(8, 9, 4))
    half = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 1, dtype="mixed_float16")])
    with pytest.raises(ValueError, match="computes in float16"):
        selective.stream(half)

    class Subclass(keras.Model):
        pass

    with pytest.raises(ValueError, match="is not a functional model"):
        selective.stream(Subclass(name="sub"))
