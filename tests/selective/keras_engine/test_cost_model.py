"""The calibration of the cost model."""

import numpy as np
import pytest

from keras_seqpar import selective
from tests.selective import random_nets as rn
from tests.selective.players import check, small_net


@pytest.fixture(scope="module")
def net():
    return small_net()


@pytest.mark.usefixtures("steady_clock")  # which no load of the machine makes late
@pytest.mark.parametrize(("prune", "pieces"), [(0.0, 1), (1e-9, 2)])
def test_calibration_measures_all_modes_and_keeps_the_state(net, prune, pieces):
    model = small_net(name=f"calibrated in {pieces}")
    stream = selective.stream(model, calibrate=10_000, prune=prune)
    frame = np.random.default_rng(0).normal(size=(12, 12, 3)).astype("float32")
    stream(frame)
    engine = stream._engine
    assert len(engine.cost_model.points) == len(engine.runs) == pieces
    for index, curves in enumerate(engine.cost_model.points):
        assert set(curves) == {"dense", "rectangle", "positions", "tiles"}
        for mode, curve in curves.items():
            assert np.all(np.diff(curve, axis=0)[:, 0] > 0) and np.min(curve) >= 0
            times = [engine.cost_model.predict(index, mode, n) for n in (1, 500, 10**6)]
            assert times == sorted(times)
    frame = rn.next_frame(frame, rn.lone_pixels((12, 12))[0])
    check(stream(frame), net, frame)  # equal weights: see `small_net`


@pytest.mark.usefixtures("steady_clock")
def test_calibration_stops_when_its_time_is_over():
    stream = selective.stream(small_net(name="out of time"), calibrate=1)
    frame = np.random.default_rng(0).normal(size=(12, 12, 3)).astype("float32")
    stream(frame)
    assert [set(curves) for curves in stream._engine.cost_model.points] == [{"dense"}]
    result = stream(rn.next_frame(frame, rn.lone_pixels((12, 12))[0]))
    assert result.stats.mode == "dense"  # what was not measured is not chosen
