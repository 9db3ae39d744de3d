import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.families.efficientnet_lite import FAMILIES, Stage
from keras_seqpar.networks.parts import find_parts
from tests import harness

# Millions of parameters, and of multiply-accumulates at the published resolution: the table of
# github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
PUBLISHED = {
    "efficientnet_lite0": (224, 4.7, 407),
    "efficientnet_lite1": (240, 5.4, 631),
    "efficientnet_lite2": (260, 6.1, 899),
    "efficientnet_lite3": (280, 8.2, 1440),
    "efficientnet_lite4": (300, 13.0, 2640),
}
SMALL = {"family": "efficientnet_lite0", "width": 0.25, "input_shape": (64, 64, 3)}
ON_TORCH = pytest.mark.only_backend("torch")  # the same layers elsewhere; torch builds quickest
TREE = {"pets": {"cats": ["cat", "lion"], "dog": None}, "car": None}


@pytest.mark.only_backend("torch")  # the one that can build without allocating
@pytest.mark.parametrize("family", PUBLISHED)
def test_counts_are_the_published_ones(family):
    size, params, macs = PUBLISHED[family]
    with keras.device("meta"):
        counted = sp.cost(sp.build_plain(1000, family=family, input_shape=(size, size, 3)))
    assert abs(counted.params / 1e6 - params) < 0.06
    assert abs(counted.macs / 1e6 - macs) < 0.06 * macs


@pytest.mark.parametrize(
    "plan",
    [
        "late_sp",
        *(pytest.param(x, marks=ON_TORCH) for x in ("later_sp", "fast_sp", "small", "early")),
    ],
)
def test_networks_of_every_plan_hold_all_contracts(plan, tmp_path):
    nested = plan in ("late_sp", "early")  # with three split-points
    build, categories = (sp.build_nhl, TREE) if nested else (sp.build_phl, ["cat", "dog"])
    model = build(categories, plan=plan, drop_path_rate=0.1, **SMALL)
    harness.randomize(model)
    harness.check_network(model, tmp_path, gradient=plan == "late_sp", compiled=True)


@pytest.mark.only_backend("torch")  # the one that can build without allocating
def test_branches_are_mobile_and_plans_have_up_to_four_split_points():
    family = FAMILIES["efficientnet_lite0"]
    for name, plans in family.plans.items():
        assert len(plans) == {"small": 1, "later_sp": 2, "fast_sp": 2}.get(name, 4)
        for plan in plans:
            assert all(isinstance(stage, Stage) for level in plan.levels for stage in level)
    with keras.device("meta"):
        model = sp.build_phl([str(i) for i in range(10)], family="efficientnet_lite0")
        five = sp.cutout(model, [str(i) for i in range(5)])
        fast = sp.build_phl(list("abcde"), family="efficientnet_lite0", plan="fast_sp")
        plain = sp.build_plain(5, family="efficientnet_lite0")
        wide = sp.build_phl(["a"], family="efficientnet_lite4", input_shape=(64, 64, 3))
    assert sp.cost(five).params < 0.4 * sp.cost(plain).params
    assert sp.cost(five).macs < 0.75 * sp.cost(plain).macs
    assert sp.cost(fast).macs < 0.66 * sp.cost(plain).macs
    assert wide.get_layer("branch_a").output_shape == (None, 1)
    assert wide.get_layer("branch_a").input_shape[-1] == 160


@pytest.mark.only_backend("tensorflow")
def test_its_own_normalization_goes_into_the_network_and_beside_it():
    inside = sp.build_plain(["a", "b"], include_preprocessing=True, **SMALL)
    outside = sp.build_plain(["a", "b"], **SMALL)
    sp.copy_weights(inside, outside)
    build = find_parts(outside, allow_plain=True).build
    assert (build.mean, build.std) == ((127.0,) * 3, (128.0,) * 3)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("uint8")
    scores = [harness.array(x) for x in (inside(pixels), outside((pixels - 127.0) / 128.0))]
    assert harness.error(*scores) < 1e-5


@pytest.mark.only_backend("tensorflow")
def test_gains_reach_the_first_block_and_a_neutral_one_changes_nothing():
    model = sp.build_phl(["cat", "dog"], **SMALL)
    harness.randomize(model)
    x = harness.images(model)
    want = harness.logits(model, x)
    assert harness.error(harness.logits(sp.attend(model, {"cat": 1.0}), x), want) < 1e-6
    changed = harness.logits(sp.attend(model, {"cat": 2.0}), x)
    assert np.abs(changed[:, 0] - want[:, 0]).max() > 1e-3
    assert harness.error(changed[:, 1], want[:, 1]) < 1e-6
