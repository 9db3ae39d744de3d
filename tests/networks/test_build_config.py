"""A network stores how it was built, and everything made of it keeps that."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.networks.build_config import BuildConfig
from keras_seqpar.networks.layers import CategoryScores
from keras_seqpar.networks.parts import find_parts
from tests import harness

pytestmark = pytest.mark.only_backend("torch")  # the same everywhere; torch builds quickest

LABELS = ["tench", "English springer", "cassette player"]
TREE = {"fish": ["tench"], "things": ["cassette player", "chain saw"]}
OPTIONS = {"stem": "small", "input_shape": (16, 16, 3), "width": 0.125}


def build_of(model) -> BuildConfig | None:
    return find_parts(model, allow_plain=True).build


@pytest.mark.parametrize(
    ("builder", "source", "options", "want"),
    [
        ("build_phl", LABELS, {"plan": "early"}, {"builder": "phl", "plan": "early"}),
        ("build_nhl", TREE, {}, {"builder": "nhl", "plan": "late_sp", "split_points": 2}),
        ("build_nhl", LABELS, {"split_points": 3}, {"builder": "nhl", "split_points": 3}),
        ("build_plain", 4, {"drop_path_rate": 0.1}, {"builder": "plain", "drop_path_rate": 0.1}),
        ("build_one_branch", LABELS, {}, {"builder": "one_branch", "plan": "late_sp"}),
    ],
)
def test_builders_store_their_arguments(builder, source, options, want, tmp_path):
    model = getattr(sp, builder)(source, family="resnet18", **OPTIONS, **options)
    build = build_of(model)
    for key, value in {**want, "family": "resnet18", "width": 0.125, "stem": "small"}.items():
        assert getattr(build, key) == value
    assert build_of(harness.reload(model, tmp_path)) == build
    again = getattr(sp, builder)(source, input_shape=(16, 16, 3), **build.arguments())
    assert build_of(again) == build
    assert [tuple(v.shape) for v in again.weights] == [tuple(v.shape) for v in model.weights]


@pytest.mark.parametrize(
    ("channels", "included", "mean", "std"),
    [
        (3, True, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        (3, False, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        (1, True, (127.5,), (127.5,)),
        (1, False, None, None),
    ],
)
def test_the_normalization_is_that_of_the_network(channels, included, mean, std):
    options = {**OPTIONS, "input_shape": (16, 16, channels)}
    model = sp.build_plain(2, family="resnet18", include_preprocessing=included, **options)
    build = build_of(model)
    if mean is None:
        assert build.mean is None and build.std is None
        return
    np.testing.assert_allclose(build.mean, mean)
    np.testing.assert_allclose(build.std, std)
    if included:
        pixels = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, channels)).astype("float32")
        layer = model.get_layer("trunk").get_layer("preprocessing")
        want = (pixels - np.array(build.mean)) / np.array(build.std)
        np.testing.assert_allclose(harness.array(layer(pixels)), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "work",
    [
        lambda m: sp.cutout(m, ["tench"]),
        lambda m: sp.cutout(m, ["tench"], copy=True),
        lambda m: sp.attend(m, {"tench": 2.0}),
        lambda m: sp.attention_input(m),
        lambda m: sp.add_category(m, "church"),
        lambda m: sp.add_category(m, "church", freeze_others=True),
        lambda m: sp.merge(sp.cutout(m, ["tench"]), sp.cutout(m, ["chain saw"])),
        lambda m: sp.with_activation(m, None),
    ],
    ids=["cut", "copy", "attend", "input", "add", "add_frozen", "merge", "activation"],
)
def test_what_is_made_of_a_network_keeps_it(work):
    model = harness.network(harness.LABELS[:4])
    assert build_of(work(model)) == build_of(model) is not None


def test_a_plan_is_stored_as_data():
    build = build_of(harness.network(harness.LABELS[:4]))
    assert build.plan == json.loads(json.dumps(harness.plan().get_config()))
    assert BuildConfig.of(json.loads(json.dumps(build.get_config()))) == build


@pytest.mark.parametrize("included", [False, True])
def test_the_plain_twin_has_all_but_the_branches(included, tmp_path):
    options = {**OPTIONS, "include_preprocessing": included, "classifier_activation": "sigmoid"}
    model = sp.build_nhl(TREE, family="resnet18", drop_path_rate=0.2, **options)
    cut = harness.reload(sp.cutout(model, ["chain saw", "tench"]), tmp_path)
    twin = sp.plain_twin(cut, seed=0)
    want = sp.build_plain(
        ["chain saw", "tench"], family="resnet18", drop_path_rate=0.2, seed=0, **options
    )
    assert harness.config_of(twin) == harness.config_of(want)
    assert harness.same_values(harness.values(twin), harness.values(want))
    assert build_of(sp.plain_twin(twin)) == build_of(twin)


def without_build(model: keras.Model) -> keras.Model:
    """The network as files from before have it."""
    config = model.get_config()
    for layer in config["layers"]:
        if layer["class_name"] == "CategoryScores":
            del layer["config"]["build"]
    return keras.Model.from_config(config)


def test_files_of_before_load_and_say_what_they_lack(tmp_path):
    model = without_build(harness.network(harness.LABELS[:3]))
    again = harness.reload(model, tmp_path)
    assert build_of(again) is None and build_of(sp.cutout(again, ["tench"])) is None
    with pytest.raises(ValueError, match="does not say how it was built: it was saved by an"):
        sp.plain_twin(again)
    with pytest.raises(ValueError, match="is no SeqPar network"):
        sp.plain_twin(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    scores = harness.network(["a", "b"]).layers[-1]
    logits = keras.Input((2,))
    with pytest.raises(ValueError, match="is no SeqPar network: it has no `trunk`"):
        sp.plain_twin(keras.Model(logits, scores(logits)))


def test_the_layer_takes_the_record_or_its_configuration():
    build = BuildConfig("phl", "resnet18", "late_sp", 1, mean=[1.0], std=[2.0])
    assert build.mean == (1.0,)
    tree = sp.Hierarchy.of(["a"])
    for given in (build, build.get_config()):
        assert CategoryScores(tree, build=given).build_config == build
    assert "split_points" not in build.arguments()
    with pytest.raises(dataclasses.FrozenInstanceError):
        build.width = 2.0


def test_weights_fill_the_trunk_as_it_is_built(tmp_path):
    source = sp.build_phl(LABELS, family="resnet18", seed=1, **OPTIONS)
    source.save(tmp_path / "net.keras")
    model = sp.build_phl(
        ["a", "b"], family="resnet18", seed=2, weights=tmp_path / "net.keras", **OPTIONS
    )
    trunks = [harness.values(net.get_layer("trunk")) for net in (model, source)]
    assert harness.same_values(*trunks)
    with pytest.raises(ValueError, match="Cannot tell what 'imagenette' is"):
        sp.build_phl(["a"], family="resnet18", weights="imagenette", **OPTIONS)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", keras.DTypePolicy("mixed_bfloat16")])
def test_a_dtype_policy_is_that_of_all_layers_but_the_scores(dtype):
    before = keras.config.dtype_policy()
    model = sp.build_phl(["a", "b"], family="resnet18", dtype=dtype, **OPTIONS)
    assert keras.config.dtype_policy() == before
    policies = {x.name: x.dtype_policy.name for x in harness.leaves(model)}
    assert policies.pop("categories") == "float32"
    assert set(policies.values()) == {"mixed_bfloat16"}
    with pytest.raises(ValueError, match="float33"):
        sp.build_phl(["a"], family="resnet18", dtype="float33", **OPTIONS)
    assert keras.config.dtype_policy() == before
