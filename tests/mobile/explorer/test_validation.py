"""The page's validation images: what it computes from the logits is what a cutout does."""

import json

import numpy as np
import pytest
from PIL import Image

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.mobile.explorer.validation import example_images, write_validation
from keras_seqpar.training import evaluation
from tests.references import digits_nets
from tests.references.digits_nets import SIZE


def test_columns_of_the_logits_have_the_accuracy_of_a_cutout(tmp_path):
    net = digits_nets.load("mobile")
    digits = data.load("digits", image_size=SIZE, splits=["validation"])
    (tmp_path / "explorer.json").write_text("{}")
    facts = write_validation(net, digits, tmp_path, limit=0, gains=(0.5, 1))
    assert json.loads((tmp_path / "explorer.json").read_text()) == {"validation": True}
    assert json.loads((tmp_path / "validation.json").read_text())["truth"] == facts["truth"]
    logits, truth = np.array(facts["logits"]), np.array(facts["truth"])
    kept = ["3", "8", "5"]
    columns = [facts["categories"].index(label) for label in kept]
    rows = np.isin(truth, columns)
    predicted = np.array(columns)[logits[np.ix_(rows, columns)].argmax(-1)]
    wanted = evaluation.measure(sp.cutout(net, kept), digits, "validation", 64)
    found = float(np.mean(predicted == truth[rows]))
    assert found == pytest.approx(wanted["in_distribution"]["top1"])
    (sweep,) = facts["sweeps"]
    assert sweep["gains"] == [0.5, 1]
    split = digits.splits["validation"]
    known = np.flatnonzero(evaluation.match(net, digits)[split.labels] >= 0)
    position = known[123]  # in the second sheet
    with Image.open(tmp_path / facts["sheets"][1]) as sheet:
        box = (64 * 3, 64 * 2, 64 * 4, 64 * 3)
        thumbnail = np.asarray(sheet.convert("RGB").crop(box)).astype(float)
    wanted = np.asarray(Image.fromarray(split.read([position])[0]).resize((64, 64)))
    assert np.abs(thumbnail - wanted).mean() < 8
    examples = example_images(net, digits)
    assert list(examples) == list(facts["categories"])[:10]


def test_few_images_are_always_the_same(tmp_path):
    net = digits_nets.load("mobile")
    digits = data.load("digits", image_size=SIZE, splits=["validation"])
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "explorer.json").write_text("{}")
        found.append(write_validation(net, digits, tmp_path / name, limit=7))
    assert found[0] == found[1]
    assert len(found[0]["truth"]) == 7
