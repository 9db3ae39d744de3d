"""Frames that a stream refuses."""

import numpy as np
import pytest

from keras_seqpar import selective
from tests.selective.players import small_net


@pytest.fixture(scope="module")
def net():
    return small_net()


def test_bad_frames_leave_the_stream_as_it_was(net):
    stream = selective.stream(net, mode="positions", calibrate=0)
    frame = np.random.default_rng(0).normal(size=(12, 12, 3)).astype("float32")
    with pytest.raises(ValueError, match="No frame was seen yet"):
        stream.change_map()
    stream(frame)
    with_nan = frame.copy()
    with_nan[3, 3, 0] = np.nan
    for bad, error, message in (
        (with_nan, ValueError, "NaN or infinite"),
        (frame[:11], ValueError, r"shape \(12, 12, 3\)"),
        (frame.astype("float64"), TypeError, "were float32 so far, now float64"),
        (np.stack([frame, frame]), ValueError, r"batches of 1 so far, now one of 2.*reset\(\)"),
        ("frame", TypeError, "array of numbers, got str"),
    ):
        with pytest.raises(error, match=message):
            stream(bad)
    assert stream(frame).stats.mode == "cached"
    with pytest.raises(ValueError, match="second"):
        stream.change_map("secnd")
    stream.reset()
    assert stream(np.stack([frame, frame]).astype("float64")).stats.mode == "dense"
