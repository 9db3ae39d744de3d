"""The records of a benchmark: table, JSON, figure."""

import json
import os

import pytest

from keras_seqpar import plots
from keras_seqpar.mobile.checking import benchmark, phone
from tests.mobile.checking import phone_logs
from tests.mobile.checking.conftest import NAMES

pytestmark = pytest.mark.only_backend("tensorflow")


def test_the_table_holds_every_number(measured):
    title, empty, head, rule, *lines = str(measured).splitlines()
    assert title.endswith(", int8") and not empty and len(lines) == 8
    assert len({line.count("|") for line in (head, rule, *lines)}) == 1
    cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    row = measured.rows()[2]
    ratio = row["latency_ms"] / row["ideal_ms"]
    assert cells[1:4] == ["1", "cutout, 2", f"{row['macs'] / 1e6:.1f}"]
    assert cells[4:8] == [
        *(f"{row['bytes']:,}", f"{row['load_ms']:.2f}", f"{row['first_ms']:.2f}"),
        f"{row['latency_ms']:.2f}",
    ]
    assert cells[8:10] == [f"{row['ideal_ms']:.2f}", f"{ratio:.2f}"]
    lonely = benchmark.Benchmark(
        "a|b", "int8", measured.files, (benchmark.Result(NAMES[1], "x|y", 1, 1, 1, 1, None, True),)
    )
    assert "| x/y | 1 | cutout, 1 |" in str(lonely) and "| 1.00 (mean) | - | - | - |" in str(lonely)


def test_json_holds_everything(measured, tmp_path):
    path = tmp_path / "b.json"
    benchmark.write(measured, path)
    assert benchmark.read(path) == measured
    facts = json.loads(path.read_text())
    assert facts["rows"] == json.loads(json.dumps(measured.rows()))
    assert os.listdir(tmp_path) == ["b.json"]
    for change, words in (
        ({"format": 9}, "its format is 9, wanted is 1"),
        ({"files": []}, "has results of .*plain-int8.tflite, but no such file"),
        ({"results": [{"file": 1}]}, "holds no benchmark: .*missing"),
        ({"files": None}, "holds no benchmark"),
    ):
        path.write_text(json.dumps({**facts, **change}))
        with pytest.raises(ValueError, match=words):
            benchmark.read(path)
    path.write_bytes(b"\xff{")
    with pytest.raises(ValueError, match="b.json holds no benchmark.*Measure again"):
        benchmark.read(path)
    with pytest.raises(ValueError, match="no file .*nowhere.json: measure a network first"):
        benchmark.read(tmp_path / "nowhere.json")


def test_the_figure_shows_measured_ideal_and_plain(measured, files, tmp_path):
    both = phone.with_log(measured, phone_logs.log(measured, threads=[2]), device="Phone $x_{")
    figure = plots.latency(both, tmp_path / "latency.png")
    assert os.listdir(tmp_path) == ["latency.png"]
    assert [axes.axison for axes in figure.axes] == [True, True, False, True]
    rows = both.rows()[:4]
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert lines["cutouts, measured"] == [[r["categories"], r["latency_ms"]] for r in rows[1:]]
    assert lines["cutouts, by their MACs"] == [[r["categories"], r["ideal_ms"]] for r in rows[1:]]
    assert {y for _, y in lines["plain network"]} == {rows[0]["latency_ms"]}
    assert figure.axes[3].get_title() == "Phone $x_{, 2 threads"
    with pytest.raises(ValueError, match="no results of cutouts to draw"):
        plots.latency(files)
