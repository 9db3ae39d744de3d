"""The page on a run: its numbers are those of the network, and it needs no other file."""

import json
import re

import numpy as np
import pytest

from keras_seqpar import data, plots
from tests import commands, harness

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

SIZE, LABELS = 16, ("a & b", "<c>", "d")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of a random network, with its images."""
    path = tmp_path_factory.mktemp("runs") / "run <1>"
    path.mkdir()
    rng = np.random.default_rng(0)
    for label in LABELS:
        images = path.parent / "data" / "validation" / label
        images.mkdir(parents=True)
        for i in range(4):
            noise = rng.integers(0, 256, (SIZE, SIZE, 3)).astype("uint8")
            Image.fromarray(noise).save(images / f"{i}.png")
    other = path.parent / "data" / "validation" / "other"  # of which the network knows nothing
    other.mkdir()
    (other / "broken.png").write_text("no image")
    flags = {"dataset": f"folder:{path.parent / 'data'}", "best_by": "accuracy"}
    flags |= {"categories": LABELS, "data_memory": 0.0}
    (path / "flags.json").write_text(json.dumps({"flags": flags}))
    (path / "history.csv").write_text(
        "epoch,loss,accuracy,val_loss,val_accuracy,seconds\n1,1.5,0.3,1.4,0.4,60\n"
    )
    network = harness.network(LABELS, include_preprocessing=True)
    network.save(path / "best.keras")
    return path, network


def test_a_page_says_what_the_network_does(folder, capsys):
    path, network = folder
    assert commands.call("recipes/summarize.py", path) == 0
    assert "Summary: " in capsys.readouterr().out
    page = (path / "summary.html").read_text("utf-8")
    assert "<c>" not in page and "&lt;c&gt;" in page and "run &lt;1&gt;" in page
    assert not re.search(r'(src|href)="(?!data:)', page)

    options = {"image_size": SIZE, "splits": ["validation"], "categories": LABELS}
    split = data.load(f"folder:{path.parent / 'data'}", **options)
    images, names = split.validation, list(split.categories)
    scores = harness.array(network(images.read(range(12)).astype("float32")))
    truth = np.array([LABELS.index(names[i]) for i in images.labels])
    predicted = scores.argmax(-1)
    assert f"<td>top-1</td><td>{np.mean(predicted == truth):.2%}</td>" in page
    for i, label in enumerate(("a &amp; b", "&lt;c&gt;", "d")):
        recall = np.mean(predicted[truth == i] == i)
        found = truth[predicted == i]
        precision = f"{np.mean(found == i):.2%}" if len(found) else "-"
        row = f"<td>{label}</td><td>4</td><td>{precision}</td><td>{recall:.2%}</td>"
        assert row in page
    assert page.count("<figure>") == np.sum(predicted != truth)


def test_the_calibration_error_is_the_mean_gap():
    assert plots.calibration_error([1.0, 1.0], [True, True]) == 0
    assert plots.calibration_error([1.0, 1.0], [False, False]) == 1
    # one bin: 0.75 of confidence, half of them right; another bin: 0.35, none right
    found = plots.calibration_error([0.7, 0.8, 0.35], [True, False, False], bins=2)
    assert found == pytest.approx((2 * 0.25 + 0.35) / 3, abs=1e-6)
