"""The command that fits none of these, against the same figures computed again."""

import json
import os

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.surgery.unknowns import SCORES, Threshold, threshold_of
from keras_seqpar.training import rejection
from tests import commands, harness

pytest.importorskip("absl")
Image = pytest.importorskip("PIL.Image")

UNKNOWNS = "recipes/unknowns.py"
SIZE = 16
LABELS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """12 images of noise of each of three categories."""
    path = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for label in LABELS:
        (path / "val" / label).mkdir(parents=True)
        for i in range(12):
            noise = rng.integers(0, 256, (SIZE, SIZE, 3)).astype("uint8")
            Image.fromarray(noise).save(path / "val" / label / f"{i}.png")
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.keras"
    harness.network(LABELS, include_preprocessing=True).save(path)
    return path


def test_the_command(saved, folder, tmp_path, capsys):
    out = tmp_path / "new"
    more = [f"--save={out / 'net.keras'}", f"--json={out / 'a.json'}", f"--plot={out / 'roc.png'}"]
    arguments = [str(saved), f"--dataset=folder:{folder}", "--categories=red,blue"]
    assert commands.call(UNKNOWNS, *arguments, *more, "--score=max_logit") == 0
    text = capsys.readouterr().out
    assert "red, blue: fitted on 18 images" in text
    assert "on 12 in-distribution and 6 out-of-distribution images" in text
    assert "AUROC" in text and "max_logit" in text
    assert sorted(os.listdir(out)) == ["a.json", "net.keras", "roc.png"]
    report = json.loads((out / "a.json").read_text())
    assert report["categories"] == ["red", "blue"]
    stored = keras.models.load_model(out / "net.keras")
    assert threshold_of(stored) == Threshold(**report["max_logit"]["threshold"])
    # The same figures again, from images in the order of the data.
    split = data.load(f"folder:{folder}", image_size=SIZE, splits=["validation"]).validation
    logits = harness.logits(stored, split.read(range(36)).astype("float32"))
    truth = np.array([1, -1, 0])[split.labels]
    fits = rejection.split_halves(split.labels, 0)
    threshold = sp.fit_threshold(
        logits[fits & (truth >= 0)], logits[fits & (truth < 0)], score="max_logit"
    )
    assert threshold.value == pytest.approx(threshold_of(stored).value, abs=1e-4)
    figures, _ = rejection.measure_threshold(logits[~fits], truth[~fits], threshold)
    for key in rejection.ROWS.values():
        assert figures[key] == pytest.approx(report["max_logit"][key])


def test_a_share_given_holds(saved, folder, tmp_path):
    path = tmp_path / "a.json"
    arguments = [str(saved), f"--dataset=folder:{folder}", "--categories=red", f"--json={path}"]
    assert commands.call(UNKNOWNS, *arguments, "--keep=1", "--temperature=3") == 0
    report = json.loads(path.read_text())
    assert report["energy"]["threshold"]["temperature"] == 3
    assert report["max_logit"]["threshold"]["temperature"] == 1
    # For one category both scores are its logit.
    values = [report[score]["threshold"]["value"] for score in SCORES]
    assert values[0] == pytest.approx(values[1])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            [],
            "0 out-of-distribution images; it needs both. Cut fewer categories",
        ),
        (["--categories=pink"], "Unknown category or superclass 'pink'"),
        (["--categories=red", "--keep=2"], "keep must be a share above 0 and at most 1, got 2"),
        (["--categories=red", "--temperature=0"], "temperature must be a finite number above 0"),
        (["--save=net.h5"], "--save must end in .keras, got 'net.h5'"),
        (["--plot=roc.gif"], "--plot must end in .png or .svg or .pdf, got 'roc.gif'"),
        (["--score=softmax"], "should be one of <energy|max_logit>"),
    ],
)
def test_bad_flags(saved, folder, capsys, more, words):
    assert commands.call(UNKNOWNS, str(saved), f"--dataset=folder:{folder}", *more) == 1
    assert words in capsys.readouterr().err


def test_help(capsys):
    assert commands.call(UNKNOWNS, "--help") == 0
    assert "--keep" in capsys.readouterr().out
