"""Training branches on a frozen trunk."""

import numpy as np
import pytest

from tests import harness


@pytest.mark.parametrize("family", ["resnet18", "convnext_v2_atto"])
def test_a_frozen_trunk_stays_as_it_is_while_branches_train(family):
    model = harness.build(["a", "b"], family=family, width=0.2, drop_path_rate=0.5)
    harness.randomize(model)
    trunk = model.get_layer("trunk")
    trunk.trainable = False
    before, branch = harness.values(trunk), harness.values(model.get_layer("branch_a"))
    x = harness.images(model, 4)
    features = harness.predict(trunk, x)
    assert np.array_equal(harness.array(trunk(x, training=True)), features)
    model.compile("sgd", "categorical_crossentropy", run_eagerly=harness.EAGER)
    model.fit(x, np.eye(2, dtype="float32")[[0, 1, 1, 0]], batch_size=2, verbose=0)
    assert harness.same_values(harness.values(trunk), before)
    assert not harness.same_values(harness.values(model.get_layer("branch_a")), branch)
