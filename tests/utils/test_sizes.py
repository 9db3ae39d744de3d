"""Sizes that users give."""

import pytest

from keras_seqpar.utils.sizes import check_sizes


def test_whole_numbers_one_per_axis():
    assert check_sizes([9, 8], "size", "(height, width)") == (9, 8)
    for wrong in (9, (9,), (9, 8, 3), (0, 8), (9.0, 8), "ab", None):
        with pytest.raises(ValueError, match=r"size must be 2 whole .*\(height, width\)"):
            check_sizes(wrong, "size", "(height, width)")
