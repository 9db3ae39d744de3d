"""The table of many categories: what is measured of each form, and what the ideal is."""

import concurrent.futures.process
import itertools
import json
import types

import pytest

from keras_seqpar.benchmarking import large, scale
from tests import commands

pytest.importorskip("absl")

COMMAND = "benchmarks/scale.py"
OPTIONS = {"family": "resnet18", "width": 0.125, "input_shape": (32, 32, 3), "plan": "late_sp"}


class Here:
    """A pool whose process is this one."""

    def __init__(self, *args, **kwargs):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def submit(self, call, *args, **kwargs):
        if call is scale.start_training and args[0] == "named":  # which compiles for too long

            def call(*args):
                raise concurrent.futures.process.BrokenProcessPool

        self.result = lambda: call(*args, **kwargs)
        return self


def test_each_form_is_measured_beside_the_ideal(monkeypatch):
    ticks = itertools.count()
    clock = types.SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(scale, "time", clock)  # Keras looks at the real one
    monkeypatch.setattr(scale.concurrent.futures, "ProcessPoolExecutor", Here)
    timers: list[float] = []
    monkeypatch.setattr(scale.signal, "setitimer", lambda kind, seconds: timers.append(seconds))
    shown = []
    limits = {"named_most": 2, "train_most": 2, "repeats": 1, "limit": 9.0}
    rows = scale.measure_scale([2, 3], OPTIONS, **limits, report=shown.append)
    assert rows == shown
    assert [row[:2] for row in rows] == [
        *([2, "plain"], [2, "fused"], [2, "named"], [3, "plain"], [3, "fused"])
    ]
    columns = dict(zip(scale.COLUMNS, zip(*rows, strict=True), strict=True))
    assert columns["GMACs"][1] == columns["GMACs"][2] < columns["GMACs"][4]
    # On this clock each call takes a second: an ideal is the ratio of the MACs.
    assert columns["ms, batch 16"] == (1000.0,) * 5
    ideal = 1000 * columns["GMACs"][1] / columns["GMACs"][0]
    assert columns["ideal ms, batch 16"][1] == pytest.approx(ideal, rel=0.02)  # rounded
    assert timers == [9.0, 0] * 2
    assert columns["first training step s"] == (1.0, 1.0, "more than 9", None, None)
    assert columns["training step ms"] == (1000.0, 1000.0, None, None, None)
    assert min(columns["peak GiB"]) > 0


def test_the_command_measures_what_its_flags_say(monkeypatch):
    given = {}

    def measured(counts, options, **limits):
        given.update(options, counts=counts, **limits)
        return [[10, "fused"]]

    monkeypatch.setattr(scale, "measure_scale", measured)
    assert commands.call(COMMAND, "--counts=10,20", "--width=0.5", "--size=32") == 0
    assert (given["counts"], given["width"], given["repeats"]) == ([10, 20], 0.5, 5)
    assert given["input_shape"] == (32, 32, 3)


def test_an_update_keeps_what_was_not_measured(tmp_path):
    path = tmp_path / "scale.json"
    path.write_text('{"title": "Scale", "date": "2020-01-01", "rows": []}')
    commands.load(COMMAND).update(path, [[10, "fused"]])
    table = json.loads(path.read_text())
    assert (table["title"], table["rows"]) == ("Scale", [[10, "fused"]])
    assert table["date"] > "2020-01-01"


@pytest.mark.only_backend("tensorflow")  # which converts
def test_large_networks_are_run_exported_and_trained(monkeypatch):
    small = {"family": "resnet18", "width": 0.125, "input_shape": (32, 32, 3), "stem": "small"}
    monkeypatch.setattr(large, "NETWORKS", {"small, NHL": small})
    monkeypatch.setattr(large.concurrent.futures, "ProcessPoolExecutor", Here)
    (row,) = large.measure_large([9], train_most=9)
    found = dict(zip(large.COLUMNS, row, strict=True))
    assert (found.pop("network"), found.pop("categories")) == ("small, NHL", 9)
    assert min(found.values()) > 0
    assert found["GiB"] <= found["GiB, training"]
    assert large._tree(9)["group 1"] == ["category 1", "category 4", "category 7"]
