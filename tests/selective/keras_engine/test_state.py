"""What a stream keeps: after failed passes, with threads, saved and loaded."""

import threading

import numpy as np
import pytest

from keras_seqpar import selective
from tests.selective import random_nets as rn
from tests.selective.players import check, small_net


@pytest.fixture(scope="module")
def net():
    return small_net()


def test_after_a_failed_pass_the_next_one_is_dense(net, monkeypatch):
    stream = selective.stream(net, mode="positions", calibrate=0)
    frame = np.zeros((12, 12, 3), "float32")
    stream(frame)
    frame = frame + np.float32(1)
    with monkeypatch.context() as patch:
        patch.setattr(stream._engine, "compute", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream(frame)
    result = stream(frame)
    assert result.stats.mode == "dense"
    check(result, net, frame)


def test_two_threads_cannot_share_a_stream(net, monkeypatch):
    stream = selective.stream(net, calibrate=0)
    frame = np.zeros((12, 12, 3), "float32")
    stream(frame)
    entered, leave, errors = threading.Event(), threading.Event(), []
    run = stream._engine.compute

    def slow(*arguments):
        entered.set()
        leave.wait(20)
        return run(*arguments)

    monkeypatch.setattr(stream._engine, "compute", slow)
    thread = threading.Thread(target=lambda: stream(frame + 1))
    thread.start()
    assert entered.wait(20)
    try:
        with pytest.raises(RuntimeError, match="one stream per thread"):
            stream(frame)
    finally:
        leave.set()
        thread.join()
    assert not errors
    check(stream(frame + 1), net, frame + 1)


def test_another_stream_continues_from_a_saved_state(net, tmp_path):
    frame = np.random.default_rng(0).normal(size=(12, 12, 3)).astype("float32")
    a = selective.stream(net, mode="positions", calibrate=0)
    a(frame)
    np.savez(tmp_path / "state.npz", **a.state_dict())
    b = selective.stream(small_net(), mode="positions", calibrate=0)  # equal, but another model
    b.load_state(np.load(tmp_path / "state.npz"))
    assert b(frame).stats.mode == "cached"
    frame = rn.next_frame(frame, rn.lone_pixels((12, 12))[0])
    result = b(frame)
    assert result.stats.mode == "positions"
    check(result, net, frame)


def test_states_of_other_networks_are_refused(net):
    a = selective.stream(net, calibrate=0)
    a(np.zeros((12, 12, 3), "float32"))
    state = a.state_dict()
    trained = small_net()
    trained.get_layer("head").bias.assign(np.ones(3))
    for other in (trained, small_net(size=14)):
        b = selective.stream(other, calibrate=0)
        with pytest.raises(ValueError, match="belongs to another network"):
            b.load_state(state)
    with pytest.raises(ValueError, match="no fingerprint"):
        a.load_state({})
    for name in ("item0_accepted", "item0_buffer0", "item0_output1"):
        with pytest.raises(ValueError, match=f"damaged: {name} is .*, not "):
            a.load_state(state | {name: state[name][..., :-1]})
    assert a(np.zeros((12, 12, 3), "float32")).stats.mode == "cached"  # as it was
    del state["item0_buffer0"]
    with pytest.raises(ValueError, match="not complete: 'item0_buffer0'"):
        a.load_state(state)
