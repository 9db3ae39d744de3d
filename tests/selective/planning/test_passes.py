"""How frames are computed follows from the times of earlier ones."""

import numpy as np
import pytest

from keras_seqpar import selective
from keras_seqpar.selective.planning.passes import BOXES, FILE, RUNS, Passes
from tests.selective.litert_engine.files import Dense, noise
from tests.selective.litert_engine.test_exactness import equal, maps_of_file, residual_net

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend


def played(passes, cost, seconds, frames):
    """Plays frames of a cost, of which each kind takes its seconds; returns the kinds."""
    kinds = []
    for _ in range(frames):
        kind = passes.choose(cost, 100)
        passes.took(kind, seconds[kind], cost, 100, FILE not in kinds or kinds[-1] == FILE)
        kinds.append(kind)
    return kinds


def test_small_changes_never_load_the_file():
    assert set(played(Passes(True), 20, {BOXES: 5.0}, 50)) == {BOXES}


def test_a_faster_file_is_taken_and_runs_are_measured_again():
    passes = Passes(True)
    kinds = played(passes, 80, {BOXES: 9.0, FILE: 1.0}, 80)
    assert kinds[:4] == [BOXES] * 4 and kinds[-1] == FILE
    assert BOXES in kinds[10:] and kinds[10:].count(BOXES) < 4
    assert not passes.drops_file


def test_a_slower_file_is_given_back():
    passes = Passes(True)
    kinds = played(passes, 100, {RUNS: 1.0, FILE: 2.0}, 30)
    assert passes.drops_file and kinds[-1] == RUNS and FILE in kinds


def test_without_memory_the_file_is_not_loaded():
    assert set(played(Passes(False), 100, {RUNS: 9.0}, 50)) == {RUNS}


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_all_ways_give_the_same_bits(tmp_path, kind):
    path = residual_net(kind).save(tmp_path / "net.tflite")
    stream, dense = selective.stream(path), Dense(path)
    rng = np.random.default_rng(0)
    engine = stream._engine
    for must in (RUNS, FILE, BOXES, FILE, RUNS):
        frame = noise(stream.input_shape, kind, rng)
        if not engine.maps:
            stream(frame)
        engine.maps[stream._plan.frame][0] = frame
        work = engine.follow([(0, 0, 21, 19)])
        assert engine.compute(work, must=must) == must
        assert equal(next(iter(engine.outputs.values())), dense(frame)[0])
        for name, theirs in maps_of_file(path, stream, frame).items():
            assert equal(stream.maps[name], theirs), (must, name)
