"""The figures of the documentation, for any network and data."""

import json

import pytest

from tests import commands, harness

pytest.importorskip("absl")
pytest.importorskip("matplotlib")

FIGURES = "benchmarks/figures.py"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A network for digits."""
    path = tmp_path_factory.mktemp("net") / "net.keras"
    harness.build([str(i) for i in range(10)], include_preprocessing=True).save(path)
    return path


def study():
    cost = {"params": 10, "macs": 1000}
    cut = {"params": 5, "macs": 600}
    plain = {"top1": {"half": [0.8, 0.9]}, "cost": {"all": cost}}
    return {
        "seqpar": {"top1": {"all": [0.7], "half": [0.9]}, "cost": {"all": cost, "half": cut}},
        "plain on all": plain,
        "plain on half": plain,
    }


def test_points_of_a_study():
    found = {point["group"]: point for point in commands.load(FIGURES).study_points(study())}
    assert found["cutout of the SeqPar network"]["cost"] == 600
    assert found["cutout of the SeqPar network"]["top1"] == 0.9
    assert found["plain, trained on the subset"]["top1"] == pytest.approx(0.85)


def test_all_figures_from_the_command_line(file, tmp_path, capsys):
    (tmp_path / "study.json").write_text(json.dumps(study()))
    arguments = [str(file), f"--output={tmp_path / 'out'}", f"--study={tmp_path / 'study.json'}"]
    assert commands.call(FIGURES, *arguments) == 0
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["confusion.png", "cost.png", "features.png", "pareto.png", "topology.png"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in (tmp_path / "out").iterdir())
    assert commands.call(FIGURES, *arguments, "--image=360") == 1
    assert "--image must be below 360, got 360." in capsys.readouterr().err
