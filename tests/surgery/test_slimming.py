import dataclasses

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.families.base import Plan
from keras_seqpar.families.efficientnet_lite import Stage
from keras_seqpar.families.resnet import Bottlenecks
from keras_seqpar.networks.parts import find_parts, with_activation
from tests import harness

WIDTH = 0.25
LABELS = harness.LABELS[:3]
TRUNK = (None, None, None, None, 2)
WHOLE = Plan(  # all blocks behind the trunk, with all their channels
    TRUNK, ((Stage(112, 1, 1, kernel=5), Stage(192, 4, 2, kernel=5), Stage(320, 1)),)
)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(48, 64, 64, 3)).astype("float32")


@pytest.fixture(scope="module")
def plain() -> keras.Model:
    """A plain network whose normalizations are not those of a new one."""
    model = sp.build_plain(
        LABELS, family="efficientnet_lite0", width=WIDTH, input_shape=(64, 64, 3), seed=1
    )
    rng = np.random.default_rng(1)
    for layer in model.get_layer("trunk").layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights(
                [rng.uniform(0.5, 1.5, shape) for _ in "gb"]
                + [rng.normal(0, 0.1, shape), rng.uniform(0.5, 1.5, shape)]
            )
    return model


def features(model: keras.Model, id_: str, images: np.ndarray) -> np.ndarray:
    """What a branch gives before its pool."""
    parts = find_parts(model)
    branch = parts.branches[id_]
    pool = branch.get_layer(f"{id_}_pool")
    return harness.array(keras.Model(branch.inputs, pool.input)(parts.trunk(images)))


def test_branches_with_all_channels_are_the_plain_network(plain, images):
    network = sp.from_plain(plain, images, plan=WHOLE)
    expected = harness.array(plain.get_layer("trunk")(images))
    for id_ in find_parts(network).branches:
        found = features(network, id_, images)
        assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.only_backend("tensorflow")
def test_channels_that_do_nothing_go_first(plain, images):
    copy = keras.models.clone_model(plain)
    copy.set_weights(plain.get_weights())
    kept = {}
    for layer in copy.get_layer("trunk").layers:
        if layer.name.startswith("stage6") and layer.name.endswith("_project"):
            kernel = layer.get_weights()[0]
            idle = np.random.default_rng(len(kept)).permutation(kernel.shape[2])[::2]
            kernel[:, :, idle] = 0
            layer.set_weights([kernel])
            kept[layer.name] = kernel.shape[2] - len(idle)
    first, *others = kept.values()
    assert len(set(others)) == 1
    stages = (
        Stage(112, 1, 1, kernel=5),
        Stage(192, 1, 2, kernel=5, hidden=round(first / WIDTH)),
        Stage(192, 3, 1, kernel=5, hidden=round(others[0] / WIDTH)),
        Stage(320, 1),
    )
    network = sp.from_plain(copy, images, plan=Plan(TRUNK, (stages,)))
    expected = harness.array(copy.get_layer("trunk")(images))
    found = features(network, find_parts(network).hierarchy.category_ids[0], images)
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize("tree", [{"fish": LABELS[:1], "others": LABELS[1:]}])
def test_logits_follow_those_of_the_plain_network(plain, images, tree):
    network = sp.from_plain(plain, images, hierarchy=tree, name="slim")
    assert network.name == "slim"
    expected = harness.array(with_activation(plain, None)(images))
    expected = expected - expected.mean(axis=1, keepdims=True)
    found = harness.array(with_activation(network, None)(images))
    for id_, column in zip(find_parts(network).hierarchy.category_ids, found.T, strict=True):
        target = expected[:, find_parts(plain, allow_plain=True).hierarchy.category_ids.index(id_)]
        assert np.corrcoef(column, target)[0, 1] > 0.5  # a fit on these images


@pytest.mark.only_backend("tensorflow")
def test_training_begins_where_inference_is(plain, images):
    network = with_activation(sp.from_plain(plain, images), None)
    parts = find_parts(network)
    assert parts.build == dataclasses.replace(
        find_parts(plain, allow_plain=True).build, builder="phl", plan="late_sp", split_points=1
    )
    x = parts.trunk(images)
    for branch in parts.branches.values():
        inference, training = (harness.array(branch(x, training=t)) for t in (False, True))
        assert np.abs(inference - training).max() < 1e-3 * np.abs(inference).max() + 1e-4


@pytest.mark.only_backend("tensorflow")
def test_resnets_give_their_blocks_too(images):
    plain = sp.build_plain(LABELS, family="resnet50", width=0.125, input_shape=(64, 64, 3), seed=0)
    plan = Plan((None, None, None), ((Bottlenecks(512, 2, 2, hidden=256),),))
    network = sp.from_plain(plain, images, plan=plan)
    scores = [harness.array(with_activation(x, None)(images)) for x in (plain, network)]
    target, found = (x - x.mean(axis=1, keepdims=True) for x in scores)
    assert np.corrcoef(found.ravel(), target.ravel())[0, 1] > 0.5


@pytest.mark.parametrize("labels", [LABELS, LABELS[:1]])
def test_scores_that_are_no_softmax_keep_their_level(images, labels):
    plain = sp.build_plain(
        labels,
        family="efficientnet_lite0",
        width=WIDTH,
        input_shape=(64, 64, 3),
        classifier_activation="sigmoid",
    )
    plain.get_layer("logits").bias.assign(range(-4, len(labels) - 4))
    network = sp.from_plain(plain, list(images))
    expected, found = (harness.array(x(images)) for x in (plain, network))
    np.testing.assert_allclose(found.mean(0), expected.mean(0), rtol=1e-2)


@pytest.mark.only_backend("tensorflow")
def test_what_does_not_fit_is_refused(plain, images):
    network = sp.build_phl(LABELS, family="efficientnet_lite0", width=WIDTH)
    with pytest.raises(ValueError, match=r"SeqPar network.*build_plain"):
        sp.from_plain(network, images)
    with pytest.raises(ValueError, match=r"6 images or more.*\(5, 64, 64, 3\)"):
        sp.from_plain(plain, images[:5])
    with pytest.raises(ValueError, match=r"\(64, 64, 3\); got .*\(48, 32, 64, 3\)"):
        sp.from_plain(plain, images[:, :32])
    broken = images.copy()
    broken[[3, 7], 0, 0, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"2 of the 48 images have NaN .* images\[3\]\. Leave"):
        sp.from_plain(plain, broken)
    with pytest.raises(ValueError, match="All images are the same"):
        sp.from_plain(plain, np.repeat(images[:1], 8, axis=0))
    with pytest.raises(ValueError, match="Give the same ones"):
        sp.from_plain(plain, images, hierarchy={"a": ["b", "c"]})
    with pytest.raises(ValueError, match="no block that 'stage6_block1' of the plan could be"):
        sp.from_plain(plain, images, plan="small")
