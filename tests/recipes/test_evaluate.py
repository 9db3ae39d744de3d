"""The command that measures a network and its cutouts."""

import json

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from tests import commands, harness

Image = pytest.importorskip("PIL.Image")

SIZE = 16
LABELS = ("blue thing", "green thing", "red thing")
COUNTS = (3, 4, 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A validation split of three categories. Folder names are ids: the labels have spaces."""
    path = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for label, count in zip(LABELS, COUNTS, strict=True):
        category = path / "val" / label.replace(" ", "_")
        category.mkdir(parents=True)
        for i in range(count):
            noise = rng.integers(0, 256, (SIZE, SIZE, 3)).astype("uint8")
            Image.fromarray(noise).save(category / f"{i}.png")
    return path


@pytest.fixture(scope="module")
def network():
    """A random network whose categories stand in another order than the data's."""
    return harness.network((LABELS[2], LABELS[0], LABELS[1]), include_preprocessing=True)


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.keras"
    network.save(path)
    return path


def call(*arguments):
    return commands.call("recipes/evaluate.py", *arguments)


def arguments(model, folder, *more):
    return [str(model), f"--dataset=folder:{folder}", "--batch_size=5", *more]


def test_the_command_prints_tables_and_writes_json(saved, folder, tmp_path, capsys):
    path = tmp_path / "new" / "report.json"
    more = ("--categories=red thing,blue_thing", f"--json={path}")
    assert call(*arguments(saved, folder, *more)) == 0
    text = capsys.readouterr().out
    assert "3 categories" in text
    assert "2 categories" in text
    assert "green_thing" in text.split("Images of other categories (4)")[1]
    reports = json.loads(path.read_text())
    assert reports["cutout"]["categories"] == ["red thing", "blue thing"]
    assert reports["cutout"]["parameters"] < reports["network"]["parameters"]


def test_a_plain_network_can_be_measured_and_cut(folder, tmp_path, capsys):
    plain = sp.build_plain(
        LABELS,
        family="resnet18",
        input_shape=(None, None, 3),
        stem="small",
        width=0.125,
        include_preprocessing=True,
    )
    plain.save(tmp_path / "plain.keras")
    assert call(*arguments(tmp_path / "plain.keras", folder, "--image_size=16")) == 0
    assert call(*arguments(tmp_path / "plain.keras", folder)) == 1
    assert "Choose one: --image_size" in capsys.readouterr().err
    more = ("--image_size=16", "--categories=red thing")
    assert call(*arguments(tmp_path / "plain.keras", folder, *more)) == 0
    assert "only its classifier got smaller" in capsys.readouterr().err


def test_categories_that_the_data_lacks(folder, tmp_path, capsys):
    harness.network(("cat", "red thing"), include_preprocessing=True).save(tmp_path / "net.keras")
    assert call(*arguments(tmp_path / "net.keras", folder)) == 1
    error = capsys.readouterr().err
    assert "no images of cat." in error
    assert "The network knows: cat, red thing." in error
    assert "The data set has: blue_thing, green_thing, red_thing." in error


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--categories=red thing,pink thing"], "Unknown category or superclass 'pink thing'"),
        (["--categories=red thing,red_thing"], "chosen twice"),
        (["--image_size=32"], "The network takes 16 pixels, --image_size says 32"),
        (["--split=test"], "should be one of <train|validation>"),
        (["--split=train"], "has no train split"),
        (["--dataset=mnist"], "Unknown data set 'mnist'"),
        (["another"], "arguments without a flag: another"),
    ],
)
def test_bad_flags(saved, folder, capsys, more, words):
    assert call(*arguments(saved, folder, *more)) == 1
    assert words in capsys.readouterr().err


def test_files_that_are_no_networks(saved, folder, tmp_path, capsys):
    content = saved.read_bytes()
    for name, some, words in (
        ("half.keras", content[: len(content) // 2], "is no readable .keras file"),
        ("text.keras", b"no network", "is no readable .keras file"),
        ("text.txt", b"no network", "is no readable .keras file"),
    ):
        (tmp_path / name).write_bytes(some)
        assert call(*arguments(tmp_path / name, folder)) == 1
        assert words in capsys.readouterr().err
    assert call(*arguments(tmp_path / "none.keras", folder)) == 1
    assert "There is no file" in capsys.readouterr().err
    other = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten()])
    other.save(tmp_path / "other.keras")
    assert call(*arguments(tmp_path / "other.keras", folder)) == 1
    assert "is no SeqPar network" in capsys.readouterr().err
    assert call() == 1
    assert "error: MODEL is missing" in capsys.readouterr().err


def test_help(capsys):
    assert call("--help") == 0
    assert "--categories" in capsys.readouterr().out
