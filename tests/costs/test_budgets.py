"""fit_budget: which categories fit."""

import pytest

import keras_seqpar as sp
from tests import harness

NESTED = {"pets": ["cat", "dog"], "vehicles": ["car", "bus"]}


@pytest.mark.parametrize("unit", ["bytes", "macs", "params"])
@pytest.mark.parametrize("tree", [harness.LABELS[:4], NESTED])
def test_what_fits_is_what_the_cutout_costs(unit, tree):
    model = harness.network(tree)
    labels = sp.Hierarchy.of(tree).categories
    for count in (1, 3, 4):
        exact = getattr(sp.cost(sp.cutout(model, labels[:count])), unit)
        fit = sp.fit_budget(model, {unit: exact})
        assert fit.kept == labels[:count]
        assert fit.dropped == labels[count:]
        assert fit.used == {unit: exact}


def test_importance_decides_and_a_paid_superclass_makes_room():
    model = harness.network(NESTED)
    room = sp.cost(sp.cutout(model, ["pets"])).bytes
    assert sp.fit_budget(model, {"bytes": room}, prefer=["cat", "car", "dog"]).kept == (
        "cat",
        "dog",
    )
    assert sp.fit_budget(model, {"bytes": room}, prefer=["bus"]).kept == ("bus",)
    assert sp.fit_budget(model, {"bytes": 1e9}).dropped == ()


def test_milliseconds_lie_on_a_line_over_macs():
    model = harness.network()

    def latency(network):
        return 1 + 1e-6 * sp.cost(network).macs

    three = sp.cutout(model, harness.LABELS[:3])
    fit = sp.fit_budget(model, {"ms": latency(three) + 1e-6}, latency=latency)
    assert fit.kept == harness.LABELS[:3]
    assert fit.used["ms"] == pytest.approx(latency(three))


def test_the_result_is_readable():
    text = str(sp.fit_budget(harness.network(), {"params": 1e9}, prefer=["tench"]))
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
        sp.fit_budget(harness.network(), budget, **options)
