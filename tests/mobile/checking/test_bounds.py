"""What a comparison on few images proves, and what bounds ask for."""

import dataclasses

import numpy as np
import pytest

from keras_seqpar.mobile.checking.bounds import (
    BOUNDS,
    LOGIT_BOUNDS,
    Bounds,
    bounds_for,
    needed,
    proven,
)

pytestmark = pytest.mark.only_backend("tensorflow")


def test_what_images_prove():
    for count in (1, 5, 49, 1000):
        assert proven(1.0, count) == pytest.approx(0.05 ** (1 / count), abs=1e-9)
    # One-sided intervals of Clopper and Pearson: scipy.stats.beta.ppf(0.05, k, n - k + 1).
    assert proven(97 / 100, 100) == pytest.approx(0.924289, abs=1e-5)
    assert proven(990 / 1000, 1000) == pytest.approx(0.983097, abs=1e-5)
    assert proven(50_000 * 0.7 / 50_000, 50_000) == pytest.approx(0.696611, abs=1e-5)
    assert proven(0.0, 7) == 0 and proven(1 / 7, 7) == pytest.approx(1 - 0.95 ** (1 / 7), abs=1e-6)


def test_how_many_images_it_takes():
    assert needed(1.0, 0.94) == 49 and proven(1.0, 48) < 0.94
    assert needed(1.0, 0.0) == 1
    count = needed(0.97, 0.94)
    assert 150 < count < 300 and proven(0.97, count) >= 0.94


def test_a_file_that_fell_far_rarely_passes():
    """With a true agreement of 92.5 % and any number of images: 1 time in 20 at most."""
    rng, bounds = np.random.default_rng(0), BOUNDS["int8"]
    for count in (1, 5, 20, 49, 100, 300):
        shares = rng.binomial(count, 0.925, 500) / count
        passes = {s: bounds.agreement_problem("agreement", s, count) is None for s in set(shares)}
        assert np.mean([passes[share] for share in shares]) <= 0.05, count


def test_messages_say_how_many_images_to_take():
    bounds = Bounds(0.25, 0.97)
    assert bounds.agreement_problem("top-1 agreement", 1.0, 49) is None
    assert bounds.agreement_problem("top-1 agreement", 1.0, 1) == (
        "the top-1 agreement with Keras, 100.00% on 1 image, proves only 5.00% or more (95% "
        "confidence), and the bound of 97.00% needs 94.00%: compare on 49 or more images, or allow "
        "less with min_agreement"
    )
    assert "96.00% of 100 images, is below 97.00%" in bounds.agreement_problem("it", 0.96, 100)
    assert Bounds(0.25, 0.01).agreement_problem("it", 1.0, 1) is None
    assert Bounds(1e-5, 0.99).agreement_problem("it", 1.0, 1) is None  # its errors are small


def test_bounds_on_logits_and_mean_errors():
    assert BOUNDS.keys() == LOGIT_BOUNDS.keys()
    for kind, bounds in BOUNDS.items():
        assert bounds.max_mean_error < bounds.max_error <= 0.25
        assert LOGIT_BOUNDS[kind].max_error <= bounds.max_error
    usual = BOUNDS["int8"]
    assert bounds_for(usual, None, None, None) == usual
    wider = bounds_for(usual, 0.5, 0.9, 0.01)
    assert wider == Bounds(0.5, 0.9, 0.01, 0.04)
    assert bounds_for(usual, np.inf, 0, None).max_mean_error == np.inf
    assert bounds_for(None, 0.1, 0.9, None) == Bounds(0.1, 0.9, None, 0.1)
    assert bounds_for(None, 0.1, None, None) is None
    assert dataclasses.replace(usual, min_agreement=0.5).min_proven == 0.47
