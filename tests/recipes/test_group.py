"""Hierarchies from the command line."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data, hierarchy
from tests import commands, harness

GROUP = "recipes/group.py"

DIGITS = tuple("9876543210")  # the network's order is not that of the data


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Small networks for digits, with random weights, as files."""
    folder = tmp_path_factory.mktemp("networks")
    options = {"input_shape": (16, 16, 3), "width": 0.125, "stem": "small", "seed": 1}
    made = {
        "phl": harness.network(DIGITS, include_preprocessing=True),
        "normalized": harness.network(DIGITS),
        "plain": sp.build_plain(DIGITS, family="resnet18", include_preprocessing=True, **options),
        "other": harness.network(["a", "b"]),
    }
    harness.randomize(made["plain"])
    for name, model in made.items():
        model.save(folder / f"{name}.keras")
    return folder


def run(argv, tmp_path, capsys):
    """Runs the command; returns its hierarchy and what it printed."""
    path = tmp_path / "made.json"
    assert commands.call(GROUP, *argv, "--output", path) == 0
    return hierarchy.from_file(path), capsys.readouterr().out


def images() -> tuple[np.ndarray, np.ndarray]:
    """The validation images of digits, and each one's place in DIGITS."""
    split = data.load("digits", image_size=16, splits=["validation"]).validation
    return split.read(np.arange(len(split))).astype("float32"), 9 - split.labels


@pytest.mark.parametrize("name", ["phl", "plain", "normalized"])
def test_similarity_compares_the_features_of_the_trunk(networks, tmp_path, capsys, name):
    flags = ["--source", "similarity", "--model", str(networks / f"{name}.keras")]
    flags += ["--dataset", "digits", "--superclasses", "4", "--method", "ward"]
    made, _ = run(flags, tmp_path, capsys)
    x, truth = images()
    if name == "normalized":
        mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
        x = (x / 255 - mean) / deviation
    trunk = keras.models.load_model(networks / f"{name}.keras").get_layer("trunk")
    found = keras.ops.convert_to_numpy(trunk(x.astype("float32"), training=False)).mean((1, 2))
    means = np.stack([found[truth == i].mean(0) for i in range(10)])
    assert made == hierarchy.from_similarity(DIGITS, features=means, superclasses=4, method="ward")
    assert made.categories == DIGITS


@pytest.mark.parametrize("by", ["confusion", "scores"])
def test_similarity_compares_what_a_network_takes_for_what(networks, tmp_path, capsys, by):
    flags = ["--model", str(networks / "phl.keras"), "--dataset", "digits", "--by", by]
    made, out = run([*flags, "--source", "similarity"], tmp_path, capsys)
    x, truth = images()
    scores = harness.predict(keras.models.load_model(networks / "phl.keras"), x)
    assert f"Top-1 on 360 validation images: {np.mean(scores.argmax(-1) == truth):.2%}." in out
    if by == "confusion":
        scores = np.eye(10)[scores.argmax(-1)]
    confusion = np.stack([scores[truth == i].mean(0) for i in range(10)])
    assert made == hierarchy.from_similarity(DIGITS, confusion=confusion)
    apart, _ = run([*flags, "--source", "dissimilar"], tmp_path, capsys)
    assert apart == hierarchy.from_dissimilarity(DIGITS, confusion=confusion)


def test_wordnet_is_the_default_source(tmp_path, capsys):
    figure = tmp_path / "woof.png"
    flags = ["--subset", "imagewoof", "--levels", "3", "--figure", str(figure)]
    made, out = run(flags, tmp_path, capsys)
    assert made == hierarchy.from_subset("imagewoof", levels=3)
    assert str(made) in out and f"Drawn to {figure}." in out and figure.exists()
    assert "Split-point 2: superclasses with 3, 2, 2, 2 children." in out
    made, out = run(["--labels", "dog, cat,truck ,ambulance", "--explain"], tmp_path, capsys)
    assert made.categories == ("dog", "cat", "truck", "ambulance")
    assert "dog: n02084071 dog, domestic dog, Canis familiaris: a kind of canine, canid" in out
    _, out = run(["--subset", "meow"], tmp_path, capsys)
    assert "5 of 5 categories are directly under the trunk" in out
    assert "WordNet has no finer grouping of these" in out


def test_controls_and_files_are_sources(tmp_path, capsys):
    made, _ = run(["--source", "random", "--dataset", "digits", "--seed", "3"], tmp_path, capsys)
    assert made == hierarchy.random_hierarchy(tuple("0123456789"), seed=3)
    made, _ = run(["--source", "dissimilar", "--subset", "imagewoof"], tmp_path, capsys)
    four = hierarchy.from_subset("imagewoof", levels=4)
    assert made == hierarchy.from_dissimilarity(
        hierarchy.subset_labels("imagewoof"), hierarchy=four
    )
    hierarchy.to_file(made, tmp_path / "woof.yaml")
    flags = ["--source", "file", "--file", str(tmp_path / "woof.yaml")]
    assert run(flags, tmp_path, capsys)[0] == made
    chosen, _ = run([*flags, "--labels", "dingo,beagle"], tmp_path, capsys)
    assert chosen == made.prune(["dingo", "beagle"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "Say which categories: one of --labels, --subset and --dataset."),
        (["--labels", "a,b", "--subset", "meow"], "Say which categories"),
        (["--subset", "meows"], "Unknown subset 'meows'. Did you mean 'meow'?"),
        (["--subset", "meow", "--levels", "7"], "2 to 4, got 7"),
        (["--subset", "meow", "--superclasses", "2"], "--superclasses is not for wordnet"),
        (["--subset", "meow", "--corpus", "/nowhere"], "There is no WordNet at '/nowhere'"),
        (["--labels", "dog,qwxz"], "has no noun 'qwxz'"),
        (["--dataset", "nothing"], "Unknown data set 'nothing'"),
        (["--source", "nothing"], "--help lists all flags"),
        (["nothing"], "arguments without a flag: nothing"),
        (["--source", "similarity", "--dataset", "digits"], "needs a trained network"),
        (["--source", "similarity", "--labels", "a,b", "--model", "x"], "--model needs images"),
        (["--source", "random", "--dataset", "digits", "--model", "x"], "--model is for simil"),
        (["--source", "similarity", "--dataset", "digits", "--model", "x"], "no file x"),
        (["--source", "random", "--labels", "a,b,c", "--seed", "-1"], "--seed"),
        (["--source", "random", "--labels", "a,a"], "'a' is named twice"),
        (["--source", "file"], "--source file needs --file"),
        (["--source", "file", "--file", "x.json"], "x.json"),
        (["--file", "x.json", "--subset", "meow"], "--file is for --source file"),
        (["--subset", "meow", "--output", "x.txt"], "ends in .json, .yaml, .yml, got 'x.txt'"),
    ],
)
def test_bad_flags_are_explained_and_leave_nothing(argv, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert commands.call(GROUP, *argv) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
    assert not list(tmp_path.iterdir())


def test_a_network_must_know_the_data(networks, tmp_path, capsys):
    flags = ["--source", "similarity", "--dataset", "digits", "--model"]
    assert commands.call(GROUP, *flags, networks / "other.keras") == 1
    assert "have different categories; only one of them has 0, 1, 2" in capsys.readouterr().err
    (tmp_path / "broken.keras").write_bytes(b"PK")
    assert commands.call(GROUP, *flags, tmp_path / "broken.keras") == 1
    assert "is no readable .keras file" in capsys.readouterr().err


def test_the_recipe_runs_by_path(tmp_path, root):
    program = [sys.executable, str(root / "recipes" / "group.py")]
    done = subprocess.run(
        [*program, "--subset", "meow"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "KERAS_BACKEND": "numpy"},  # begins sooner
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 split-point, 5 categories\n├── tabby")
