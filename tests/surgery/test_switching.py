import concurrent.futures
import functools

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.networks.bank.layers import Bank
from tests import harness

NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}
SUBSETS = [["cat", "tree"], ["tree", "dog"], ["bus", "car"], ["car", "bus"]]


@pytest.fixture(scope="module")
def fused():
    return sp.fuse(harness.network(NESTED))


@pytest.fixture
def traced(monkeypatch, backend):
    """Banks, once per time they are traced; on torch, which traces nothing, predictors per form."""
    found, call, made = [], Bank.call, sp.SubsetPredictor._made

    @functools.wraps(made if backend == "torch" else call)
    def counted(self, *args, **kwargs):
        found.append(self)
        return (made if backend == "torch" else call)(self, *args, **kwargs)

    if backend == "torch":
        monkeypatch.setattr(sp.SubsetPredictor, "_made", counted)
    else:
        monkeypatch.setattr(Bank, "call", counted)
    return found


@pytest.fixture(scope="module")
def predictor(fused):
    return sp.SubsetPredictor(fused)


@pytest.fixture(scope="module")
def logits(fused):
    """Category -> its logits in the whole network."""
    found = sp.with_activation(fused, None).predict_on_batch(harness.images(fused))
    names = fused.get_layer("categories").hierarchy.categories
    return dict(zip(names, found.T, strict=True))


@pytest.fixture(scope="module")
def right(logits):
    """The scores of subsets."""
    return [softmax([logits[name] for name in names]) for names in SUBSETS]


def softmax(logits):
    """Of `(categories, n)`: `(n, categories)`."""
    powers = np.exp(np.transpose(logits))
    return powers / powers.sum(-1, keepdims=True)


def test_scores_are_those_of_cutouts_and_a_known_size_is_not_traced_again(fused, right, traced):
    predictor, images = sp.SubsetPredictor(fused), harness.images(fused)
    assert harness.error(sp.cutout(fused, SUBSETS[0]).predict_on_batch(images), right[0]) < 1e-5
    traced.clear()
    for names, expected in zip(SUBSETS, right, strict=True):
        assert harness.error(predictor.predict(images, names), expected) < 1e-5
    count = len(traced)
    assert count
    for names in (*SUBSETS[::-1], ["cat", "tree"], ["dog", "tree"]):
        predictor.predict(images.astype("float64"), names)
    assert len(traced) == count


def test_each_image_may_have_its_own_categories(fused, predictor, logits, right, traced):
    images, counts = harness.images(fused), []
    for order in ([0, 1], [1, 0], [3, 2], [2, 3]):
        found = predictor.predict(images, [SUBSETS[i] for i in order])
        for place, i in enumerate(order):
            assert harness.error(found[place], right[i][place]) < 1e-5
        counts.append(len(traced))
    assert counts[0] == counts[1] < counts[2] == counts[3]
    three = np.concatenate([images, images[:1]])
    subsets = [["cat", "bus", "tree", "ship", "dog"], ["ship", "car"], ["bus"]]
    found = predictor.predict(three, subsets)
    for i, names in enumerate(subsets):
        expected = softmax([logits[name][[i % 2]] for name in names])[0]
        assert harness.error(found[i], expected) < 1e-5


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


def test_eight_threads_get_their_own_answers(fused, predictor, right):
    images = harness.images(fused)

    def ask(start: int) -> list[float]:
        errors = []
        for i in range(start, start + 6):
            one, other = i % 4, (i + start) % 4  # what is new is compiled in a thread
            errors.append(harness.error(predictor.predict(images, SUBSETS[one]), right[one]))
            found = predictor.predict(images, [SUBSETS[one], SUBSETS[other]])
            expected = np.concatenate([right[one][0], right[other][1]])
            errors.append(harness.error(np.concatenate(found), expected))
        return errors

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        errors = [error for found in pool.map(ask, range(8)) for error in found]
    assert len(errors) == 96
    assert max(errors) < 1e-5


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
    with pytest.raises(ValueError, match="2 images need as many sequences of categories, got 1"):
        predictor.predict(harness.images(fused), [["cat"]])
