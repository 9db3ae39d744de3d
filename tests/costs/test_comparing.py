"""compare: networks side by side."""

import keras_seqpar as sp
from tests import harness


def test_the_comparison_has_both_baselines():
    model = harness.network()
    cut, plain = sp.cutout(model, ["tench"]), sp.build_plain(1, family="resnet18", width=0.125)
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
