"""The same network in tf_keras: what it computes, what training brings back, what is refused."""

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.families.layers import StochasticDepth
from keras_seqpar.mobile.network import read_network
from keras_seqpar.surgery.unknowns import threshold_of
from tests import harness

pytestmark = pytest.mark.only_backend("tensorflow")

NESTED = {"animals": ["cat", "dog"], "vehicles": ["car", {"large": ["bus", "tram"]}]}
SIZE = 32


def net(tree=harness.LABELS[:3], **options) -> keras.Model:
    return harness.network(tree, size=SIZE, **options)


def pixels(count=4, size=SIZE) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (count, size, size, 3)).astype("float32")


def gains_behind_convolutions() -> keras.Model:
    return sp.attend(net(), {"tench": 1.7, "cassette player": 0.4})


def gains_elsewhere() -> keras.Model:
    moved = sp.attend(net(), {"tench": 1.7}, after="stage3_block1_relu")
    return sp.attend(moved, {"cassette player": 0.0})


MODELS = {
    "early": lambda: net(plan="early"),
    "late split, normalized input": lambda: net(plan="late_sp", include_preprocessing=False),
    "pixels": lambda: net(include_preprocessing=True),
    "gray pixels": lambda: net(include_preprocessing=True, input_shape=(SIZE, SIZE, 1)),
    "nested": lambda: net(NESTED),
    "gains": gains_behind_convolutions,
    "gains elsewhere": gains_elsewhere,
    "bottlenecks, standard stem": lambda: net(family="resnet50", stem="standard"),
    "one category, sigmoid": lambda: net(["cat"], classifier_activation="sigmoid"),
    "logits": lambda: net(classifier_activation=None),
    "stochastic depth": lambda: net(drop_path_rate=0.5),
    "cutout": lambda: sp.cutout(net(NESTED), ["tram", "cat"]),
    "plain": lambda: sp.build_plain(
        3, family="resnet18", width=0.125, input_shape=(SIZE, SIZE, 3), stem="small", seed=0
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_the_twin_computes_the_same(case):
    model = MODELS[case]()
    images = pixels()[..., : model.inputs[0].shape[-1]]
    if not read_network(model).takes_pixels:
        images = images / 64 - 2
    twin = mobile.to_tf_keras(model)
    assert not any(hasattr(layer, "layers") for layer in twin.layers)  # flat
    scores = twin(images, training=False).numpy()
    assert np.abs(scores - harness.predict(model, images)).max() <= 1e-5
    logits = mobile.to_tf_keras(model, logits=True)(images, training=False).numpy()
    assert harness.error(logits, harness.logits(model, images)) <= 1e-5


def test_networks_from_elsewhere():
    image = keras.Input((8, 8, 3))
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu")(image)
    x = keras.layers.Conv2D(8, 3, dilation_rate=2, padding="same")(x)
    x = keras.layers.BatchNormalization()(x)
    y = keras.layers.AveragePooling2D(2)(keras.layers.Concatenate()([x, image]))
    y = keras.layers.Dropout(0.5)(keras.layers.Reshape((-1,))(y))
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(y))
    harness.randomize(model)
    images = pixels(size=8) / 255
    found = mobile.to_tf_keras(model)(images).numpy()
    assert np.abs(found - harness.predict(model, images)).max() <= 1e-5


def test_weights_come_back():
    """Also through folded gains; and the network given stays as it is."""
    model = gains_behind_convolutions()
    before = harness.values(model)
    twin = mobile.to_tf_keras(model)
    rng = np.random.default_rng(0)
    trained = [w + 0.1 * np.abs(rng.normal(size=w.shape)) for w in twin.get_weights()]
    twin.set_weights(trained)
    back = mobile.from_tf_keras(twin, model)
    images = pixels() / 64 - 2
    wanted = twin(images, training=False).numpy()
    assert np.abs(harness.predict(back, images) - wanted).max() <= 1e-5
    assert harness.same_values(harness.values(model), before)
    assert [n.name for n in back.layers] == [n.name for n in model.layers]
    assert not harness.same_values(harness.values(back), before)


def test_mixed_precision_becomes_float32():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = harness.build(["a", "b"], size=SIZE)
    finally:
        keras.config.set_dtype_policy(policy)
    harness.randomize(model)
    twin = mobile.to_tf_keras(model)
    assert twin.dtype_policy.name == "float32" and twin(pixels() / 255).dtype == "float32"
    back = mobile.from_tf_keras(twin, model)
    assert harness.same_values(harness.values(back), harness.values(model))


def test_frozen_layers_stay_frozen():
    model = harness.build(["a", "b"], size=SIZE, include_preprocessing=True)
    model.get_layer("trunk").trainable = False
    twin = mobile.to_tf_keras(model)
    trainable = {v.name.split("/")[0] for v in twin.trainable_variables}
    assert trainable and all(name.startswith(("a_", "b_")) for name in trainable)


def test_stochastic_depth_drops_whole_images():
    image = keras.Input((2, 2, 3))
    layer = StochasticDepth(0.5, seed=0)
    twin = mobile.to_tf_keras(keras.Model(image, layer(image)))
    found = twin(np.ones((64, 2, 2, 3), "float32"), training=True).numpy().reshape(64, -1)
    assert {tuple(row) for row in found} == {(0.0,) * 12, (2.0,) * 12}
    layer.trainable = False
    twin = mobile.to_tf_keras(keras.Model(image, layer(image)))
    assert len(twin.layers) == 1  # frozen: as at inference


def test_a_threshold_is_dropped():
    logits = np.random.default_rng(0).normal(size=(20, 3))
    model = sp.with_threshold(net(), sp.fit_threshold(logits))
    back = mobile.from_tf_keras(mobile.to_tf_keras(model), model)
    assert threshold_of(back) is None
    assert threshold_of(model) is not None


def test_what_is_refused():
    convnext = harness.network(["a", "b"], family="convnext_v2_atto", size=SIZE)
    with pytest.raises(ValueError, match="is a LayerNormalization, .*not ConvNeXt V2.*convert"):
        mobile.to_tf_keras(convnext)
    with pytest.raises(ValueError, match="2 inputs and 1 outputs.*keras_seqpar.attend"):
        mobile.to_tf_keras(sp.attention_input(net()))
    with pytest.raises(TypeError, match=r"Expected a keras.Model, got 'net.keras'"):
        mobile.to_tf_keras("net.keras")
    image = keras.Input((4, 4, 3))
    with pytest.raises(ValueError, match="is no functional model"):
        mobile.to_tf_keras(keras.Sequential([image, keras.layers.Flatten()]))
    relu = keras.layers.ReLU(name="shared")
    with pytest.raises(ValueError, match="'shared' is called twice"):
        mobile.to_tf_keras(keras.Model(image, relu(relu(image))))
    gelu = keras.layers.Dense(2, activation="gelu", name="curved")
    with pytest.raises(ValueError, match="'curved' has the activation 'gelu'.*linear, relu"):
        mobile.to_tf_keras(keras.Model(image, gelu(image)))
    first = keras.layers.Conv2D(2, 1, data_format="channels_first", name="first")
    with pytest.raises(ValueError, match="'first' is channels_first"):
        mobile.to_tf_keras(keras.Model(image, first(image)))
    with pytest.raises(ValueError, match="(?s)was not made of the network.*missing in the source"):
        mobile.from_tf_keras(mobile.to_tf_keras(net()), net(NESTED))
