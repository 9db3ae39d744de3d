"""The command that compares runs."""

import csv
import json
import math

import pytest

from tests import commands, harness


def write_run(folder, flags, accuracies):
    """The files of a run that the command reads."""
    folder.mkdir()
    text = json.dumps({"flags": {"output": str(folder), "best_by": "accuracy", **flags}})
    (folder / "flags.json").write_text(text)
    with open(folder / "history.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"])
        for i, value in enumerate(accuracies):
            writer.writerow([i + 1, 2 - value, value, 1 - value / 2, value, 60])
    network = harness.network(harness.LABELS[:3])
    network.save(folder / "best.keras")
    return network


def test_runs_are_compared(tmp_path, capsys):
    a, b, path = tmp_path / "a", tmp_path / "b", tmp_path / "new" / "runs.json"
    network = write_run(a, {"width": 0.5, "epochs": 3, "plan": "early"}, (0.5, 0.75, 0.7))
    write_run(b, {"width": 1.0, "epochs": 3, "ema": 0.9, "plan": "early"}, (0.5, 0.625))
    figure = tmp_path / "curves.png"
    assert commands.call("recipes/compare.py", a, b, f"--json={path}", f"--figure={figure}") == 0
    lines = [line.rsplit(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    table = {title: cells for title, *cells in lines}
    assert table["--width"] == ["0.5", "1.0"] and table["--ema"] == ["-", "0.9"]
    assert not table.keys() & {"--plan", "--epochs", "--output"}  # they are equal, or a place
    assert table["best top-1"] == ["75.00%", "62.50%"]
    facts = json.loads(path.read_text())
    assert facts["differing"] == ["ema", "width"]
    parameters = sum(math.prod(v.shape) for v in network.trainable_variables)
    assert [run["parameters"] for run in facts["runs"]] == [parameters] * 2
    assert [run["best"]["epoch"] for run in facts["runs"]] == [2, 2]
    assert [run["seconds"] for run in facts["runs"]] == [180, 120]
    pytest.importorskip("matplotlib")
    assert figure.stat().st_size > 1000


def test_a_folder_without_epochs_is_refused(tmp_path, capsys):
    assert commands.call("recipes/compare.py", tmp_path) == 1
    assert "has no flags.json" in capsys.readouterr().err
    folder = tmp_path / "run"
    write_run(folder, {}, ())
    assert commands.call("recipes/compare.py", folder) == 1
    assert "no history.csv of whole epochs" in capsys.readouterr().err
