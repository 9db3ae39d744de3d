"""Changes as a few boxes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_seqpar.selective.planning.boxes import changed_map, cover, merged, to_map

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend


@given(hnp.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))), st.integers(1, 8))
def test_boxes_cover_all_that_changed(changed, most):
    boxes = cover(changed, most)
    assert len(boxes) <= most
    assert not (changed & ~to_map(boxes, changed.shape)).any()
    assert bool(boxes) == changed.any()


def test_regions_that_lie_apart_get_boxes_of_their_own():
    changed = np.zeros((64, 64), bool)
    for top, left in [(2, 3), (5, 50), (48, 20), (50, 52)]:
        changed[top : top + 6, left : left + 7] = True
    boxes = cover(changed)
    assert sorted(boxes) == [(2, 3, 8, 10), (5, 50, 11, 57), (48, 20, 54, 27), (50, 52, 56, 59)]


def test_boxes_are_joined_where_one_is_cheaper():
    near, far = [(0, 0, 4, 4), (0, 6, 4, 10)], [(0, 0, 4, 4), (90, 90, 94, 94)]
    assert merged(near, lambda height, width: 30 + height * width) == [(0, 0, 4, 10)]
    assert merged(far, lambda height, width: 30 + height * width) == far
    assert merged(near, lambda height, width: height * width) == near


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32", "float64", "float16"])
@pytest.mark.parametrize("width", [5, 8])
def test_every_changed_bit_is_found(dtype, width):
    old = np.random.default_rng(0).normal(size=(6, width, 3)).astype(dtype) * 0
    assert changed_map(old, old.copy()) is None
    new = old.copy()
    new[2, 4, 1] += 1
    expected = np.zeros((6, width), bool)
    expected[2, 4] = True
    assert np.array_equal(changed_map(old, new), expected)
