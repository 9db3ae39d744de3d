import threading

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.networks.bank.layers import Bank
from tests import harness

NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}
SUBSETS = [["cat", "tree"], ["tree", "dog"], ["bus", "car"], ["car", "bus"]]


@pytest.fixture(scope="module")
def fused():
    return sp.fuse(harness.network(NESTED, classifier_activation="sigmoid"))


@pytest.fixture
def calls(monkeypatch):
    """Counts how often banks are traced; torch, which traces nothing, runs them each time."""
    found, call = [], Bank.call

    def counted(self, *args, **kwargs):
        found.append(self)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(Bank, "call", counted)
    return found


def test_scores_are_those_of_cutouts_and_a_known_size_is_not_traced_again(fused, backend, calls):
    predictor, images = sp.SubsetPredictor(fused), harness.images(fused)
    model = harness.network(NESTED, classifier_activation="sigmoid")
    for names in SUBSETS:
        expected = harness.predict(sp.cutout(model, names), images)
        assert harness.error(predictor.predict(images, names), expected) < 1e-5
    count = len(calls)
    for names in SUBSETS[::-1]:
        predictor.predict(images, names)
    assert backend == "torch" or len(calls) == count


def test_few_forms_are_kept_and_weights_are_those_of_now(fused):
    model = sp.cutout(fused, ["cat", "dog", "tree"], copy=True)
    predictor, images = (
        sp.SubsetPredictor(model, classifier_activation=None, most=1),
        harness.images(model),
    )
    before = [predictor.predict(images, names) for names in (["cat"], ["tree"])]
    assert len(predictor._forms) == 1
    for weight in model.get_layer("bank_2").weights:
        if weight.name.endswith("logit_bias"):
            weight.assign(weight + 1.0)
    after = [predictor.predict(images, names) for names in (["cat"], ["tree"])]
    changed = [float((a - b).mean()) for a, b in zip(after, before, strict=True)]
    assert sorted(changed) == pytest.approx([0.0, 1.0], abs=1e-5)


def test_threads_get_their_own_answers(fused):
    predictor, images = sp.SubsetPredictor(fused), harness.images(fused)
    subsets = [["cat"], ["dog"], ["tree"]]
    expected = [predictor.predict(images, names) for names in subsets[:2]]
    expected.append(harness.predict(sp.cutout(fused, ["tree"]), images))  # compiled in a thread
    wrong = []

    def ask(start: int) -> None:
        for i in range(start, start + 6):
            names, right = subsets[i % 3], expected[i % 3]
            if not np.allclose(predictor.predict(images, names), right, atol=1e-6):
                wrong.append(names)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.only_backend("tensorflow")
def test_gains_and_half_precision_are_kept():
    model = harness.build(["a", "b", "c"], dtype="mixed_bfloat16", family="convnext_v2_atto")
    fused = sp.attend(sp.fuse(model), {"b": 3.0})
    images = harness.images(model)
    scores = sp.SubsetPredictor(fused).predict(images, ["c", "b"])
    assert scores.dtype == "float32"
    assert harness.error(scores, harness.predict(sp.cutout(fused, ["c", "b"]), images)) < 0.02


def test_what_is_wrong_is_said(fused):
    with pytest.raises(ValueError, match=r"Give SubsetPredictor what keras_seqpar.fuse\(model\)"):
        sp.SubsetPredictor(harness.network(NESTED))
    with pytest.raises(ValueError, match="has a gains input, which SubsetPredictor does not take"):
        sp.SubsetPredictor(sp.attention_input(fused))
    with pytest.raises(ValueError, match="most must be 1 or more, got 0"):
        sp.SubsetPredictor(fused, most=0)
    predictor = sp.SubsetPredictor(fused)
    with pytest.raises(ValueError, match=r"takes images of the shape \(2, 16, 16, 3\), got"):
        predictor.predict(np.zeros((2, 8, 16, 3)), ["cat"])
    with pytest.raises(ValueError, match="cat"):
        predictor.predict(harness.images(fused), ["cart"])
