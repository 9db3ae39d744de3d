"""Settings of streams, from flags to arguments."""

import pytest

from keras_seqpar.selective.detector import Detector
from keras_seqpar.selective.settings import Detection, parse_extent


def test_a_threshold_of_zero_accepts_every_difference():
    exact = Detection(0.0, luminance=True, drop_single=True, dilate=2)
    assert exact.arguments() == {"threshold": 0.0, "dilate": 2}
    for threshold in (3.0, "auto"):
        arguments = Detection(threshold, luminance=True, drop_single=True).arguments()
        assert arguments == {
            "threshold": threshold, "dilate": 0, "luminance": True, "drop_single": True,
        }  # fmt: skip
        Detector(**arguments)


def test_extents():
    assert parse_extent("reach", "receptive_field") == "receptive_field"
    assert parse_extent("reach", "16") == 16
    for text in ("far", "-1", "1.5", ""):
        with pytest.raises(ValueError, match="--reach must be a whole number or receptive_field"):
            parse_extent("reach", text)
