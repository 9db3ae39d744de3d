"""How frames are computed follows from the times of earlier ones."""

import numpy as np
import pytest

from keras_seqpar import selective
from keras_seqpar.selective.planning.passes import BOXES, FULL, PLAIN, Passes
from tests.selective.litert_engine.files import Dense, noise
from tests.selective.litert_engine.test_exactness import equal, maps_of_file, residual_net

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend


def played(passes, costs, boxes, full=10.0, plain=9.0):
    """Plays frames of costs, of which boxes take `boxes` seconds per cost; returns the kinds."""
    kinds = []
    for cost in costs:
        kind = passes.choose(cost)
        assert not (passes.is_stale and kind == BOXES)
        passes.took(kind, cost, {BOXES: boxes * cost, FULL: full, PLAIN: plain}[kind])
        kinds.append(kind)
    return kinds


def test_the_first_frame_is_computed_in_full():
    assert played(Passes(100, True), [1, 1], 0.1) == [FULL, BOXES]


def test_small_changes_are_always_boxes():
    assert set(played(Passes(100, True), [100] + [20] * 200, 0.1)[1:]) == {BOXES}


def test_the_faster_of_boxes_and_full_passes_is_found_and_the_other_one_measured_rarely():
    for boxes, best in ((0.3, FULL), (0.05, BOXES)):
        kinds = played(Passes(100, False), [100] + [45] * 200, boxes)
        assert kinds[8:].count(best) >= 0.95 * len(kinds[8:])


def test_a_change_of_speed_is_noticed():
    passes = Passes(100, False)
    played(passes, [90] * 60, 0.1, full=8.0)
    assert played(passes, [90] * 400, 0.1, full=12.0)[-40:].count(BOXES) >= 38


@pytest.mark.parametrize("times", [3, 10])
def test_one_slow_pass_does_not_decide_for_good(times):
    passes = Passes(100, False)
    played(passes, [20] * 2, 0.1)  # the first pass by boxes does not count
    passes.took(BOXES, 20, times * 10.0)  # the machine was busy
    assert played(passes, [20] * 600, 0.1)[-100:].count(BOXES) == 100


def test_where_everything_changes_passes_become_plain_and_boxes_come_back_at_once():
    passes = Passes(100, True)
    assert PLAIN not in played(passes, [100] * 8, 0.15)
    assert played(passes, [100] * 40, 0.15)[-10:] == [PLAIN] * 10
    assert played(passes, [10] * 5, 0.15) == [FULL] + [BOXES] * 4


def test_turns_of_small_and_full_changes_never_become_plain():
    assert PLAIN not in played(Passes(100, True), [100, 10] * 100, 0.15)


@pytest.mark.parametrize("pattern", [[100], [10], [100, 10], [100] * 12 + [10], [100] * 30 + [10]])
def test_no_scene_takes_much_longer_than_its_best_choice(pattern):
    frames, passes, costs = 600, Passes(100, True), {BOXES: 0.0, FULL: 10.0, PLAIN: 9.0}
    total = 0.0
    for i in range(frames):
        cost = pattern[i % len(pattern)]
        kind = passes.choose(cost)
        seconds = 0.12 * cost if kind == BOXES else costs[kind]
        passes.took(kind, cost, seconds)
        total += seconds
    always_plain = frames * 9.0
    boxes = sum(min(0.12 * pattern[i % len(pattern)], 10.0) for i in range(frames))
    assert total <= 1.15 * min(always_plain, boxes)


def test_plain_passes_that_are_no_faster_are_rare():
    assert played(Passes(100, True), [100] * 300, 0.15, plain=10.5).count(PLAIN) < 100


def test_plain_passes_come_back_after_the_machine_was_slow_for_a_while():
    passes = Passes(100, True)
    assert played(passes, [100] * 60, 0.15)[-1] == PLAIN
    played(passes, [100] * 60, 0.3, full=20.0, plain=18.0)
    assert played(passes, [100] * 60, 0.15)[-20:].count(PLAIN) == 20


def test_without_memory_passes_are_never_plain():
    assert PLAIN not in played(Passes(100, False), [100] * 100, 0.15)


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_all_ways_give_the_same_bits(tmp_path, kind):
    path = residual_net(kind).save(tmp_path / "net.tflite")
    stream, dense = selective.stream(path), Dense(path)
    rng = np.random.default_rng(0)
    engine = stream._engine
    for must in (FULL, BOXES, PLAIN, FULL, PLAIN, PLAIN, FULL, BOXES):
        frame = noise(stream.input_shape, kind, rng)
        if not engine.maps:
            stream(frame)
        engine.set_frame((0, 0, 21, 19), frame)
        work = engine.follow([(0, 0, 21, 19)])
        assert engine.compute(work, must=must) == must
        assert equal(next(iter(engine.outputs.values())), dense(frame)[0])
        if must != PLAIN:  # to read stored maps would compute them
            for name, theirs in maps_of_file(path, stream, frame).items():
                assert equal(stream.maps[name], theirs), (must, name)


def test_maps_that_a_plain_pass_left_out_are_computed_when_they_are_read(tmp_path):
    path = residual_net("int8").save(tmp_path / "net.tflite")
    stream, frame = selective.stream(path), noise((21, 19, 3), "int8", np.random.default_rng(0))
    stream(frame[::-1])
    engine = stream._engine
    engine.set_frame((0, 0, 21, 19), frame)
    engine.compute(engine.follow([(0, 0, 21, 19)]), must=PLAIN)
    for name, theirs in maps_of_file(path, stream, frame).items():
        assert equal(stream.maps[name], theirs), name
