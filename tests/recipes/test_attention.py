"""The sweep of gains from the command line."""

import json

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data
from tests import commands, harness

pytest.importorskip("absl")
Image = pytest.importorskip("PIL.Image")

ATTENTION = "recipes/attention.py"
SIZE = 16
NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}
LABELS = sp.Hierarchy.of(NESTED).categories
AFTER = "stage5_block1_relu"


@pytest.fixture(scope="module")
def network():
    return harness.network(NESTED, include_preprocessing=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A validation split of the network's categories and one more."""
    path = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for label in (*LABELS, "foreign"):
        category = path / "val" / label
        category.mkdir(parents=True)
        for i in range(2):
            noise = rng.integers(0, 256, (SIZE, SIZE, 3)).astype("uint8")
            Image.fromarray(noise).save(category / f"{i}.png")
    return path


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    """The network with a constant gain: the study starts from 1."""
    path = tmp_path_factory.mktemp("model") / "net.keras"
    sp.attend(network, {"cat": 3, "pets": 0}).save(path)
    return path


def arguments(model, folder, *more):
    return [str(model), f"--dataset=folder:{folder}", "--batch_size=8", "--gains=0.5,2", *more]


def test_the_command_prints_writes_and_draws(network, saved, folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    paths = [tmp_path / "new" / name for name in ("out.json", "out.png")]
    more = (f"--after={AFTER}", f"--json={paths[0]}", f"--plot={paths[1]}", "--absent=2")
    more = (*more, "--composites")
    assert commands.call(ATTENTION, *arguments(saved, folder, *more)) == 0
    text = capsys.readouterr().out
    report = json.loads(paths[0].read_text())
    names = [sweep["name"] for sweep in report["sweeps"]]
    assert names == [
        "Gain on the categories",
        "Gain on superclasses, level 1",
        "Gain on superclasses, level 2",
        f"Gain on the categories, after {AFTER}",
    ]
    assert all(name in text for name in names)
    assert "2 absent inhibited" in text
    assert report["images"] == 12
    assert report["composites"]["gains"] == [0.5, 1, 2]
    assert "Two categories side by side" in text
    assert paths[1].stat().st_size > 1000
    images = data.load(f"folder:{folder}", image_size=SIZE, splits=["validation"])
    truth = [LABELS.index(n) if n in LABELS else -1 for n in images.categories]
    truth = np.array(truth)[images.validation.labels]
    x = images.validation.read(np.flatnonzero(truth >= 0)).astype("float32")
    said = harness.logits(network, x).argmax(-1)
    assert report["sweeps"][0]["neutral"] == pytest.approx((said == truth[truth >= 0]).mean())
    assert all(sweep["neutral"] == report["sweeps"][0]["neutral"] for sweep in report["sweeps"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--gains=1,two"], "--gains=1,two: could not convert string to float: 'two'"),
        (["--gains=-1"], "--gains=-1: The gain of '--gains' must be finite and not negative"),
        (["--absent=6"], "--absent is at most 5, the other categories; got 6."),
        (["--trust=1.5"], "--trust is a share from 0 to 1, got 1.5."),
        (["--after=stage9"], "Unknown layer to act after 'stage9'."),
        (["--after=stage3_block1_conv1"], "Unknown layer to act after 'stage3_block1_conv1'."),
        (["--split=train"], "has no train split"),
        (["--plot=x.xyz"], "--plot must end in .png, .svg or .pdf, got 'x.xyz'."),
    ],
)
def test_bad_flags(saved, folder, capsys, monkeypatch, tmp_path, more, words):
    monkeypatch.chdir(tmp_path)
    assert commands.call(ATTENTION, *arguments(saved, folder, *more)) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_networks_that_have_no_cues_to_give(folder, tmp_path, capsys):
    options = {"input_shape": (SIZE, SIZE, 3), "stem": "small", "width": 0.125}
    sp.build_plain(LABELS, family="resnet18", **options).save(tmp_path / "net.keras")
    assert commands.call(ATTENTION, *arguments(tmp_path / "net.keras", folder)) == 1
    assert "is a plain network" in capsys.readouterr().err


def test_help(capsys):
    assert commands.call(ATTENTION, "--help") == 0
    assert "--after" in capsys.readouterr().out
