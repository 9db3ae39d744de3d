"""Keras models as graphs: what they are made of, their fingerprints, and what is refused."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seqpar.families.layers import GlobalResponseNorm
from keras_seqpar.selective.keras_engine.graph import read_model
from keras_seqpar.selective.planning.planner import make_plan
from tests import harness


def small(*, filters=4, activation="relu"):
    inner = keras.Input((None, None, 3))
    outputs = layers.Conv2D(filters, 3, padding="same", activation=activation)(inner)
    block = keras.Model(inner, outputs)
    inputs = keras.Input((8, 10, 3), name="frame")
    x = layers.Dropout(0.5)(block(inputs))
    return keras.Model(inputs, layers.Dense(2, name="scores")(x), name="small")


def test_nested_models_are_read_as_one_graph():
    graph = read_model(small())
    assert [x.name for x in graph.operations] == ["Conv2D", "Dropout", "Dense"]
    assert graph.inputs == {0: "frame"}
    assert list(graph.outputs.values()) == ["scores"]
    assert [x.shape for x in graph.tensors][1] == (1, 8, 10, 4)
    macs = [graph.rules.macs_of(graph, x) for x in graph.operations]
    assert macs == [80 * 27 * 4, 0, 80 * 4 * 2]


def test_macs_are_those_that_costs_count():
    import keras_seqpar as sp

    model = harness.network(harness.LABELS[:2])
    assert make_plan(read_model(model)).macs == sp.cost(model).macs


def test_fingerprints_are_of_what_is_computed():
    model = small()
    harness.randomize(model)
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    found = read_model(model).fingerprint
    assert read_model(twin).fingerprint == found
    twin.layers[-1].bias.assign([1.0, 2.0])
    others = [twin, small(filters=5), small(activation="gelu")]
    assert found not in {read_model(x).fingerprint for x in others}


def test_models_of_open_sizes_need_one():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layers.Conv2D(2, 3)(inputs), name="open")
    assert read_model(model, (9, 7, 3)).tensors[1].shape == (1, 7, 5, 2)
    with pytest.raises(ValueError, match=r"'open' takes images of any size.*input_shape="):
        read_model(model)
    with pytest.raises(ValueError, match=r"input_shape=\(8, 8, 3\) does not fit the model 'small'"):
        read_model(small(), (8, 8, 3))


def test_what_is_no_functional_model_of_images_is_refused():
    class Mine(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(TypeError, match="a keras.Model, got Conv2D"):
        read_model(layers.Conv2D(1, 1))
    with pytest.raises(ValueError, match="functional model"):
        read_model(Mine())
    vector = keras.Input((4,))
    with pytest.raises(ValueError, match="first input is an image"):
        read_model(keras.Model(vector, layers.Dense(1)(vector)))
    frame, second = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="takes only vectors, such as gains"):
        read_model(keras.Model([frame, second], layers.Add()([frame, second])))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: GlobalResponseNorm(), "every output reads all positions"),
        (lambda: layers.GroupNormalization(2), "every output reads all positions"),
        (lambda: layers.BatchNormalization(axis=1), "axis 1, not on the channels"),
        (lambda: layers.LayerNormalization(axis=(1, 2, 3)), "not on the channels alone"),
        (lambda: layers.Concatenate(axis=1), "it joins positions"),
        (lambda: layers.Conv2D(4, 3, activation=lambda x: x), "its activation is not one of"),
        (lambda: layers.Activation(lambda x: x), "its activation is not one of Keras's"),
        (lambda: layers.UpSampling2D(interpolation="bicubic"), "its interpolation is 'bicubic'"),
        (lambda: layers.Conv2DTranspose(2, 3, dilation_rate=2), "it has a dilation"),
        (lambda: layers.PReLU(), "its slopes differ between positions"),
        (lambda: layers.Rescaling(np.ones((8, 8, 4))), "differs between positions"),
        (lambda: layers.Lambda(lambda x: x[:, ::-1], (8, 8, 4)), "no rule says"),
        (lambda: lambda x: x + np.ones((1, 8, 8, 4), "float32"), "array that has positions"),
        (lambda: lambda x: keras.ops.mean(x, axis=(1, 2), keepdims=True), "works on axis"),
    ],
)
def test_barriers_name_their_reason(make, reason):
    inputs = keras.Input((8, 8, 4))
    layer = make()
    join = isinstance(layer, layers.Concatenate)
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    model = keras.Model(inputs, layer([x, x] if join else x))
    (found,) = make_plan(read_model(model)).barriers.values()
    assert reason in found
