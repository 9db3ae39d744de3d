import re

import keras
import pytest

import keras_seqpar as sp
from keras_seqpar import hierarchy
from keras_seqpar.families import convnext_v2, resnet
from keras_seqpar.families.base import Plan, Stage
from keras_seqpar.networks.plans import get_family, get_plan
from tests import harness

PLANS = {
    "resnet50": resnet.BOTTLENECK_PLANS,
    "resnet18": resnet.BASIC_PLANS,
    "convnext_v2_tiny": convnext_v2.PLANS,
}
ALL = [
    (family, name, points)
    for family, plans in PLANS.items()
    for name, of_name in plans.items()
    for points in range(1, len(of_name) + 1)
]


def chain(points: int) -> sp.Hierarchy:
    """The smallest tree of a depth: superclasses in a row, one category below."""
    tree: dict | list = ["category"]
    for i in range(points - 1, 0, -1):
        tree = {f"super {i}": tree}
    return sp.Hierarchy.of(tree)


def counted(build, *arguments, **options):
    """The cost of a network that is built without its weights."""
    with keras.device("meta"):
        return sp.cost(build(*arguments, **options))


def totals(family, plan, superclasses, categories, size=224):
    """Parameters and MACs with so many superclasses and categories, from one of each.

    Equal nodes cost the same, so a thousand branches need not be built to be counted.
    """
    tree = chain(1 + (superclasses > 0))
    build = sp.build_nhl if superclasses else sp.build_phl
    trunk, *nodes = counted(
        build, tree, family=family, plan=plan, input_shape=(size, size, 3)
    ).nodes
    times = [1, superclasses, categories] if superclasses else [1, categories]
    parts = list(zip(times, [trunk, *nodes], strict=True))
    return (
        sum(n * part.params for n, part in parts),
        sum(n * part.macs for n, part in parts),
        sum(n * part.norm_macs for n, part in parts),
    )


@pytest.mark.parametrize(("family", "name", "points"), ALL)
def test_every_plan_has_its_levels_and_fits_its_family(family, name, points):
    plan = get_plan(name, get_family(family), split_points=points)
    assert plan == PLANS[family][name][points - 1]  # the family that plans are written for
    family = get_family(family)
    assert len(plan.levels) == points
    assert len(plan.trunk) < len(family.stages)
    for stage in (stage for level in plan.levels for stage in level):
        assert type(stage) is family.stage_type
        assert stage.channels % 8 == 0 and getattr(stage, "hidden", 8) % 8 == 0
    # every plan ends at the resolution of the plain network
    trunk = family.stages[: len(plan.trunk)]
    stages = [*trunk, *(stage for level in plan.levels for stage in level)]
    assert sum(stage.stride == 2 for stage in stages) in (2, 3)


@pytest.mark.only_backend("torch")  # which builds quickest; what is built is the same everywhere
@pytest.mark.parametrize(("family", "name", "points"), ALL)
def test_every_plan_builds_and_runs(family, name, points):
    model = harness.build(chain(points), family=family, plan=name, width=0.125, size=16)
    harness.randomize(model)
    assert harness.logits(model, harness.images(model)).shape == (2, 1)


def test_plans_scale_with_the_family():
    tiny = get_plan("late_sp", get_family("convnext_v2_tiny"), split_points=2)
    base = get_plan("late_sp", get_family("convnext_v2_base"), split_points=2)
    for level, wider in zip(tiny.levels, base.levels, strict=True):
        assert [s.scaled(128 / 96) for s in level] == list(wider)
    assert base.trunk == tiny.trunk


# The paper's figures (Kelm et al., arXiv 2308.05128, tables 2 to 4), and one step further.


@pytest.mark.only_backend("torch")  # the one that can build without allocating
def test_phl_plans_stay_within_the_papers_figures():
    counts = {name: totals("resnet50", name, 0, 10) for name in resnet.BOTTLENECK_PLANS}
    for name, (params, macs, norms) in counts.items():
        if name != "big":
            assert params <= 19_986_506 and macs + norms <= 3.99e9
    plain = counted(sp.build_plain, 10, family="resnet50")
    assert counts["big"][0] <= plain.params
    trunk = plain.nodes[0].params - 14_964_736  # without the fourth stage
    assert trunk == 8_543_296
    ratio = (counts["small"][0] - trunk) / (counts["late_sp"][0] - trunk)
    assert 0.2 < ratio < 0.33  # "a quarter to a third"


@pytest.mark.only_backend("torch")  # the one that can build without allocating
@pytest.mark.parametrize("family", ["resnet18", "resnet50"])
def test_early_saves_parameters_and_macs_against_the_plain_network(family):
    params, macs, _ = totals(family, "early", 0, 5)
    plain = counted(sp.build_plain, 5, family=family)
    assert params <= 0.6 * plain.params
    assert macs <= 0.6 * plain.macs


@pytest.mark.only_backend("torch")  # the one that can build without allocating
def test_imagewoof_stays_within_the_papers_figures():
    tree = hierarchy.from_subset("imagewoof", levels=2)
    assert len(tree.categories) == 10 and tree.depth == 2
    with keras.device("meta"):
        full = sp.build_nhl(tree, family="resnet50", plan="late_sp")
        cut = sp.cutout(full, tree.categories[::2])
    for model, params, macs in ((full, 11_929_930, 3.91e9), (cut, 10_781_253, 3.73e9)):
        cost = sp.cost(model)
        assert cost.params <= params
        assert cost.macs + cost.norm_macs <= macs


@pytest.mark.only_backend("torch")  # the one that can build without allocating
def test_imagenet100_stays_within_the_papers_figures():
    full = totals("resnet50", "early", 10, 100)
    cut = totals("resnet50", "early", 10, 20)  # no superclass becomes superfluous
    assert full[0] <= 24_950_000 and cut[0] <= 13_840_469
    assert cut[1] <= 0.72 * full[1]
    assert sum(cut[1:]) <= 0.72 * sum(full[1:])


@pytest.mark.only_backend("torch")  # the one that can build without allocating
def test_imagenet1k_stays_within_the_papers_figures():
    tree = hierarchy.from_subset("imagenet1k", levels=2)
    assert len(tree.categories) == 1000
    direct = sum(tree.level(tree.find(id_)) == 1 for id_ in tree.category_ids)
    assert direct == 0  # all hang below a superclass, as `totals` counts them
    full = totals("convnext_v2_tiny", "late_sp", len(tree.superclasses), 1000)
    cats = tree.prune(hierarchy.subset_labels("meow"))
    cut = totals("convnext_v2_tiny", "late_sp", len(cats.superclasses), 5)
    assert full[0] <= 119_800_000 and full[1] <= 14.55e9
    assert cut[0] <= 13_488_133 and cut[1] <= 3.87e9


@pytest.mark.only_backend("torch")  # the one that can build without allocating
def test_totals_by_parts_are_those_of_the_network():
    tree = {"a": ["b", "c"], "d": ["e"]}
    options = {"family": "resnet50", "plan": "early", "input_shape": (64, 64, 3)}
    cost = counted(sp.build_nhl, tree, **options)
    want = (cost.params, cost.macs, cost.norm_macs)
    assert totals("resnet50", "early", 2, 3, size=64) == want


@pytest.mark.only_backend("torch")  # the one that can build without allocating
@pytest.mark.parametrize("count", [2, 10])
def test_one_branch_costs_about_what_all_branches_do(count):
    options = {"family": "resnet50", "input_shape": (64, 64, 3)}
    labels = [f"l{i}" for i in range(count)]
    control = counted(sp.build_one_branch, labels, **options)
    params = totals("resnet50", "late_sp", 0, count, size=64)[0]
    trunk = control.nodes[0].params
    assert trunk == 8_543_296
    assert 0.7 < (control.params - trunk) / (params - trunk) < 1.3
    early = counted(sp.build_one_branch, labels, plan="early", **options).nodes[0].params
    assert early == totals("resnet50", "early", 0, 0, size=64)[0] < trunk


# Errors.


@pytest.mark.parametrize("name", ["resnet", "ResNet50", None, 50])
def test_an_unknown_family_is_refused(name):
    with pytest.raises(ValueError, match=re.escape(f"Unknown family {name!r}.")) as e:
        get_family(name)
    assert "resnet18, resnet34, resnet50" in str(e.value)


def test_an_unknown_plan_is_refused():
    family = get_family("resnet50")
    text = "Unknown plan 'early_sp'. Did you mean 'early'? Valid: late_sp, small, big, early"
    with pytest.raises(ValueError, match=re.escape(text)):
        get_plan("early_sp", family, split_points=2)
    with pytest.raises(ValueError, match=r"Valid: late_sp, small, big, early\."):
        get_plan("xyzzy", family, split_points=1)


def test_too_many_split_points_are_refused():
    family = get_family("resnet50")
    text = "'small' is not available with 3 split-points. Plans with 3: late_sp, early. Or give a"
    with pytest.raises(ValueError, match=re.escape(text)):
        get_plan("small", family, split_points=3)
    text = "'late_sp' is not available with 9 split-points. At most 4 are planned. Or give a"
    with pytest.raises(ValueError, match=re.escape(text)):
        get_plan("late_sp", family, split_points=9)


@pytest.mark.parametrize(
    ("trunk", "levels"),
    [((), ((Stage(8, 1),),)), ((1,), ()), ((1,), ((),)), ((1,), ((Stage(8, 1),), ()))],
)
def test_an_incomplete_plan_is_refused(trunk, levels):
    text = f"one trunk stage, one level, and one stage in each level, got trunk={trunk}, levels="
    with pytest.raises(ValueError, match=re.escape(text)):
        Plan(trunk, levels)


def test_a_plan_is_taken_as_it_is():
    plan, family = harness.plan(3, "convnext_v2_huge"), get_family("convnext_v2_huge")
    assert get_plan(plan, family, split_points=1) is plan
    assert get_plan(plan.get_config(), family, split_points=1) == plan


@pytest.mark.parametrize("trunk", [(1, 0), (-1,), (1.5,), ("all",), (1, 1, 1, 1, 1)])
def test_a_trunk_that_the_family_does_not_have_is_refused(trunk):
    with pytest.raises(ValueError, match=r"trunk .*got"):
        harness.build(["a"], plan=Plan(trunk, ((Stage(64, 1),),)))
    with pytest.raises(ValueError, match=r"The repeats in .* got 0"):
        Plan((1,), ((Stage(64, 0),),))


def test_a_plan_needs_stages_of_the_familys_type():
    text = r"The stages of this family are of the type Bottlenecks, got Stage\(channels=64"
    with pytest.raises(ValueError, match=text):
        harness.build(["a"], family="resnet50", plan=Plan((1,), ((Stage(64, 1),),)))
