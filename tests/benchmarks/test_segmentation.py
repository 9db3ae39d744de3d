"""Segmentation where something changed against that of whole frames."""

import json

import pytest

from keras_seqpar import mobile
from keras_seqpar.training.tasks.segmenter import build_segmenter
from tests import commands, harness
from tests.data.scenes import HEIGHT, WIDTH, write_scenes

pytest.importorskip("absl")
pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.only_backend("tensorflow")

SEGMENTATION = "benchmarks/segmentation.py"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("data") / "scenes.zip")


def test_the_benchmark(scenes, tmp_path, capsys):
    network = build_segmenter(3, width=0.125, channels=8)
    harness.randomize(network)
    made = mobile.convert(
        network, tmp_path / "net.tflite", quantization="float32", image_size=(HEIGHT, WIDTH),
        labels=False,
    )  # fmt: skip
    flags = [str(made.path), f"--data={scenes}", "--shares=0.05", "--images=2"]
    assert commands.call(SEGMENTATION, *flags, f"--output={tmp_path / 'bench'}") == 0
    rows = json.loads((tmp_path / "bench" / "segmentation.json").read_text("utf-8"))["rows"]
    agreement = {x["rival"]: x["agreement"] for x in rows}
    assert list(agreement) == ["dense", "stream", "regions, margin 7"] + [
        "regions, margin receptive_field"
    ]
    assert agreement["stream"] == agreement["regions, margin receptive_field"] == 1.0
    assert all(x["ms"] > 0 and x["frames"] == 2 and 0 < x["computed"] <= 1 for x in rows)
    assert "5% pasted" in (tmp_path / "bench" / "segmentation.md").read_text("utf-8")


def test_bad_flags(scenes, capsys):
    assert commands.call(SEGMENTATION, "net.keras", f"--data={scenes}", "--shares=2") == 1
    assert "up to 1" in capsys.readouterr().err
    assert commands.call(SEGMENTATION, "net.keras", f"--data={scenes}") == 1
    assert "no file net.keras" in capsys.readouterr().err
