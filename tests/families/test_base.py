import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_seqpar.families import convnext_v2
from keras_seqpar.families.base import Initializers, LayerNames, Plan, Stage, scale_channels
from keras_seqpar.families.resnet import Bottlenecks
from tests import harness


@given(st.integers(1, 4096), st.floats(1e-3, 8))
def test_scaled_channels_are_the_nearest_multiple_of_8(channels, width):
    scaled = scale_channels(channels, width)
    if width == 1:
        assert scaled == channels
    else:
        assert scaled % 8 == 0 and scaled >= 8
        assert scaled == 8 or abs(scaled - channels * width) <= 4


def test_width_1_leaves_odd_channels_alone():
    assert scale_channels(97, 1) == scale_channels(97, 1.0) == 97


def test_scaling_a_stage():
    stage = Bottlenecks(96, 3, stride=2, hidden=64)
    assert stage.scaled(0.25) == Bottlenecks(24, 3, stride=2, hidden=16)
    assert stage.scaled(1) == stage
    assert Stage(96, 3).scaled(0.5) == Stage(48, 3)
    assert convnext_v2.Stage(96, 3, kernel=5).scaled(0.5) == convnext_v2.Stage(48, 3, kernel=5)


@pytest.mark.parametrize("hidden", [0, True, 8.0])
def test_bottlenecks_need_hidden_channels(hidden):
    with pytest.raises(ValueError, match=f"a whole number of 1 or more, got {hidden!r}"):
        Bottlenecks(96, 3, hidden=hidden)


def test_a_plan_comes_back_from_its_configuration():
    for stage in (Bottlenecks(96, 3, 2, hidden=64), convnext_v2.Stage(40, 1), Stage(8, 2)):
        plan = Plan((None, 1), ((stage,), (stage, stage)))
        assert Plan.from_config(json.loads(json.dumps(plan.get_config())), type(stage)) == plan


def test_names_of_other_packages_become_ours():
    pattern = r"layer(?P<stage>\d+)\.(?P<block>\d+)\.bn(?P<part>\d)"
    patterns = {pattern: "stage{stage}_{block}_{part}"}
    names = LayerNames("net", patterns, first_stage=0, first_block=0)
    assert names.find("layer3.0.bn2") == "stage4_1_2"
    assert names.find("layer3.0.bn2x") is None


def draw(initializer, shape=(3, 3, 64, 128)):
    return harness.array(initializer(shape))


@pytest.mark.parametrize("kind", ["he", "truncated"])
def test_values_depend_on_seed_and_name_only(kind):
    def values(seed, name):
        return draw(getattr(Initializers(seed), kind)(name))

    first = values(3, "a_conv")
    assert np.array_equal(values(3, "a_conv"), first)
    assert not np.array_equal(values(3, "b_conv"), first)
    assert not np.array_equal(values(4, "a_conv"), first)
    assert not np.array_equal(values(None, "a_conv"), values(None, "a_conv"))


@pytest.mark.parametrize("seed", [0, -1, 2**63, 10**30])
def test_any_integer_is_a_seed(seed):
    init = Initializers(seed)
    assert 0 <= init.seed_of("x") < 2**31
    assert np.isfinite(draw(init.he("x"), (1, 1, 8, 8))).all()


def test_distributions():
    he = draw(Initializers(0).he("x"))
    assert abs(he.mean()) < 1e-3
    assert abs(he.std() / np.sqrt(2 / (3 * 3 * 128)) - 1) < 0.02
    truncated = draw(Initializers(0).truncated("x"))
    assert np.abs(truncated).max() < 0.0405  # torch goes a little beyond 2 deviations
    assert abs(truncated.std() / 0.02 - 0.88) < 0.02  # a normal cut at 2 deviations
