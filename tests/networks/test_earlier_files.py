"""A network saved before networks stored how they were built can still be used.

`references/network_without_build_config.keras` was saved by commit 18e1b3f, by `build_phl` with
the categories below, family resnet18, a trunk of two blocks, branches of one, width 0.125,
`stem="small"`, 16 x 16 pixels and preprocessing, then `with_threshold(Threshold(0.5,
"max_logit"))`. Its weights are random. The logits are those of that commit on TensorFlow.
"""

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import weights
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.thresholds import Threshold
from keras_seqpar.surgery.unknowns import threshold_of
from tests import harness

CATEGORIES = ("cat", "Zoë's dog", "car")
LOGITS = np.array(
    [
        [-7.5112853, 0.60131204, -4.462059],
        [-6.258125, 0.5899385, -4.6830816],
        [-5.0190406, 0.72147286, -4.853442],
        [-5.3422008, 0.65886915, -5.193844],
    ]
)


@pytest.fixture(scope="module")
def path(request):
    return request.config.rootpath / "tests/references/network_without_build_config.keras"


@pytest.fixture(scope="module")
def saved(path):
    return load_network(path)


def pixels() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3))
    return noise.astype("float32")


def build_same(**options):
    """A new network of the same function."""
    return harness.build(CATEGORIES, include_preprocessing=True, **options)


def test_it_computes_what_it_computed(saved):
    assert saved.get_layer("categories").hierarchy.categories == CATEGORIES
    assert threshold_of(saved) == Threshold(0.5, "max_logit")
    assert harness.error(harness.logits(saved, pixels()), LOGITS) < 1e-5


def test_it_can_be_cut_attended_and_counted(saved, tmp_path):
    small = sp.cutout(saved, ["car", "cat"])
    logits = harness.logits(saved, pixels())
    assert np.array_equal(harness.logits(small, pixels()), logits[:, [2, 0]])
    again = harness.reload(small, tmp_path)
    assert np.array_equal(harness.logits(again, pixels()), logits[:, [2, 0]])
    assert sp.cost(saved).params == sp.cost(build_same()).params
    steered = harness.logits(sp.attend(saved, {"cat": 2.0}), pixels())
    assert np.array_equal(steered[:, 1:], logits[:, 1:]) and (steered != logits).any()


def test_its_weights_fill_a_new_network(saved, path):
    for fill in (lambda new: sp.copy_weights(saved, new), lambda new: weights.load(new, path)):
        new = build_same()
        assert fill(new).kept == ()
        assert harness.error(harness.logits(new, pixels()), LOGITS) < 1e-5
    other = build_same(stem="standard", size=32)
    with pytest.raises(ValueError, match="do not fit"):
        weights.load(other, path)


def test_what_needs_the_way_it_was_built_says_what_to_do(saved):
    with pytest.raises(ValueError, match="does not say how it was built: .* Build it again with"):
        sp.plain_twin(saved)
    new = build_same()
    sp.copy_weights(saved, new)
    assert sp.plain_twin(new).name == "plain_resnet18"
