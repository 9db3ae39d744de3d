"""Networks that Keras has quantized: computed as Keras does, or refused with the layer's name."""

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import presets, selective, weights
from keras_seqpar.networks.quantized import quantization_mode
from keras_seqpar.selective.keras_engine.graph import read_model
from keras_seqpar.selective.planning.planner import make_plan
from tests import harness

MODES = ("int8", "int4", "float8")
# Kinds to compute with: JAX compiles every operation of each.
COMPUTED = MODES[: 1 if keras.backend.backend() == "jax" else 3]
POLICIES = (
    *(f"{mode}_from_float32" for mode in MODES),
    *("int4/8_from_float32", "gptq/4/8_from_float32", "awq/4/8_from_float32"),
)
KEPT = ["cat", "dog"]

pytestmark = pytest.mark.filterwarnings("ignore:Layer .* does not have a .quantize. method")


def small(where: str):
    """A model with a dense layer on a map, or in the head."""
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, padding="same")(image)
    if where == "map":
        x = keras.layers.Dense(16, activation="relu", name="on_map")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, padding="same")(x))
    return keras.Model(image, keras.layers.Dense(4, name="head")(x), name="small")


def frames(count=3):
    frame = np.random.default_rng(0).normal(size=(16, 16, 3)).astype("float32")
    for i in range(count):
        frame = frame.copy()
        frame[4 + i : 6 + i, 3:7] += 1
        yield frame


def error_of(camera, model, frame) -> float:
    return harness.error(camera(frame).output.reshape(-1), harness.predict(model, frame[None])[0])


@pytest.mark.parametrize("mode", COMPUTED)
def test_a_stream_computes_quantized_layers_on_maps_whole(mode):
    model = small("map")
    model.quantize(mode)
    (why,) = make_plan(read_model(model)).barriers.values()
    assert why == f"it was quantized by Keras ({mode}): take the original model"
    camera = selective.stream(model, engine="keras")
    for frame in frames():
        assert error_of(camera, model, frame) < 0.05  # a value may be rounded the other way


@pytest.mark.parametrize("mode", COMPUTED)
def test_a_stream_computes_a_quantized_head_as_keras_does(mode):
    model = small("head")
    model.quantize(mode)
    camera = selective.stream(model, engine="keras")
    for frame in frames():
        assert error_of(camera, model, frame) < 0.05  # a value may be rounded the other way


@pytest.mark.parametrize("policy", POLICIES)
def test_every_kind_of_quantization_is_known_by_its_policy(policy):
    layer = keras.layers.Dense(16, dtype=policy, name="dense")
    mode = policy.split("_")[0].split("/")[0]
    assert quantization_mode(layer) == mode


def test_layers_that_keras_will_quantize_later_are_barriers_too(monkeypatch):
    monkeypatch.setattr(keras.layers.Conv2D, "quantization_mode", "int2")
    (why,) = make_plan(read_model(small("head"))).barriers.values()
    assert "quantized by Keras (int2)" in why


def test_layers_of_keras_applications_are_named_by_their_class():
    model = keras.applications.ConvNeXtTiny(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    layer = next(x for x in model.layers if type(x) is keras.layers.Dense)
    layer.quantize("int8")  # what model.quantize does with all 36 of them
    barriers = make_plan(read_model(model)).barriers
    assert "quantized by Keras" in barriers[f"Dense {layer.name}"]


@pytest.mark.parametrize("mode", COMPUTED)
def test_surgery_on_quantized_networks_keeps_what_they_compute(mode, tmp_path):
    model = sp.cutout(harness.network([*KEPT, "car"]), [*KEPT, "car"], copy=True)
    model.quantize(mode)
    x = harness.images(model)
    wanted = harness.logits(model, x)
    for options in ({}, {"copy": True}):
        cut = sp.cutout(model, ["dog"], **options)
        assert harness.error(harness.logits(cut, x), wanted[:, [1]]) < 1e-6
    attended = sp.attend(model, {"cat": 1.0})
    assert harness.error(harness.logits(harness.reload(attended, tmp_path), x), wanted) < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_what_reads_weights_refuses_quantized_networks(mode):
    original = harness.network(KEPT)
    model = sp.cutout(original, KEPT, copy=True, name="mine")
    before = harness.values(original)
    model.quantize(mode)
    said = rf"'mine' was quantized by Keras \('cat_logit', a Dense in {mode}; 'dog_logit'"
    for function, more in (
        (sp.cost, "Count the original network"),
        (lambda net: sp.fit_budget(net, {"bytes": 1e9}), "Count the original network"),
        (lambda net: sp.add_category(net, "car"), "Add the category to the original network"),
        (presets.pack, "Make a preset of the original network"),
    ):
        with pytest.raises(ValueError, match=f"{said}.*{more}"):
            function(model)
    for source, target in ((model, original), (original, model)):
        with pytest.raises(ValueError, match=f"cat_logit: quantization .*{mode}"):
            sp.copy_weights(source, target)
    assert harness.same_values(harness.values(original), before)


def test_a_quantized_file_fills_only_what_is_equal(tmp_path):
    original = harness.network(KEPT)
    model = sp.cutout(original, KEPT, copy=True)
    model.quantize("int8")
    model.save(tmp_path / "int8.keras")
    target = harness.build(KEPT, seed=3)
    before = harness.array(target.get_layer("branch_cat").get_layer("cat_logit").kernel)
    weights.load(target, str(tmp_path / "int8.keras"))
    trunks = (x.get_layer("trunk") for x in (target, original))
    assert harness.same_values(*map(harness.values, trunks))
    after = harness.array(target.get_layer("branch_cat").get_layer("cat_logit").kernel)
    assert np.array_equal(before, after)
