"""The table of switching between subsets: what takes turns, and what is written."""

import itertools
import json
import types

import pytest

import keras_seqpar as sp
from keras_seqpar.benchmarking import switching
from tests import commands, harness

pytest.importorskip("absl")
pytest.importorskip("psutil")

COMMAND = "benchmarks/switching.py"


def test_cutout_and_predictor_take_turns(monkeypatch):
    ticks = itertools.count()
    clock = types.SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(switching, "time", clock)  # Keras looks at the real one
    asked, predict = [], sp.SubsetPredictor.predict

    def seen(self, images, names):
        asked.append(tuple(names))
        return predict(self, images, names)

    monkeypatch.setattr(sp.SubsetPredictor, "predict", seen)
    shown = []
    limits = {"turns": 5, "switches": 20}
    rows = switching.measure_switching(
        sp.fuse(harness.network()), [2], **limits, report=shown.append
    )
    # On this clock each call takes a second.
    assert rows == shown == [["tensorflow", 2, 1000.0, 1000.0, 1000.0, 0.0, rows[0][-2], 0]]
    assert len(rows[0]) == len(switching.COLUMNS)
    assert len(asked) == 2 * (10 + 5) + 5 + 20
    assert len({*asked[0:30:2]}) == 1  # the same subset
    assert len({*asked[1:30:2]}) > 1


def test_the_command_measures_what_its_flags_say(monkeypatch):
    given = {}

    def measured(model, sizes, **limits):
        given.update(model=model, sizes=sizes, **limits)
        return []

    monkeypatch.setattr(switching, "measure_switching", measured)
    network = ("--count=5", "--superclasses=2", "--family=resnet18", "--width=0.125", "--size=32")
    assert commands.call(COMMAND, *network, "--asked=1,3", "--turns=7") == 0
    assert (given["sizes"], given["turns"], given["switches"]) == ([1, 3], 7, 1000)
    hierarchy = given["model"].get_layer("categories").hierarchy
    assert (len(hierarchy.categories), len(hierarchy.superclasses)) == (5, 2)
    assert given["model"].input_shape == (None, 32, 32, 3)


def test_an_update_keeps_the_rows_of_other_backends(tmp_path):
    path = tmp_path / "switching.json"
    path.write_text(
        '{"title": "kept", "date": "2020-01-01", "rows": [["torch", 1], ["tensorflow", 9]]}'
    )
    commands.load(COMMAND).update(path, [["tensorflow", 2]])
    table = json.loads(path.read_text())
    assert (table["title"], table["rows"]) == ("kept", [["tensorflow", 2], ["torch", 1]])
    assert table["date"] > "2020-01-01"
