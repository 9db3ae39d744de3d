"""The cost table: the lines of one case, and the place in the document that they go to."""

import pytest

import keras_seqpar as sp
from tests import commands, harness

pytest.importorskip("absl")

COSTS = "benchmarks/costs.py"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_lines_of_a_case():
    full = harness.network()
    kept = harness.LABELS[:2]
    of_full, of_cutout, of_plain = (
        sp.cost(network) for network in (full, sp.cutout(full, kept), sp.plain_twin(full))
    )
    lines = [cells(line) for line in commands.load(COSTS).count("small", full, kept, "PHL")]
    assert [line[2] for line in lines] == [f"{x.params:,}" for x in (of_full, of_cutout, of_plain)]
    assert [line[:2] for line in lines[:2]] == [
        ["small", "PHL"],
        ["", f"cutout, 2 of {full.output_shape[-1]}"],
    ]
    macs = of_cutout.macs / of_full.macs - 1
    assert lines[1][5] == f"{of_cutout.params / of_full.params - 1:+.1%} / {macs:+.1%}"
    assert (lines[0][4], lines[0][5], lines[2][6]) == ("-", "-", "-")


def test_only_the_marked_table_is_replaced(tmp_path):
    path = tmp_path / "results.md"
    path.write_text("head\n<!-- cost table -->\nold\n| table |\n<!-- end -->\ntail\n")
    commands.load(COSTS).update(path, "new")
    assert path.read_text() == "head\n<!-- cost table -->\nnew\n<!-- end -->\ntail\n"
