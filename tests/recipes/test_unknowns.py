"""The command that fits none of these: every figure against one that is counted by hand."""

import json
import os
import pathlib
import sys

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.surgery.unknowns import Threshold, known_score, threshold_of

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "recipes"))
pytest.importorskip("absl")
Image = pytest.importorskip("PIL.Image")

import unknowns  # noqa: E402
from sklearn import metrics  # noqa: E402

from tests import harness  # noqa: E402

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


def test_halves_are_equal_repeatable_and_apart():
    labels = np.repeat([0, 1, 2], [4, 7, 1])
    fits = unknowns.halves(labels, 3)
    assert [int(fits[labels == i].sum()) for i in range(3)] == [2, 3, 0]
    assert np.array_equal(fits, unknowns.halves(labels, 3))
    assert not np.array_equal(fits, unknowns.halves(labels, 4))


@pytest.mark.parametrize("score", unknowns.SCORES)
def test_figures(score):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 3)) * 3
    truth = np.where(rng.random(60) < 0.7, logits.argmax(-1), rng.integers(0, 3, 60))
    truth[40:] = -1
    threshold = Threshold(2.0, score)
    figures, curve = unknowns.measure(logits, truth, threshold)
    kept = known_score(logits, score) >= 2.0
    own, right = truth >= 0, logits.argmax(-1) == truth
    auroc = metrics.roc_auc_score(own, known_score(logits, score))
    assert figures["auroc"] == curve.area == pytest.approx(auroc)
    assert figures["foreign_kept_at_0.95"] == curve.out_of_distribution_at(0.95)
    assert (figures["own"], figures["foreign"]) == (40, 20)
    assert figures["own_kept"] == kept[:40].mean()
    assert figures["foreign_rejected"] == 1 - kept[40:].mean()
    assert figures["top1"] == right[:40].mean()
    assert figures["top1_kept"] == (right & kept)[:40].mean()
    assert figures["accuracy_without"] == right[:40].sum() / 60
    decided = (right & kept)[:40].sum() + (~kept)[40:].sum()
    assert figures["accuracy"] == pytest.approx(decided / 60)
    assert threshold.get_config() == figures["threshold"]


def test_the_command(saved, folder, tmp_path, capsys):
    out = tmp_path / "new"
    more = [f"--save={out / 'net.keras'}", f"--json={out / 'a.json'}", f"--plot={out / 'roc.png'}"]
    arguments = [str(saved), f"--dataset=folder:{folder}", "--categories=red,blue"]
    assert unknowns.main([*arguments, *more, "--score=max_logit"]) == 0
    text = capsys.readouterr().out
    assert "red, blue: fitted on 18 images" in text and "on 12 own and 6 foreign ones" in text
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
    fits = unknowns.halves(split.labels, 0)
    threshold = sp.fit_threshold(
        logits[fits & (truth >= 0)], logits[fits & (truth < 0)], score="max_logit"
    )
    assert threshold.value == pytest.approx(threshold_of(stored).value, abs=1e-4)
    figures, _ = unknowns.measure(logits[~fits], truth[~fits], threshold)
    for key in unknowns.ROWS.values():
        assert figures[key] == pytest.approx(report["max_logit"][key])


def test_a_share_given_holds(saved, folder, tmp_path):
    path = tmp_path / "a.json"
    arguments = [str(saved), f"--dataset=folder:{folder}", "--categories=red", f"--json={path}"]
    assert unknowns.main([*arguments, "--keep=1", "--temperature=3"]) == 0
    report = json.loads(path.read_text())
    assert report["energy"]["threshold"]["temperature"] == 3
    assert report["max_logit"]["threshold"]["temperature"] == 1
    # For one category both scores are its logit.
    values = [report[score]["threshold"]["value"] for score in unknowns.SCORES]
    assert values[0] == pytest.approx(values[1])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "18 own and 0 foreign images; it needs both. Cut fewer categories"),
        (["--categories=pink"], "Unknown category or superclass 'pink'"),
        (["--categories=red", "--keep=2"], "keep must be a share above 0 and at most 1, got 2"),
        (["--categories=red", "--temperature=0"], "temperature must be a finite number above 0"),
        (["--save=net.h5"], "--save must end in .keras, got 'net.h5'"),
        (["--plot=roc.gif"], "--plot must end in .png or .svg or .pdf, got 'roc.gif'"),
        (["--score=softmax"], "should be one of <energy|max_logit>"),
    ],
)
def test_bad_flags(saved, folder, capsys, more, words):
    assert unknowns.main([str(saved), f"--dataset=folder:{folder}", *more]) == 1
    assert words in capsys.readouterr().err


def test_help(capsys):
    with pytest.raises(SystemExit):
        unknowns.main(["--help"])
    assert "--keep" in capsys.readouterr().out
