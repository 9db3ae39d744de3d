"""Streams of files give the bits of the dense file: outputs and stored maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_seqpar import selective
from keras_seqpar.selective.litert_engine import sessions
from keras_seqpar.selective.litert_engine.content import of_whole_run
from keras_seqpar.selective.planning.passes import BOXES, FULL, PLAIN
from keras_seqpar.selective.planning.plan import CropRun, WholeRun
from keras_seqpar.selective.planning.sessions import CropSession
from tests.selective.litert_engine.files import Dense, File, change, noise, outputs_of
from tests.selective.litert_engine.random_files import KINDS, random_file

WAYS = [BOXES, BOXES, BOXES, FULL, PLAIN]

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend


def equal(mine, theirs):
    """Bit for bit equal, NaN and the sign of zeros included."""
    return mine.dtype == theirs.dtype and mine.tobytes() == theirs.tobytes()


def maps_of_file(path, stream, *inputs):
    """What the file gives for the maps that a stream stores, as further outputs of the file."""
    plan = stream._plan
    numbers = [i for i in stream._engine.maps if plan.graph.tensors[i].data is None]
    numbers = tuple(i for i in numbers if i != plan.frame)
    graph = plan.graph
    run = WholeRun(tuple(range(len(graph.operations))), tuple(graph.inputs), numbers, 0)
    whole = path.with_name("whole.tflite")
    whole.write_bytes(of_whole_run(plan, run))
    found = Dense(whole)(*inputs) if numbers else []
    return {graph.tensors[i].name: x for i, x in zip(numbers, found, strict=True)}


def check(path, kind, seed, frames=5, threads=1, boxes=2):
    """Plays random frames, computes them in all ways, and compares outputs and at the end maps."""
    stream, dense = selective.stream(path, num_threads=threads), Dense(path, threads)
    rng = np.random.default_rng(seed)
    frame = noise(stream.input_shape, kind, rng)
    passes = stream._engine._passes
    passes.choose = lambda cost: str(rng.choice([FULL, PLAIN] if passes.is_stale else WAYS))
    bands = (sessions.BAND, 3e3)  # large boxes in several bands, too
    for i in range(frames):
        frame = change(frame, rng, 1 + i % boxes, (0.15, 0.6)[i % 2]) if i else frame
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sessions, "BAND", bands[i % 2])
            result = stream(frame)
        for mine, theirs in zip(outputs_of(result), dense(frame), strict=True):
            assert equal(mine, theirs), (i, result.stats.mode)
    maps = stream.maps
    for name, theirs in maps_of_file(path, stream, frame).items():
        assert equal(maps[name], theirs), name
    return stream


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=80)
def test_random_files_equal_their_dense_run(tmp_path_factory, kind, data):
    path = tmp_path_factory.mktemp("random") / "net.tflite"
    random_file(data.draw, kind).save(path)
    check(path, kind, data.draw(st.integers(0, 9)))


@pytest.mark.parametrize("kind", KINDS)
def test_many_frames_do_not_drift(tmp_path, kind):
    """After 200 frames every map is that of the file for the last frame."""
    file = residual_net(kind)
    check(file.save(tmp_path / "net.tflite"), kind, 0, frames=200, boxes=4)


@pytest.mark.parametrize("kind", KINDS)
def test_two_threads(tmp_path, kind):
    check(residual_net(kind).save(tmp_path / "net.tflite"), kind, 1, frames=12, threads=2)


@pytest.mark.parametrize("kind", KINDS)
def test_lone_pixels_at_borders_and_corners(tmp_path, kind):
    path = residual_net(kind).save(tmp_path / "net.tflite")
    stream, dense = selective.stream(path), Dense(path)
    frame = noise(stream.input_shape, kind, np.random.default_rng(0))
    stream(frame)
    for y, x in [(0, 0), (0, 18), (20, 0), (20, 18), (10, 0), (0, 9), (20, 9), (10, 18), (10, 9)]:
        frame = frame.copy()
        frame[y, x] += 1
        assert equal(stream(frame).output, dense(frame)[0]), (y, x)


@pytest.mark.parametrize("kind", KINDS)
def test_decoders_run_on_crops(tmp_path, kind):
    """What makes maps larger, or only moves values, is neither a barrier nor computed whole."""
    file = File((1, 16, 20, 4), kind)
    x = file.transposed(file.conv(file.frame, 6), 6, (3, 3), 2)
    x = file.both("ADD", x, file.transposed(file.frame, 6, (4, 4), 2))
    x = file.pool(file.repeat(file.shuffle(x, 2)), "AVERAGE_POOL_2D", (3, 3), 1)
    x = file.resize(file.pad(x, (1, 2), (2, 1), 0), (40, 43), "RESIZE_NEAREST_NEIGHBOR")
    x = file.blocks(file.blocks(file.part(x, 1, 1, 4), "DEPTH_TO_SPACE"), "SPACE_TO_DEPTH")
    file.outputs = [file.conv(x, 3)]
    stream = check(file.save(tmp_path / "net.tflite"), kind, 3, frames=8)
    assert not stream._plan.barriers
    assert all(isinstance(step, CropRun) for step in stream._plan.steps)
    sessions = [x for x in stream._engine._steps if isinstance(x, CropSession)]
    assert any(x.grown for x in sessions) and not any(x.only_whole for x in sessions)


def test_frames_with_channels_first_are_taken_with_channels_last(tmp_path):
    file = File((1, 3, 9, 11))
    file.outputs = [file.conv(file.transpose(file.frame, (0, 2, 3, 1)), 4)]
    path = file.save(tmp_path / "net.tflite")
    stream, dense = selective.stream(path), Dense(path)
    rng = np.random.default_rng(0)
    frame = noise((9, 11, 3), "float32", rng)
    for _ in range(3):
        expected = dense(np.ascontiguousarray(frame.transpose(2, 0, 1)))[0]
        assert equal(stream(frame).output, expected)
        frame = change(frame, rng, most=0.3)


def residual_net(kind):
    """A stem with a pool, two residual blocks of which one strides, and a head."""
    file = File((1, 21, 19, 3), kind)
    x = file.pool(file.conv(file.frame, 8, (3, 3), stride=2, activation=1), "MAX_POOL_2D", (3, 3))
    for stride in (1, 2):
        short = file.conv(x, 8, (1, 1), stride=stride)
        x = file.conv(file.conv(x, 8, (1, 1), activation=1), 8, (3, 3), stride=stride)
        x = file.unary("RELU", file.both("ADD", x, short))
    file.outputs = [file.head(x)]
    return file


def test_maps_from_elsewhere_are_barriers_and_repeated_names_are_told_apart(tmp_path):
    file = File((1, 20, 22, 3), "float32")
    x = file.conv(file.frame, 2)
    second = file.tensor((1, 20, 22, 2))
    file.inputs.append(second)
    y = file.add("ADD", [x, second], (1, 20, 22, 2), (11, {}))
    file.outputs = [file.conv(y, 5)]
    for tensor in file.tensors:
        tensor[3] = b"same"
    path = file.save(tmp_path / "net.tflite")
    (reason,) = selective.report(path).barriers.values()
    assert reason == "it combines the map with one that is not made from the frame"
    stream, dense = selective.stream(path), Dense(path)
    stream._engine._passes.choose = lambda cost: BOXES
    rng = np.random.default_rng(0)
    frame, other = noise((20, 22, 3), "float32", rng), noise((1, 20, 22, 2), "float32", rng)
    for _ in range(3):
        result = stream([frame, other])
        assert equal(result.output, dense(frame, other)[0])
        frame = change(frame, rng, 1, 0.1)
    assert len(stream.maps) == len(stream._engine.maps) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale, half", [(2, 1), (2, 0), (4, 1), (8, 0)])
def test_maps_are_enlarged_square_by_square(tmp_path, kind, scale, half, monkeypatch):
    made = []
    monkeypatch.setattr(sessions, "SQUARE_START", 0)
    of_square = sessions.of_square
    monkeypatch.setattr(sessions, "of_square", lambda *x: made.append(x) or of_square(*x))
    file = File((1, 37, 52, 3), kind)
    file.outputs = [file.resize(file.conv(file.frame, 4), (scale * 37, scale * 52), half=half)]
    path, rng = file.save(tmp_path / "net.tflite"), np.random.default_rng(0)
    stream, dense = selective.stream(path), Dense(path)
    frame = noise(stream.input_shape, kind, rng)
    for i in range(8):
        frame = change(frame, rng, i % 3, 0.2)
        assert equal(stream(frame).output, dense(frame)[0]), i
    assert made


def test_squares_give_every_position_once():
    rng = np.random.default_rng(0)
    for _ in range(100):
        scale, side = int(rng.choice([2, 4])), 8
        size = rng.integers(8, 40, 2)
        top, left = (int(rng.integers(0, scale * n)) for n in size)
        bottom, right = (
            int(rng.integers(a + 1, scale * n + 1)) for a, n in zip((top, left), size, strict=True)
        )
        box = top, left, bottom, right
        given = np.zeros(scale * size, int)
        for rows, cols in sessions.squares(box, side, size, scale):
            for (start, first, end), n in ((rows, size[0]), (cols, size[1])):
                assert 0 <= start <= n - side
                assert first >= scale * (start + (start > 0))  # the first input may be a border
                assert end <= scale * (start + side - (start + side < n))
            given[rows[1] : rows[2], cols[1] : cols[2]] += 1
        wanted = np.zeros_like(given)
        wanted[top:bottom, left:right] = 1
        assert np.array_equal(given, wanted)
