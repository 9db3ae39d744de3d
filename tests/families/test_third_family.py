"""A family in one file: what it takes, and that everything works with it.

Nothing else in the package knows it: it is registered for these tests alone.
"""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from keras import layers

import keras_seqpar as sp
from keras_seqpar.families.base import Family, Initializers, Plan, Stage, scale_channels
from keras_seqpar.families.layers import StochasticDepth, TopDownGain
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.networks.plans import FAMILIES
from tests import harness
from tests.selective.keras_engine.test_exactness import play

NAME = "separable_tiny"
SHAPE = (16, 16, 3)
OPTIONS = {"family": NAME, "plan": "late", "input_shape": SHAPE, "width": 0.5}
TREE = {"pets": ["cat", "dog"], "car": None}


@dataclasses.dataclass(frozen=True)
class SeparableStage(Stage):
    """Blocks of a depthwise and a 1x1 convolution, with kernels of a side of one's own."""

    kernel: int = 3


@dataclasses.dataclass(frozen=True)
class Separable(Family):
    """Depthwise-separable residual blocks."""

    stages: tuple[SeparableStage, ...]
    stage_type: ClassVar = SeparableStage
    stems: ClassVar = {"standard": 2, "same": 1}

    @property
    def plans(self):
        after = SeparableStage(24, 1, 2, kernel=5), SeparableStage(32, 1)
        return {"late": (Plan((None,), (after,)), Plan((None,), (after[:1], after[1:])))}

    def stem(self, x, kind, width, init):
        stride = self.stems[kind]
        return self._conv(x, scale_channels(16, width), 3, "stem_conv", init, stride=stride)

    def stage(self, x, stage, name, init: Initializers, *, drop_path_rates=(), gain=None):
        for i in range(stage.repeats):
            block, stride = f"{name}_block{i + 1}", stage.stride if i == 0 else 1
            y = layers.DepthwiseConv2D(
                stage.kernel,
                stride,
                padding="same",
                data_format="channels_last",
                depthwise_initializer=init.truncated(f"{block}_depthwise"),
                name=f"{block}_depthwise",
            )(x)
            if gain and i == 0:
                y = TopDownGain(name=gain)(y)
            y = layers.ReLU(name=f"{block}_depthwise_relu")(y)
            y = self._conv(y, stage.channels, 1, f"{block}_conv", init)
            if stride == 1 and x.shape[-1] == stage.channels:
                if drop_path_rates and drop_path_rates[i]:
                    seed = init.seed_of(block)
                    y = StochasticDepth(drop_path_rates[i], seed, name=f"{block}_drop")(y)
                y = layers.Add(name=f"{block}_add")([y, x])
            x = y
        return x

    def head(self, x, prefix, width, init):
        return layers.GlobalAveragePooling2D(data_format="channels_last", name=f"{prefix}pool")(x)

    def _conv(self, x, channels, kernel, name, init, *, stride=1):
        x = layers.Conv2D(
            channels,
            kernel,
            stride,
            padding="same",
            data_format="channels_last",
            kernel_initializer=init.he(name),
            name=name,
        )(x)
        x = layers.BatchNormalization(name=f"{name}_norm")(x)
        return layers.ReLU(6.0, name=f"{name}_relu")(x)


@pytest.fixture(autouse=True, scope="module")
def _registered():
    FAMILIES[NAME] = Separable((SeparableStage(16, 2, 1), SeparableStage(32, 1, 2, kernel=5)))
    yield
    del FAMILIES[NAME]


@pytest.fixture(scope="module")
def network():
    model = sp.build_nhl(TREE, **OPTIONS, seed=0)
    harness.randomize(model)
    return model


def test_it_holds_all_contracts(network, tmp_path):
    harness.check_network(network, tmp_path)


def test_plain_networks_hold_all_contracts(tmp_path):
    model = sp.build_plain(3, family=NAME, input_shape=SHAPE, drop_path_rate=0.1)
    harness.randomize(model)
    harness.check_network(model, tmp_path, gradient=False)


def test_cutouts_are_columns(network, tmp_path):
    x = harness.images(network)
    cut = sp.cutout(network, ["car", "cat"])
    want = harness.logits(network, x)[:, [2, 0]]
    assert harness.error(harness.logits(cut, x), want) < 1e-6
    assert harness.error(harness.logits(harness.reload(cut, tmp_path), x), want) < 1e-6
    assert sp.cost(cut).macs < sp.cost(network).macs


def test_gains_have_an_effect_on_their_branch_alone(network):
    x = harness.images(network)
    before = harness.logits(network, x)
    after = harness.logits(sp.attend(network, {"dog": 2.0}), x)
    assert np.array_equal(after[:, [0, 2]], before[:, [0, 2]])
    assert harness.error(after[:, 1], before[:, 1]) > 0.01


def test_it_grows_and_knows_how_it_was_built(network):
    grown = sp.add_category(network, "bus", seed=1)
    assert harness.logits(grown, harness.images(grown)).shape == (2, 4)
    build = find_parts(grown).build
    assert (build.family, build.plan, build.width) == (NAME, "late", 0.5)
    twin = sp.plain_twin(grown)
    assert twin.output_shape == (None, 4)
    assert twin.get_layer("trunk").get_layer("stage2_block1_depthwise").kernel_size == (5, 5)


def test_a_plan_of_ones_own_is_stored_as_data(tmp_path):
    plan = Plan((None, 1), ((SeparableStage(8, 1, kernel=7),),))
    model = sp.build_phl(["a", "b"], **{**OPTIONS, "plan": plan})
    build = find_parts(harness.reload(model, tmp_path)).build
    assert Plan.from_config(build.plan, SeparableStage) == plan
    again = sp.build_phl(["a", "b"], input_shape=SHAPE, **build.arguments())
    assert [v.shape for v in again.weights] == [v.shape for v in model.weights]


def test_files_load_without_the_family(network, tmp_path, monkeypatch):
    monkeypatch.delitem(FAMILIES, NAME)
    again = harness.reload(network, tmp_path)
    assert find_parts(again).build.family == NAME
    with pytest.raises(ValueError, match=f"Unknown family '{NAME}'"):
        sp.plain_twin(again)


def test_weights_of_others_do_not_fit(network):
    with pytest.raises(ValueError, match="has no weights in timm. resnet18, resnet34, "):
        sp.weights.from_timm(network, {})


def test_streams_equal_the_dense_network(network):
    cut = sp.with_activation(sp.cutout(network, ["cat", "car"]), None)
    frame = harness.images(network)[0]
    changed = frame.copy()
    changed[3:5, 6:9] += 0.1
    play(cut, [frame, changed])


@pytest.mark.only_backend("tensorflow")
@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_it_converts(network, tmp_path, quantization):
    from keras_seqpar import mobile

    cut = sp.cutout(network, ["cat", "car"])
    images = harness.images(network, 100)
    calibration = images if quantization == "int8" else None
    made = mobile.convert(
        cut, tmp_path / "net.tflite", quantization=quantization, calibration=calibration
    )
    difference = np.abs(mobile.Runner(made.path)(images) - harness.predict(cut, images)).max()
    assert difference < (1e-5 if quantization == "float32" else 0.1)


def test_the_seed_fixes_a_branch_whatever_its_neighbors_are():
    both, one = (sp.build_phl(names, **OPTIONS, seed=4) for names in (["a", "b"], ["b"]))
    for part in ("trunk", "branch_b"):
        a, b = (harness.values(model.get_layer(part)) for model in (both, one))
        assert harness.same_values(a, b)


def test_unknown_stems_are_refused():
    with pytest.raises(ValueError, match="Unknown stem 'small'. Valid: standard, same"):
        sp.build_phl(["a"], **OPTIONS, stem="small")
