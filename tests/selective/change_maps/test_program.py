"""What a stream stores."""

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import selective


@pytest.mark.only_backend("torch")  # counts only: the same on every backend
def test_less_than_half_of_all_values_are_stored():
    model = sp.build_plain(5, family="resnet50", input_shape=(64, 64, 3), width=0.125, seed=0)
    program = selective.stream(model).program
    kept = sum(4 * np.prod(layout.shape) for layout in program.stored_maps)
    everything = sum(4 * np.prod(s) for s in program.shapes if len(s) == 3)
    assert program.state_bytes < 1.5 * kept  # borders of small maps are large
    assert kept < 0.45 * everything
