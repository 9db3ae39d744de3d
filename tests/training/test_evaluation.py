"""Measuring a network and its cutouts: every number against one that is counted by hand."""

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.training import evaluation
from tests import harness

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


def load(folder):
    return data.load(f"folder:{folder}", image_size=SIZE, splits=["validation"])


def test_a_full_network(network, folder):
    report = evaluation.measure(network, load(folder), "validation", 5)
    split = load(folder).validation
    scores = harness.predict(network, split.read(range(12)).astype("float32"))
    truth = np.array([1, 2, 0])[split.labels]  # blue, green, red in the network's order
    right = scores.argmax(-1) == truth
    assert report["categories"] == ["red thing", "blue thing", "green thing"]
    assert report["in_distribution"]["images"] == 12
    assert report["in_distribution"]["top1"] == pytest.approx(right.mean())
    assert report["in_distribution"]["confidence"] == pytest.approx(scores.max(-1).mean(), rel=1e-5)
    for i, label in enumerate(report["categories"]):
        found = report["in_distribution"]["per_category"][label]
        assert found["images"] == (truth == i).sum()
        assert found["top1"] == pytest.approx(right[truth == i].mean())
    assert "out_of_distribution" not in report
    recalls = [right[truth == i].mean() for i in range(3)]
    assert report["in_distribution"]["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_a_rare_category_shows_in_the_balanced_accuracy():
    found = {"cat": {"images": 300, "top1": 1.0}, "dog": {"images": 6, "top1": 0.0}}
    found["cow"] = {"images": 0, "top1": None}
    report = {"in_distribution": {"per_category": found}}
    lines = evaluation.accuracy_table(list(found), {"top-1": report}).splitlines()
    assert lines[-2].split() == ["all", "306", "98.04%"]
    assert lines[-1].split() == ["balanced", "50.00%"]
    assert evaluation.missed_categories(report) == ["dog"]


def test_a_cutout_on_images_of_its_categories_and_of_others(network, folder):
    kept = ["green_thing", "red thing"]
    report = evaluation.measure(sp.cutout(network, kept), load(folder), "validation", 64)
    split = load(folder).validation
    logits = harness.logits(network, split.read(range(12)).astype("float32"))[:, [2, 0]]
    scores = harness.softmax(logits)
    known = split.labels > 0
    truth = np.array([-1, 0, 1])[split.labels]
    assert report["categories"] == ["green thing", "red thing"]
    own = report["in_distribution"]
    assert own["images"] == 9
    assert own["top1"] == pytest.approx((logits.argmax(-1) == truth)[known].mean())
    assert own["confidence"] == pytest.approx(scores[known].max(-1).mean(), rel=1e-4)
    others = report["out_of_distribution"]
    assert others["images"] == 3
    assert others["confidence"] == pytest.approx(scores[~known].max(-1).mean(), rel=1e-4)
    shares = others["shares"]["blue_thing"]
    assert shares["green thing"] == pytest.approx((logits[~known].argmax(-1) == 0).mean())
    assert sum(shares.values()) == pytest.approx(1)


def test_a_network_that_takes_normalized_input(folder, tmp_path):
    one = harness.network(LABELS, include_preprocessing=True)
    other = harness.network(LABELS, include_preprocessing=False)
    sp.copy_weights(one, other)
    reports = [
        evaluation.measure(n, load(folder), "validation", 12)["in_distribution"]
        for n in (one, other)
    ]
    assert reports[0]["confidence"] == pytest.approx(reports[1]["confidence"], rel=1e-3)
    assert reports[0]["top1"] == reports[1]["top1"]
