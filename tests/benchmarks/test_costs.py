"""The cost table: the rows of one case, and the file of results that they go to."""

import json

import pytest

import keras_seqpar as sp
from tests import commands, harness

pytest.importorskip("absl")

COSTS = "benchmarks/costs.py"


def test_the_rows_of_a_case():
    full = harness.network()
    kept = harness.LABELS[:2]
    of_full, of_cutout, of_plain = (
        sp.cost(network) for network in (full, sp.cutout(full, kept), sp.plain_twin(full))
    )
    rows = commands.load(COSTS).count("small", full, kept, "PHL")
    assert [row[2] for row in rows] == [x.params for x in (of_full, of_cutout, of_plain)]
    assert [row[:2] for row in rows[:2]] == [
        ["small", "PHL"],
        ["", f"cutout, 2 of {full.output_shape[-1]}"],
    ]
    macs = of_cutout.macs / of_full.macs - 1
    assert rows[1][6] == f"{of_cutout.params / of_full.params - 1:+.1%} / {macs:+.1%}"
    assert (rows[0][5], rows[0][6], rows[2][7]) == (None, None, None)


def test_an_update_keeps_what_was_not_measured(tmp_path):
    path = tmp_path / "costs.json"
    path.write_text('{"title": "Costs", "date": "2020-01-01", "rows": [["old"]], "notes": []}')
    commands.load(COSTS).update(path, [["new", 1]], "2 s")
    updated = json.loads(path.read_text())
    assert (updated["title"], updated["rows"], updated["notes"]) == ("Costs", [["new", 1]], ["2 s"])
    assert updated["date"] > "2020-01-01"
