"""Studies: what is trained under the same budget, and what is measured of it."""

import dataclasses
import types

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data, hierarchy
from keras_seqpar.training import evaluation, studies
from keras_seqpar.training.config import to_values
from keras_seqpar.training.flags import parse_train_flags
from keras_seqpar.training.runs import flags as run_flags
from tests import harness

Image = pytest.importorskip("PIL.Image")

LITE = "efficientnet_lite0"
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
    return studies.Study(["train"], {}, folder, 1, dataset, SUBSETS)


def network(seed=0, labels=LABELS, **options):
    model = harness.build(labels, include_preprocessing=True, **options)
    harness.randomize(model, seed)
    return model


def test_accuracies_are_those_that_evaluate_measures(images, tmp_path):
    one, model = the_study(images, tmp_path), network()
    found = studies.accuracies(model, one)
    report = evaluation.measure(model, one.dataset, "validation", 5)
    assert found["all"] == pytest.approx(report["in_distribution"]["top1"])
    for name, labels in SUBSETS.items():
        cut = evaluation.measure(sp.cutout(model, labels), one.dataset, "validation", 5)
        assert found[name] == pytest.approx(cut["in_distribution"]["top1"])


def test_a_network_of_a_subset_is_measured_on_its_images(images, tmp_path):
    one = the_study(images, tmp_path)
    model = network(labels=LABELS[2:])
    assert studies.accuracies(model, one).keys() == {"second half"}
    assert studies.costs(network(), one).keys() == {"all", *SUBSETS}


def test_nesting_studies_the_same_categories(images, tmp_path, monkeypatch):
    monkeypatch.setattr(studies.Study, "network", lambda *args: network())
    cases = studies.nesting(the_study(images, tmp_path))
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
    lines = studies.table(results, SUBSETS).splitlines()
    expected = "| seqpar | 60.00 (14.14) | 75.00 (0.00) | 100.00 (0.00) | 1,000 | 2.5 | 500 | 1.0 |"
    assert lines[2] == expected
    assert lines[3] == "| plain | 50.00 | - | - | 1,000 | 2.5 | - | - |"


def test_baselines_train_plain_networks_on_all_and_on_each_subset(images, tmp_path, monkeypatch):
    one = the_study(images, tmp_path)
    expected = {
        "seqpar": [],
        "plain on all": ["--network=plain"],
        "plain on first half": ["--network=plain", "--categories=black,dark"],
        "plain on second half": ["--network=plain", "--categories=gray,white"],
    }
    assert studies.baselines(one) == expected
    monkeypatch.setattr(studies.Study, "network", lambda *args: network())
    path = tmp_path / "nested.json"
    nested = dataclasses.replace(one, nested=True)
    assert studies.baselines(nested) == expected | {"nested": [f"--hierarchy={path}"]}
    assert hierarchy.from_file(path).depth == 2
    flat = dataclasses.replace(
        nested, shared={"plan": "--plan=small", "family": "--family=" + LITE}
    )
    assert studies.baselines(flat) == expected  # the plan has one level


def test_labels_with_commas(images, tmp_path):
    one = dataclasses.replace(the_study(images, tmp_path), subsets={"subset": ("a, b", "c")})
    (_, listed) = studies.baselines(one)["plain on subset"]
    config, _ = parse_train_flags([listed])
    assert config.data.categories == ["a, b", "c"]


def test_flags_of_branches_are_left_out_where_there_are_none(images, tmp_path, monkeypatch):
    shared = {"plan": "--plan=early", "fused": "--fused", "width": "--width=0.5"}
    one = dataclasses.replace(the_study(images, tmp_path), shared=shared)
    called = []

    def train(command):
        called.append(command[1:-2])
        return types.SimpleNamespace(returncode=1)

    monkeypatch.setattr(studies.subprocess, "run", train)
    for kind in ("plain", "one_branch"):
        with pytest.raises(ValueError, match=f"The training of '{kind}' failed"):
            one.network(kind, [f"--network={kind}"], 0)
    assert called == [
        ["--width=0.5", "--network=plain"],
        ["--plan=early", "--width=0.5", "--network=one_branch"],
    ]


def test_a_finished_network_of_other_flags_is_not_taken(images, tmp_path):
    one = dataclasses.replace(the_study(images, tmp_path), shared={"epochs": "--epochs=3"})
    folder = tmp_path / "seqpar-0"
    folder.mkdir()
    network().save(folder / "last.keras")
    config, run = parse_train_flags(["--epochs=3", f"--output={folder}"])
    run_flags.write_start(folder, to_values(config) | to_values(run))
    assert one.network("seqpar", [], 0).name == network().name
    other = dataclasses.replace(one, shared={"epochs": "--epochs=4"})
    with pytest.raises(ValueError, match="--epochs 3 then, 4 now. Give the study those flags"):
        other.network("seqpar", [], 0)
