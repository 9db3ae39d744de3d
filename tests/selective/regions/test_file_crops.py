"""Crops of files give the bits of the whole file."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keras_seqpar import selective
from keras_seqpar.selective.regions import file_crops
from tests.selective.litert_engine.files import VALID, Dense, File, change, noise
from tests.selective.litert_engine.random_files import KINDS, operation

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend


def open_stream(path, **options):
    """A stream that computes what changed, whatever that takes on a frame as small as here."""
    stream = selective.region_stream(path, **{"max_cost_share": 1.0, **options})
    stream._costs.took = lambda *_: None  # the number of crops does not depend on times
    stream._planner = dataclasses.replace(stream._planner, size=lambda size: size)
    return stream


def exact_stream(path, **options):
    return open_stream(path, scores=True, **options)


def check(path, kind, seed, frames=6, threads=1):
    """Plays frames with small changes; returns how they were computed."""
    stream, dense = exact_stream(path, num_threads=threads), Dense(path, threads)
    rng = np.random.default_rng(seed)
    frame, modes = noise(stream.input_shape, kind, rng), []
    for i in range(frames):
        frame = change(frame, rng, 1 + i % 2, 0.1) if i else frame
        result = stream(frame)
        assert result.output.tobytes() == dense(frame)[0].tobytes(), (i, result.stats)
        modes.append(result.stats.mode)
    return modes


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=40)
def test_random_files(tmp_path_factory, kind, data):
    height, width = (data.draw(st.integers(20, 47)) for _ in range(2))
    file = File((1, height, width, 2), kind, data.draw(st.integers(0, 99)), zero=5)
    x, known = file.frame, []
    for _ in range(data.draw(st.integers(1, 6))):
        known.append(x)
        x = operation(data.draw, file, x, known)
    file.outputs.append(file.conv(x, 3, (1, 1)))
    path = file.save(tmp_path_factory.mktemp("random") / "net.tflite")
    try:
        exact_stream(path)
    except ValueError as error:
        assume("No crop" not in str(error) and "total stride" not in str(error))
        raise
    check(path, kind, data.draw(st.integers(0, 9)))


def decoder(kind, size=(64, 72), up="bilinear", seed=0):
    """Strides, dilation and a decoder with a connection past it."""
    file = File((1, *size, 3), kind, seed)
    fine = file.conv(file.frame, 4, stride=2)
    x = file.pool(file.conv(fine, 6, dilation=2), "MAX_POOL_2D")
    x = file.conv(x, 6)
    size = file.shapes[fine][1:3]
    if up == "transposed":
        x = file.transposed(x, 4)
    else:
        names = {"bilinear": "RESIZE_BILINEAR", "nearest": "RESIZE_NEAREST_NEIGHBOR"}
        x = file.resize(file.conv(x, 4, (1, 1)), size, names[up])
    x = file.both("ADD", x, fine)
    file.outputs.append(file.conv(x, 3))
    return file


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("up", ["bilinear", "nearest", "transposed"])
def test_decoders(tmp_path, kind, up):
    path = decoder(kind, up=up).save(tmp_path / "net.tflite")
    modes = check(path, kind, 1, frames=8)
    assert modes[0] == "dense" and modes.count("boxes") > 4


@pytest.mark.parametrize("size", [(66, 79), (61, 72), (73, 67)])
def test_odd_sizes(tmp_path, size):
    """SAME windows with strides pad frames of odd sizes otherwise than of even ones."""
    file = File((1, *size, 2), "int8")
    x = file.conv(file.conv(file.frame, 4, stride=2), 4, stride=2)
    x = file.pool(x, "AVERAGE_POOL_2D", (3, 3), 1)
    x = file.conv(file.transposed(x, 4, padding=VALID), 3, (2, 3))
    file.outputs.append(x)
    assert "boxes" in check(file.save(tmp_path / "net.tflite"), "int8", 2, frames=10)


@pytest.mark.parametrize("kind", KINDS)
def test_borders_corners_and_two_threads(tmp_path, kind):
    path = decoder(kind).save(tmp_path / "net.tflite")
    stream, dense = exact_stream(path, num_threads=2), Dense(path, 2)
    frame = noise(stream.input_shape, kind, np.random.default_rng(0))
    stream(frame)
    for y, x in [(0, 0), (0, -1), (-1, 0), (-1, -1), (30, 0), (0, 30), (-1, 31), (33, -1)]:
        frame = frame.copy()
        frame[y, x] += 1
        result = stream(frame)
        assert result.output.tobytes() == dense(frame)[0].tobytes(), (y, x)
        assert result.stats.mode == "boxes" and len(result.stats.boxes) == 1


def test_images_that_are_normalized_row_by_row(tmp_path):
    file = File((1, 48, 56, 3), "float32")
    x = file.reshape(file.frame, (1, 48, 56 * 3))
    row = np.tile(np.array([1, 2, 3], "float32"), 56)
    x = file.both("MUL", x, file.tensor(row.shape, row))
    x = file.reshape(x, (1, 48, 56, 3))
    file.outputs.append(file.conv(x, 3, stride=2))
    assert "boxes" in check(file.save(tmp_path / "net.tflite"), "float32", 0)


def test_cropped_maps_and_slices(tmp_path):
    file = File((1, 48, 50, 3), "int8")
    x = file.conv(file.frame, 4)
    begin, size = file.integers([0, 2, 1, 0]), file.integers([1, 44, 48, 4])
    x = file.add("SLICE", [x, begin, size], (1, 44, 48, 4), (46, {}))
    file.outputs.append(file.conv(x, 3))
    assert "boxes" in check(file.save(tmp_path / "net.tflite"), "int8", 0)


def test_sizes_are_kept_as_far_as_memory_allows(tmp_path, monkeypatch):
    path = decoder("int8").save(tmp_path / "net.tflite")
    stream = exact_stream(path)
    made, session = [], stream._crops._session
    monkeypatch.setattr(stream._crops, "_session", lambda x: made.append(x) or session(x))
    frame = noise(stream.input_shape, "int8", np.random.default_rng(0))
    for _ in range(4):
        stream(frame)
        frame = frame.copy()
        frame[20, 20] += 1
    assert len(made) == 2  # of frames and of the one size of crops
    monkeypatch.setattr(file_crops, "_MOST_BYTES", 1e3)
    assert exact_stream(path)._crops.kept == 2 < stream._crops.kept


def test_what_works_for_one_size_only_is_refused(tmp_path):
    file = File((1, 16, 16, 2), "float32")
    file.outputs.append(file.reshape(file.conv(file.frame, 4), (1, 8, 32, 4)))
    path = file.save(tmp_path / "net.tflite")
    with pytest.raises(ValueError, match="RESHAPE .* it puts values at other positions"):
        selective.region_stream(path)
    with pytest.raises(ValueError, match=r"RESHAPE .* one size only.*selective\.stream"):
        selective.region_stream(path, margin=2)


@pytest.mark.parametrize("kind", KINDS)
def test_barriers_need_a_margin_in_pixels(tmp_path, kind):
    def squeezed(file):
        x = file.conv(file.frame, 4)
        return file.both("MUL", x, file.conv(file.mean(x), 4, (1, 1)))

    def enlarged(file):
        x = file.conv(file.frame, 4, stride=2)
        return file.both("ADD", x, file.resize(file.mean(x), file.shapes[x][1:3]))

    def placed(file):
        x = file.conv(file.frame, 4)
        values = np.arange(24 * 28 * 4).reshape(1, 24, 28, 4) % 7
        values = values.astype(kind)
        scales = None if kind == "float32" else [file.SCALE]
        return file.both("ADD", x, file.tensor(values.shape, values, scales=scales))

    def aligned(file):
        return file.resize(file.conv(file.frame, 4), (48, 56), align=1, half=0)

    for make, why in (
        (squeezed, "MEAN .*: every output reads all positions"),
        (enlarged, "MEAN .*: every output reads all positions"),
        (placed, "ADD .*: it has constants of its own for every position"),
        (aligned, "RESIZE_BILINEAR .*: it aligns corners"),
    ):
        file = File((1, 24, 28, 2), kind)
        file.outputs.append(file.conv(make(file), 3))
        path = file.save(tmp_path / f"{make.__name__}.tflite")
        with pytest.raises(ValueError, match=f"No crop gives .*{why}.*margin as a number"):
            selective.region_stream(path)
        if make is placed:
            continue
        stream = selective.region_stream(path, margin=2, max_cost_share=1.0)
        rng = np.random.default_rng(0)
        frame = noise(stream.input_shape, kind, rng)
        stream(frame)
        frame[10, 10] += 1
        result = stream(frame)
        assert result.stats.mode == "boxes" and result.stats.saved > 0
        agreement = (result.output == Dense(path)(frame)[0].argmax(-1)).mean()
        assert agreement > 0.5
