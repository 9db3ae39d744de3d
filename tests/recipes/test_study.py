"""Studies: what is trained under the same budget, and what is measured of it."""

import json
import pathlib
import sys
import types

import numpy as np
import pytest

from tests import harness

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "recipes"
sys.path.insert(0, str(RECIPES))
pytest.importorskip("absl")
Image = pytest.importorskip("PIL.Image")

import evaluate  # noqa: E402
import study  # noqa: E402

import keras_seqpar as sp  # noqa: E402
from keras_seqpar import data, hierarchy  # noqa: E402

LABELS = ("black", "dark", "gray", "white")
SUBSETS = {"first half": LABELS[:2], "second half": LABELS[2:]}


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


def the_study(images, folder):
    dataset = data.load(f"folder:{images}", image_size=16)
    return study.Study((), folder, 1, dataset, SUBSETS)


def network(seed=0, labels=LABELS, **options):
    model = harness.build(labels, include_preprocessing=True, **options)
    harness.randomize(model, seed)
    return model


def test_accuracies_are_those_that_evaluate_measures(images, tmp_path):
    one, model = the_study(images, tmp_path), network()
    found = study.accuracies(model, one)
    report = evaluate.measure(model, one.dataset, "validation", 5)
    assert found["all"] == pytest.approx(report["own"]["top1"])
    for name, labels in SUBSETS.items():
        cut = evaluate.measure(sp.cutout(model, labels), one.dataset, "validation", 5)
        assert found[name] == pytest.approx(cut["own"]["top1"])


def test_a_network_of_a_subset_is_measured_on_its_images(images, tmp_path):
    one = the_study(images, tmp_path)
    model = network(labels=LABELS[2:])
    assert study.accuracies(model, one).keys() == {"second half"}
    assert study.costs(network(), one).keys() == {"all", *SUBSETS}


def test_nesting_studies_the_same_categories(images, tmp_path, monkeypatch):
    monkeypatch.setattr(study.Study, "network", lambda *args: network())
    cases = study.nesting(the_study(images, tmp_path))
    assert cases["seqpar"] == [] and cases["one branch"] == ["--network=one_branch"]
    trees = {
        name: hierarchy.from_file(flags[0].removeprefix("--hierarchy="))
        for name, flags in cases.items()
        if name not in ("seqpar", "one branch")
    }
    assert {"similar, 2 levels", "dissimilar, 2 levels", "random, 2 levels"} <= set(trees)
    for tree in trees.values():
        assert sorted(tree.categories) == sorted(LABELS)
    assert trees["similar, 2 levels"].depth == 2


def test_table_shows_means_and_deviations():
    cost = {"params": 1000, "macs": 2_500_000}
    results = {
        "seqpar": {
            "top1": {"all": [0.5, 0.7], "first half": [0.75, 0.75], "second half": [1.0, 1.0]},
            "cost": {"all": cost, "first half": {"params": 500, "macs": 1e6}},
        },
        "plain": {"top1": {"all": [0.5]}, "cost": {"all": cost}},
    }
    lines = study.table(results, SUBSETS).splitlines()
    wanted = "| seqpar | 60.00 (14.14) | 75.00 (0.00) | 100.00 (0.00) | 1,000 | 2.5 | 500 | 1.0 |"
    assert lines[2] == wanted
    assert lines[3] == "| plain | 50.00 | - | - | 1,000 | 2.5 | - | - |"


def test_baselines_train_plain_networks_on_all_and_on_each_subset(images, tmp_path):
    cases = study.baselines(the_study(images, tmp_path))
    assert cases == {
        "seqpar": [],
        "plain on all": ["--network=plain"],
        "plain on first half": ["--network=plain", "--categories=black,dark"],
        "plain on second half": ["--network=plain", "--categories=gray,white"],
    }


@pytest.mark.only_backend("tensorflow")
def test_baselines_from_the_command_line(images, tmp_path, capsys, monkeypatch):
    output = tmp_path / "runs"
    for name, labels in (("plain_on_all", LABELS), ("plain_on_subset", LABELS[:1:-1])):
        (output / f"{name}-0").mkdir(parents=True)  # finished ones are not trained again
        options = {"input_shape": (16, 16, 3), "width": 0.125, "stem": "small"}
        plain = sp.build_plain(labels, family="resnet18", include_preprocessing=True, **options)
        plain.save(output / f"{name}-0" / "last.keras")
    arguments = [
        *("baselines", f"--output={output}", "--subset=white,gray"),
        *("--", f"--dataset=folder:{images}"),
        *("--image_size=16", "--width=0.125", "--epochs=1", "--batch_size=8", "--plan=early"),
    ]
    monkeypatch.setattr(study, "ROUNDS", 2)
    assert study.main(arguments) == 0
    said = capsys.readouterr().out
    for name in ("seqpar", "plain on all", "plain on subset", "cutout of subset"):
        assert f"\n| {name} |" in said
    results = json.loads((output / "baselines.json").read_text())
    assert results["plain on subset"]["top1"].keys() == {"subset"}
    int8 = results["int8"]
    assert int8["cutout of subset"]["bytes"] < int8["seqpar"]["bytes"]
    flags = json.loads((output / "seqpar-0" / "flags.json").read_text())["flags"]
    assert flags["plan"] == "early" and flags["seed"] == 0
    monkeypatch.setattr(study, "subprocess", types.SimpleNamespace(run=pytest.fail))
    assert study.main([*arguments[:1], "--noint8", *arguments[1:]]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["baseline"], "Unknown study 'baseline'. Valid: baselines, training, nesting"),
        ([], "Give the study"),
        (["nesting", "--", "--familly=x"], "Unknown command line flag 'familly'"),
        (["nesting", "--subset=gray,wite"], "Unknown category 'wite'. Did you mean 'white'?"),
    ],
)
def test_bad_flags(images, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    if arguments and "--" not in arguments:
        arguments = [*arguments, "--", f"--dataset=folder:{images}", "--batch_size=8"]
    assert study.main(arguments) == 1
    assert words in capsys.readouterr().err


def test_a_training_that_fails_ends_the_study(images, tmp_path, capfd):
    arguments = ["baselines", f"--output={tmp_path}", "--", f"--dataset=folder:{images}"]
    assert study.main([*arguments, "--batch_size=8", "--image_size=16", "--width=-1"]) == 1
    assert "The training of 'seqpar' failed" in capfd.readouterr().err
