"""Segmentation of crops against that of full frames."""

import json

import pytest

from keras_seqpar.training.tasks.segmenter import build_segmenter
from tests import commands, harness
from tests.data.scenes import write_scenes

pytest.importorskip("absl")
pytest.importorskip("PIL.Image")

SEGMENTATION = "benchmarks/segmentation.py"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("data") / "scenes.zip")


def test_the_benchmark(scenes, tmp_path, capsys):
    network = build_segmenter(3, width=0.125, channels=8)
    harness.randomize(network)
    network.save(tmp_path / "net.keras")
    flags = [str(tmp_path / "net.keras"), f"--data={scenes}", "--shares=0.05", "--threshold=0"]
    flags += ["--margin=receptive_field", "--reach=receptive_field", "--images=2"]
    assert commands.call(SEGMENTATION, *flags, f"--output={tmp_path / 'bench'}") == 0
    (row,) = json.loads((tmp_path / "bench" / "segmentation.json").read_text("utf-8"))["rows"]
    assert row["frames"] == 2 and row["agreement"] == 1.0 and row["miou"] == row["miou_whole"]
    assert "5% pasted" in (tmp_path / "bench" / "segmentation.md").read_text("utf-8")


def test_bad_flags(scenes, capsys):
    assert commands.call(SEGMENTATION, "net.keras", f"--data={scenes}", "--shares=2") == 1
    assert "up to 1" in capsys.readouterr().err
    assert commands.call(SEGMENTATION, "net.keras", f"--data={scenes}") == 1
    assert "no file net.keras" in capsys.readouterr().err
