"""Statistics are plain data: they can be stored, sent and logged."""

import copy
import dataclasses
import gc
import json
import pickle
import weakref

import numpy as np
import pytest

from keras_seqpar import selective
from tests.selective.players import small_net
from tests.selective.regions.test_stream import make_network

pytestmark = pytest.mark.only_backend("tensorflow", "torch")  # JAX compiles every step anew


def frames(shape, seed=0):
    """Whole frame, nothing, one box, several frames at once."""
    rng = np.random.default_rng(seed)
    frame = rng.normal(size=shape).astype("float32")
    moved = frame.copy()
    moved[2:5, 3:6] += 1
    return [frame, frame, moved]


def plain(stats):
    """Checks what plain data can do; returns it as a dict."""
    assert pickle.loads(pickle.dumps(stats)) == copy.deepcopy(stats) == stats
    assert len(pickle.dumps(stats)) < 5_000  # no maps, no network
    facts = dataclasses.asdict(stats)
    assert json.loads(json.dumps(facts)) == facts
    return facts


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "positions"},
        {"mode": "rectangle", "reach": 0},
        {"prune": 0.1, "threshold": 0.1},
    ],
)
def test_statistics_of_a_stream_are_plain(options):
    stream = selective.stream(small_net(), calibrate=0, **options)
    for frame in frames((12, 12, 3)):
        stats = stream(frame).stats
        facts = plain(stats)
        assert set(facts["layers"]) == set(stream.program.layers)
        for name, share in facts["layers"].items():
            assert share == stream.change_map(name).mean()


def test_statistics_do_not_keep_the_stream():
    stream = selective.stream(small_net(), calibrate=0)
    kept = [stream(frame).stats for frame in frames((12, 12, 3))]
    layers = kept[-1].layers["first"]
    gone = weakref.ref(stream)
    del stream
    gc.collect()
    assert gone() is None and kept[-1].layers["first"] == layers > 0


def test_statistics_of_a_batch_and_of_segmentation_are_plain():
    stream = selective.stream(small_net(), calibrate=0)
    for frame in frames((2, 12, 12, 3)):
        result = stream(frame)
        for stats in (result.stats, *result.items):
            plain(stats)
    stream = selective.SegmentationStream(
        make_network(), input_shape=(48, 64, 3), margin=4, calibrate=False
    )
    for frame in frames((48, 64, 3)):
        result = stream(frame, compare=True)
        plain(result.stats)
        assert json.loads(json.dumps(result.crops)) == [[list(box) for box in result.crops[0]]]
