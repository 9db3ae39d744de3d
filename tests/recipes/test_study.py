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
    options = {"input_shape": (16, 16, 3), "width": 0.125, "stem": "small", "family": "resnet18"}
    options["include_preprocessing"] = True
    with runner.tiny_plan():
        finished = {
            "plain_on_all": sp.build_plain(LABELS, **options),
            "plain_on_subset": sp.build_plain(LABELS[:1:-1], **options),
            "nested": sp.build_nhl({"a": LABELS[:2], "b": LABELS[2:]}, plan="tiny", **options),
        }
    for name, network in finished.items():  # these are not trained again
        (output / f"{name}-0").mkdir(parents=True)
        network.save(output / f"{name}-0" / "last.keras")
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
    cutouts = ("cutout of subset", "nested, cutout of subset")
    for name in ("seqpar", "nested", "plain on all", "plain on subset", *cutouts):
        assert f"\n| {name} |" in printed
    assert "| ms, 1 thread | ms, 2 threads | against seqpar (parameters / MACs / " in printed
    results = json.loads((output / "baselines.json").read_text())
    assert results["plain on subset"]["top1"].keys() == {"subset"}
    int8 = results["int8"]
    for name, full in zip(cutouts, ("seqpar", "nested"), strict=True):
        assert int8[name]["bytes"] < int8[full]["bytes"]
        assert int8[name]["milliseconds"] > 0 and int8[name]["milliseconds_2_threads"] > 0
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
        (["baselines", "--", "--seed=3"], "The study sets --seed itself: leave it out behind `--`"),
        (["nesting", "--subset=gray,wite"], "Unknown category 'wite'. Did you mean 'white'?"),
    ],
)
def test_bad_flags(images, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    if arguments and "--" not in arguments:
        arguments = [*arguments, "--", f"--dataset=folder:{images}", "--batch_size=8"]
    assert call(*arguments) == 1
    assert words in capsys.readouterr().err
