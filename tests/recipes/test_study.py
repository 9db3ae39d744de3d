"""The command of studies: trainings of its own, int8 files, messages."""

import json
import subprocess
import types

import numpy as np
import pytest

import keras_seqpar as sp
from tests import commands
from tests.training import runner

Image = pytest.importorskip("PIL.Image")

LABELS = ("black", "dark", "gray", "white")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Noisy images of four brightnesses: 4 x 12 to train on, 4 x 3 to validate on."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("validation", 3)):
        for name, mean in zip(LABELS, (30, 90, 160, 220), strict=True):
            path = folder / split / name
            path.mkdir(parents=True)
            for i in range(count):
                noise = rng.normal(mean, 20, (18, 18, 3)).clip(0, 255).astype("uint8")
                Image.fromarray(noise).save(path / f"{i}.png")
    return folder


def call(*arguments):
    return commands.call("recipes/study.py", *arguments)


def train_here(command):
    """Trains in this process: another one would import TensorFlow again."""
    runner.train(command[2:])  # behind Python and recipes/train.py
    return types.SimpleNamespace(returncode=0)


@pytest.mark.only_backend("tensorflow")
def test_baselines_from_the_command_line(images, tmp_path, capsys, monkeypatch):
    output = tmp_path / "runs"
    for name, labels in (("plain_on_all", LABELS), ("plain_on_subset", LABELS[:1:-1])):
        (output / f"{name}-0").mkdir(parents=True)  # finished ones are not trained again
        options = {"input_shape": (16, 16, 3), "width": 0.125, "stem": "small"}
        plain = sp.build_plain(labels, family="resnet18", include_preprocessing=True, **options)
        plain.save(output / f"{name}-0" / "last.keras")
    monkeypatch.setattr(subprocess, "run", train_here)
    arguments = [
        *("baselines", f"--output={output}", "--subset=white,gray", "--rounds=2"),
        *("--", f"--dataset=folder:{images}"),
        *("--image_size=16", "--width=0.125", "--epochs=1", "--batch_size=8", "--plan=tiny"),
        "--jit=off",
    ]
    with runner.tiny_plan():
        assert call(*arguments) == 0
    printed = capsys.readouterr().out
    for name in ("seqpar", "plain on all", "plain on subset", "cutout of subset"):
        assert f"\n| {name} |" in printed
    results = json.loads((output / "baselines.json").read_text())
    assert results["plain on subset"]["top1"].keys() == {"subset"}
    int8 = results["int8"]
    assert int8["cutout of subset"]["bytes"] < int8["seqpar"]["bytes"]
    flags = json.loads((output / "seqpar-0" / "flags.json").read_text())["flags"]
    assert flags["plan"] == "tiny" and flags["seed"] == 0
    monkeypatch.setattr(subprocess, "run", pytest.fail)
    with runner.tiny_plan():
        assert call(*arguments[:1], "--noint8", *arguments[1:]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["baseline"], "Unknown study 'baseline'. Did you mean 'baselines'?"),
        ([], "error: STUDY is missing"),
        (["nesting", "--", "--familly=x"], "Unknown command line flag 'familly'"),
        (["nesting", "--subset=gray,wite"], "Unknown category 'wite'. Did you mean 'white'?"),
    ],
)
def test_bad_flags(images, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    if arguments and "--" not in arguments:
        arguments = [*arguments, "--", f"--dataset=folder:{images}", "--batch_size=8"]
    assert call(*arguments) == 1
    assert words in capsys.readouterr().err


def test_a_training_that_fails_ends_the_study(images, tmp_path, capfd):
    arguments = ["baselines", f"--output={tmp_path}", "--", f"--dataset=folder:{images}"]
    assert call(*arguments, "--batch_size=8", "--image_size=16", "--width=-1") == 1
    assert "The training of 'seqpar' failed" in capfd.readouterr().err
