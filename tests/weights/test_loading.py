"""Weights from one string."""

import numpy as np

from keras_seqpar import weights
from tests import harness
from tests.weights.sources import fails


def test_a_file_fills_the_trunk_and_the_branches_of_both(tmp_path):
    source, model = harness.network(["cat", "dog"]), harness.build(["dog", "cow"])
    path = tmp_path / "net.keras"
    source.save(path)
    for given in (path, str(path)):
        report = weights.load(model, given)
        assert report.source == str(path)
        assert "stem_conv/kernel" in report.names and "dog_logit/bias" in report.names
        assert all(name.startswith("cow_") for name in report.kept)
        assert all(name.startswith("cat_") for name in report.ignored)
        assert report.unfilled == ()
    x = harness.images(model)
    assert np.array_equal(harness.logits(model, x)[:, 0], harness.logits(source, x)[:, 1])
    path.write_bytes(path.read_bytes()[:3000])
    fails(ValueError, r"net\.keras is no readable \.keras file", model, path, fill=weights.load)


def test_a_file_of_another_width_fills_nothing_unless_partial(tmp_path):
    path = tmp_path / "wide.keras"
    harness.network(["cat", "dog"], width=0.25).save(path)
    model = harness.build(["cat", "dog"])
    text = fails(ValueError, r"wide\.keras do not fit 'phl_res", model, path, fill=weights.load)
    assert "stem_conv/kernel: (3, 3, 3, 16) given, (3, 3, 3, 8) wanted" in text
    fails(ValueError, "of another shape", model, path, fill=weights.load, partial=True)


def test_unknown_kinds_of_source_are_refused():
    model = harness.network(["a"])
    fails(ValueError, "Cannot tell what 'resnet50' is. Give imagenet, timm:NAME", model, "resnet50",
          fill=weights.load)  # fmt: skip
    fails(TypeError, "must be a string or a path, got 3", model, 3, fill=weights.load)
