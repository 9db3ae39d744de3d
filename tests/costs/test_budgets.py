"""compare and plan: networks side by side, and what fits into a budget."""

import pytest

import keras_seqpar as sp
from keras_seqpar.costs.counting import measure_latency
from tests import harness

NESTED = {"pets": ["cat", "dog"], "vehicles": ["car", "bus"]}


def test_the_comparison_has_both_baselines():
    model = harness.network()
    cut, plain = sp.cutout(model, ["tench"]), sp.build_plain("resnet18", 1, width=0.125)
    lines = sp.compare(model, cut, plain, input_shape=(64, 64, 3)).splitlines()
    assert [line.split()[0] for line in lines[2:]] == [model.name, cut.name, "plain_resnet18"]
    full, small, base = (sp.cost(m, (64, 64, 3)) for m in (model, cut, plain))
    assert f"{small.params:,}" in lines[3]
    assert f"{small.params / full.params - 1:+.1%}" in lines[3]
    assert f"{small.macs / base.macs - 1:+.1%}" in lines[3]
    assert lines[2].count("+0.0%") >= 3  # against itself


def test_the_comparison_can_measure():
    times = iter([8.0, 4.0])
    model = harness.network()
    text = sp.compare(model, sp.cutout(model, ["tench"]), latency=lambda _: next(times))
    assert "-50.0%" in text.splitlines()[-1]
    assert "ms vs first" in text


def test_latency_is_measured():
    assert 0 < measure_latency(harness.network(), runs=3) < 60_000
    assert 0 < measure_latency(sp.attention_input(harness.network()), runs=1) < 60_000


@pytest.mark.parametrize("unit", ["bytes", "macs", "params"])
@pytest.mark.parametrize("tree", [harness.LABELS[:4], NESTED])
def test_what_fits_is_what_the_cutout_costs(unit, tree):
    model = harness.network(tree)
    labels = sp.Hierarchy.of(tree).categories
    for count in (1, 3, 4):
        exact = getattr(sp.cost(sp.cutout(model, labels[:count])), unit)
        fit = sp.plan(model, {unit: exact})
        assert fit.kept == labels[:count]
        assert fit.dropped == labels[count:]
        assert fit.used == {unit: exact}


def test_importance_decides_and_a_paid_superclass_makes_room():
    model = harness.network(NESTED)
    room = sp.cost(sp.cutout(model, ["pets"])).bytes
    assert sp.plan(model, {"bytes": room}, prefer=["cat", "car", "dog"]).kept == ("cat", "dog")
    assert sp.plan(model, {"bytes": room}, prefer=["bus"]).kept == ("bus",)
    assert sp.plan(model, {"bytes": 1e9}).dropped == ()


def test_milliseconds_lie_on_a_line_over_macs():
    model = harness.network()

    def latency(network):
        return 1 + 1e-6 * sp.cost(network).macs

    three = sp.cutout(model, harness.LABELS[:3])
    fit = sp.plan(model, {"ms": latency(three) + 1e-6}, latency=latency)
    assert fit.kept == harness.LABELS[:3]
    assert fit.used["ms"] == pytest.approx(latency(three))


def test_a_plan_is_readable():
    text = str(sp.plan(harness.network(), {"params": 1e9}, prefer=["tench"]))
    assert text.startswith("keeps 1: tench\ndrops: English springer")
    assert "of 1.00 G" in text


@pytest.mark.parametrize(
    ("budget", "options", "text"),
    [
        ({"mb": 3}, {}, "Unknown budget unit 'mb'"),
        ({}, {}, "Give at least one limit"),
        ({"bytes": 0}, {}, "must be above 0, got 0"),
        ({"bytes": float("nan")}, {}, "must be above 0, got nan"),
        ({"bytes": 10}, {}, "Not even one category fits"),
        ({"bytes": 1e9}, {"prefer": ["tensh"]}, "Did you mean 'tench'"),
    ],
)
def test_budgets_that_make_no_sense(budget, options, text):
    with pytest.raises(ValueError, match=text):
        sp.plan(harness.network(), budget, **options)
