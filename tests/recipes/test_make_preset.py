"""The command that makes a preset from a trained network."""

import json
import os

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data, presets
from tests import commands, harness
from tests.presets.test_presets import LABELS, SIZE, build

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def net():
    return build()


FLAGS = {
    "dataset": "folder:/nowhere",
    "data_dir": "/somewhere",
    "family": "resnet18",
    "plan": "late_sp",
    "width": 0.125,
    "stem": "small",
    "epochs": 3,
}


@pytest.fixture
def run(net, tmp_path):
    """The folder of a training run, and beside it images."""
    rng = np.random.default_rng(0)
    for label in LABELS:
        place = tmp_path / "images" / "val" / label
        place.mkdir(parents=True)
        for i in range(5):
            noise = rng.integers(0, 256, (SIZE, SIZE, 3)).astype("uint8")
            Image.fromarray(noise).save(place / f"{i}.png")
    (tmp_path / "run").mkdir()
    (tmp_path / "presets").mkdir()
    save(net, tmp_path)
    return tmp_path


def save(model, folder, **flags):
    model.save(folder / "run" / "best.keras")
    (folder / "run" / "flags.json").write_text(json.dumps({"flags": FLAGS | flags}))


def make(folder, *more, name="tiny") -> int:
    return commands.call(
        "recipes/make_preset.py",
        folder / "run" / "best.keras",
        f"--name={name}",
        "--license=Apache-2.0",
        f"--dataset=folder:{folder / 'images'}",
        f"--folder={folder / 'presets'}",
        *more,
    )


def test_the_command_measures_and_writes(net, run, capsys):
    assert make(run) == 0
    assert "top-1" in capsys.readouterr().out
    facts = presets.about("tiny", folder=run / "presets")
    assert str(run) not in json.dumps(facts) and "somewhere" not in json.dumps(facts)
    assert facts["data"] == {
        "name": "folder:images",
        "trained_with": {k: v for k, v in FLAGS.items() if k != "data_dir"}
        | {"dataset": "folder:nowhere"},
    }
    loaded = sp.load_preset("tiny", folder=run / "presets")
    split = data.load(f"folder:{run / 'images'}", image_size=SIZE, splits=["validation"])
    order = [LABELS.index(label) for label in split.categories]
    images = split.validation.read(range(15)).astype("float32")
    right = harness.predict(loaded, images).argmax(-1) == np.array(order)[split.validation.labels]
    assert facts["accuracy"]["top1"] == pytest.approx(right.mean())
    assert facts["accuracy"]["images"] == 15
    assert facts["normalization"]["std"] == [1.0] * 3


def test_the_command_refuses_what_is_no_preset(net, run, capsys):
    def refused(words, *more, **options):
        assert make(run, *more, **options) == 1
        assert words in capsys.readouterr().err
        assert not os.listdir(run / "presets")

    refused("A preset needs --name and --license", "--license=")
    refused("begins with no digit, got 'Tiny'", name="Tiny")
    save(sp.attend(net, {"red": 5.0}), run)
    refused("its logits differ by")
    save(net, run)
    refused("bytes; a preset may have 1,000. Train a network of 0.", "--most_bytes=1000")
    (run / "run" / "flags.json").write_text('{"flags": {"family": "resnet18"}}')
    refused("flags.json lacks dataset: it is not of recipes/train.py")
    (run / "run" / "flags.json").unlink()
    refused("has no flags.json")
