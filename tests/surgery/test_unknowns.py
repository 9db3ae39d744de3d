"""None of these: scores, curves and thresholds against references, and what keeps a threshold."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn import metrics

import keras_seqpar as sp
from keras_seqpar.networks.layers import CategoryScores, NoneOfThese
from keras_seqpar.surgery.unknowns import SCORES, Threshold, known_score, roc, threshold_of
from tests import harness
from tests.harness import array

LABELS = harness.LABELS[:4]
THRESHOLDS = (
    Threshold(0.3),
    Threshold(3.8, temperature=2.5),
    Threshold(0.8, temperature=0.1),
    Threshold(0.1, "max_logit"),
)


def logits_like(shape=(200, 4), seed=0, scale=2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32") * scale


def test_scores():
    x = logits_like().astype("float64")
    assert np.array_equal(known_score(x, "max_logit"), x.max(-1))
    for temperature in (0.1, 1.0, 3.0):
        want = temperature * logsumexp(x / temperature, axis=-1)
        assert harness.error(known_score(x, "energy", temperature), want) < 1e-12
    for score in SCORES:
        assert np.allclose(known_score(x[:, :1], score), x[:, 0])
        assert np.allclose(known_score([[1e5, 0.0], [-1e5, -2e5]], score), [1e5, -1e5])


few = st.lists(st.integers(-5, 5), min_size=1, max_size=30)  # with ties


@given(own=few, foreign=few)
def test_curves_equal_those_of_scikit_learn(own, foreign):
    curve = roc(own, foreign)
    truth, scores = [1] * len(own) + [0] * len(foreign), np.array(own + foreign, "float64")
    fpr, tpr, thresholds = metrics.roc_curve(truth, scores, drop_intermediate=False)
    assert np.array_equal(curve.thresholds, thresholds)
    assert np.allclose(curve.in_distribution, tpr, atol=1e-12)
    assert np.allclose(curve.out_of_distribution, fpr, atol=1e-12)
    assert curve.area == pytest.approx(metrics.roc_auc_score(truth, scores))
    for share in (0.5, 0.95, 1.0):
        assert curve.out_of_distribution_at(share) == pytest.approx(fpr[tpr >= share - 1e-12].min())


@given(own=few, keep=st.sampled_from([0.01, 0.07, 0.5, 0.9, 0.95, 1.0]))
def test_a_threshold_keeps_just_the_share_wanted(own, keep):
    own = np.array(own, "float64")
    threshold = sp.fit_threshold(own[:, None], keep=keep)
    assert np.mean(own >= threshold.value) >= keep - 1e-9
    lowest = own[own >= threshold.value].min()
    assert np.mean(own > lowest) < keep  # one step higher would keep fewer
    assert np.abs(own - threshold.value).min() > 4e-4  # rounding changes no decision


@given(own=few, foreign=few)
def test_with_foreign_images_no_threshold_is_better_balanced(own, foreign):
    own, foreign = np.array(own, "float64"), np.array(foreign, "float64")

    def balanced(value):
        return (np.mean(own >= value) + np.mean(foreign < value)) / 2

    value = sp.fit_threshold(own[:, None], foreign[:, None]).value
    best = max(map(balanced, np.arange(-6.5, 6.5)))
    assert balanced(value) == pytest.approx(best)
    assert np.abs(np.concatenate([own, foreign]) - value).min() > 4e-4
    kept = [np.mean(own >= v) for v in np.arange(-6.5, 6.5) if balanced(v) > best - 1e-9]
    assert np.mean(own >= value) == pytest.approx(max(kept))


def test_by_default_95_percent_of_the_own_images_are_kept():
    x = logits_like((1000, 5))
    for score in SCORES:
        threshold = sp.fit_threshold(x, score=score)
        assert threshold.score == score
        assert np.mean(~threshold.rejects(x)) == 0.95
    with_foreign = sp.fit_threshold(x, logits_like(seed=1, shape=(9, 5)) - 9, keep=0.9)
    assert np.mean(~with_foreign.rejects(x)) == 0.9  # a share given holds


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_the_layer_decides_as_numpy_does(threshold):
    for scale in (1.0, 30.0, 3000.0):
        x = logits_like(scale=scale)
        want = threshold.rejects(x)
        layer = NoneOfThese(threshold)
        got = array(layer(x))
        assert got.shape == (200, 1) and got.dtype == "float32"
        assert np.array_equal(got[:, 0], want)
        assert want.any() and not want.all()
        columns = [x[:, i : i + 1] for i in range(4)]
        assert np.array_equal(array(layer(columns)), got)


def test_layers_carry_thresholds_through_their_configuration():
    for layer in (
        NoneOfThese(THRESHOLDS[1]),
        CategoryScores(sp.Hierarchy.of(["a", "b"]), None, None),
    ):
        new = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert new.threshold == layer.threshold
        assert new.get_config() == layer.get_config()
    config = layer.get_config()
    del config["threshold"]  # as files of version 0.1 have it
    assert CategoryScores.from_config(config).threshold is None


@pytest.mark.parametrize("threshold", THRESHOLDS[1::2])
def test_a_stored_threshold_changes_no_score_and_survives_a_file(threshold, tmp_path):
    model = harness.network()
    x = harness.images(model)
    stored = sp.with_threshold(model, threshold)
    assert np.array_equal(harness.predict(stored, x), harness.predict(model, x))
    assert threshold_of(model) is None
    again = harness.reload(stored, tmp_path)
    assert threshold_of(again) == threshold
    assert harness.config_of(again) == harness.config_of(stored)
    assert threshold_of(sp.with_threshold(again, None)) is None
    harness.check_network(sp.cutout(stored, LABELS, copy=True), tmp_path, gradient=False)


def test_what_leaves_the_logits_keeps_the_threshold():
    stored = sp.with_threshold(harness.network(), THRESHOLDS[0])
    for same in (
        sp.with_activation(stored, None),
        sp.cutout(stored, LABELS[::-1]),
        sp.cutout(stored, LABELS, copy=True),
    ):
        assert threshold_of(same) == THRESHOLDS[0]


def test_what_changes_the_logits_drops_the_threshold():
    stored = sp.with_threshold(harness.network(), THRESHOLDS[0])
    for other in (
        sp.cutout(stored, LABELS[:3]),
        sp.attend(stored, {LABELS[0]: 1.5}),
        sp.attention_input(stored),
        sp.add_category(stored, "new"),
        sp.merge(sp.cutout(stored, LABELS[:2]), sp.cutout(stored, LABELS[2:])),
    ):
        assert threshold_of(other) is None
        assert threshold_of(sp.with_threshold(other, THRESHOLDS[1])) == THRESHOLDS[1]
    assert threshold_of(stored) == THRESHOLDS[0]


def fitted(model, *inputs, score="energy"):
    """The model with a threshold that rejects some of its inputs."""
    return sp.with_threshold(
        model, sp.fit_threshold(harness.logits(model, *inputs), score=score, keep=0.6)
    )


@pytest.mark.parametrize("score", SCORES)
def test_the_decision_beside_the_scores(score, tmp_path):
    tree = {"pets": ["cat", "dog"], "car": None}
    for model in (
        harness.network(tree),
        harness.network(["alone"], classifier_activation="sigmoid"),
        sp.build_plain(
            ["a", "b"],
            family="resnet18",
            input_shape=(16, 16, 3),
            width=0.125,
            stem="small",
            seed=0,
        ),
    ):
        x = harness.images(model, 10)
        stored = fitted(model, x, score=score)
        want = threshold_of(stored).rejects(harness.logits(model, x))
        assert want.sum() == 4
        both = sp.none_of_these(stored)
        scores, none = map(array, both(x, training=False))
        assert np.array_equal(none[:, 0], want)
        assert np.array_equal(scores, harness.predict(model, x))
        assert {id(v) for v in both.weights} == {id(v) for v in model.weights}
        assert len(stored.outputs) == 1
        scores, none = map(array, harness.reload(both, tmp_path)(x, training=False))
        assert np.array_equal(none[:, 0], want)


def test_the_decision_follows_a_gains_input():
    model = sp.attention_input(harness.network())
    x = harness.images(model, 10)
    gains = np.random.default_rng(0).uniform(0, 3, (10, 4)).astype("float32")
    stored = fitted(model, x, gains)
    _, none = sp.none_of_these(stored)([x, gains], training=False)
    assert np.array_equal(
        array(none)[:, 0], threshold_of(stored).rejects(harness.logits(model, x, gains))
    )


def test_the_decision_is_made_in_float32_of_half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = harness.build(LABELS)
    finally:
        keras.config.set_dtype_policy(before)
    harness.randomize(model)
    x = harness.images(model, 10)
    stored = fitted(model, x)
    _, none = sp.none_of_these(stored)(x, training=False)
    assert np.array_equal(array(none)[:, 0], threshold_of(stored).rejects(harness.logits(model, x)))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Threshold("high"), TypeError, "value of a threshold must be a number, got 'high'"),
        (lambda: Threshold(True), TypeError, "must be a number, got True"),
        (lambda: Threshold(np.nan), ValueError, "must be finite, got nan"),
        (lambda: Threshold(0, "softmax"), ValueError, "'softmax'. Valid: energy, max_logit"),
        (lambda: Threshold(0, temperature=0), ValueError, "finite number above 0, got 0"),
        (lambda: Threshold(0, "max_logit", 2), ValueError, "temperature=2.0 belongs to the energy"),
        (lambda: Threshold.of(0.5), TypeError, "got 0.5. Make one with keras_seqpar.fit_threshold"),
        (lambda: NoneOfThese(None), TypeError, "needs a threshold, got None"),
        (lambda: known_score([1.0, 2.0]), ValueError, r"\(images, categories\), got .* \(2,\)"),
        (lambda: known_score(np.zeros((0, 3))), ValueError, r"got the shape \(0, 3\)"),
        (lambda: known_score([[np.inf, 0]]), ValueError, "logits must be finite"),
        (
            lambda: roc([], [1.0]),
            ValueError,
            r"in_distribution must be one or more .* got the shape \(0,\)",
        ),
        (
            lambda: roc([1.0], [[1.0]]),
            ValueError,
            r"out_of_distribution must .* got the shape \(1, 1\)",
        ),
        (lambda: roc([1.0], [0.0]).out_of_distribution_at(0), ValueError, "share above 0 .* got 0"),
        (lambda: sp.fit_threshold([[1.0]], keep=1.5), ValueError, "keep must .* got 1.5"),
        (
            lambda: sp.fit_threshold([[1.0]], [[1.0, 2.0]]),
            ValueError,
            r"same categories, got the shapes \(1, 1\) and \(1, 2\)",
        ),
        (
            lambda: sp.none_of_these(harness.network()),
            ValueError,
            "stores no threshold for none of these. Fit one with keras_seqpar.fit_threshold",
        ),
        (lambda: sp.with_threshold("net", None), TypeError, "Expected a keras.Model, got 'net'"),
        (
            lambda: sp.with_threshold(harness.network(), 3.5),
            TypeError,
            "Expected a Threshold or None, got 3.5",
        ),
        (
            lambda: sp.cutout(
                sp.none_of_these(sp.with_threshold(harness.network(), THRESHOLDS[0])), LABELS[:1]
            ),
            ValueError,
            "does not end in a `categories` layer",
        ),
    ],
)
def test_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()
