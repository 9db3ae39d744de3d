"""Arguments of streams, as flags give them."""

import pytest

from keras_seqpar.selective.arguments import parse_extent


def test_extents():
    assert parse_extent("margin", "receptive_field") == "receptive_field"
    assert parse_extent("margin", "16") == 16
    for text in ("far", "-1", "1.5", ""):
        with pytest.raises(ValueError, match="--margin must be a whole number or receptive_field"):
            parse_extent("margin", text)
