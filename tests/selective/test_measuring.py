"""Pieces of measurements against values counted by hand."""

import keras
import numpy as np
import pytest

from keras_seqpar.selective import measuring


def test_a_random_box_has_the_share_and_the_proportions():
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows, columns = measuring.random_box(rng, 0.25, (40, 60))
        assert (rows.stop - rows.start, columns.stop - columns.start) == (20, 30)
        assert 0 <= rows.start and rows.stop <= 40 and 0 <= columns.start and columns.stop <= 60


def test_frames_are_averaged():
    keys = dict.fromkeys(("changed", "recomputed", "crop_agreement", "full"), 0.5)
    frames = [
        {**keys, "regions": 1, "agreement": 1.0, "ms": 1.0, "ms_whole": 4.0},
        {**keys, "regions": 2, "agreement": 0.5, "ms": 3.0, "ms_whole": 4.0},
        {**keys, "regions": 3, "agreement": 0.9, "ms": 2.0, "ms_whole": 4.0},
    ]
    found = measuring.average_frames(frames)
    assert found["regions"] == 2 and found["changed"] == 0.5
    assert found["agreement"] == pytest.approx(0.8) and found["least_agreement"] == 0.5
    assert (found["ms"], found["ms_whole"], found["faster"], found["faster_in_all"]) == (2, 4, 2, 2)


def test_only_tensorflow_freezes_weights():
    assert measuring.can_freeze(True) == (keras.backend.backend() == "tensorflow")
    assert not measuring.can_freeze(False)
