"""Frames of videos, and videos of frames."""

import itertools
import time

import numpy as np
import pytest

from keras_seqpar.data.video import VideoWriter, open_video, parse_size, reading
from keras_seqpar.data.video.sources import Source

cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """5 frames, each of one gray that grows."""
    path = tmp_path_factory.mktemp("video") / "gray.mkv"
    with VideoWriter(path, 10) as writer:
        for i in range(5):
            writer.write(np.full((32, 48, 3), 40 * i, "uint8"))
    return path


def test_a_video_is_read_as_it_was_written(clip):
    with open_video(str(clip)) as stream:
        assert (stream.name, stream.frame_size, stream.frame_shape) == (
            *("gray.mkv", (48, 32), (32, 48, 3)),
        )
        assert (stream.frame_rate, stream.frame_count, stream.position_ms) == (10, 5, 0)
        frames = list(stream.frames())
        assert (stream.frame_number, stream.position_ms) == (5, 400)
        assert not stream.missing and not stream.broke_off and stream.read() is None
    assert [round(frame.mean() / 40) for frame in frames] == [0, 1, 2, 3, 4]
    assert all(frame.shape == (32, 48, 3) and frame.dtype == np.uint8 for frame in frames)


def test_colors_are_in_the_order_red_green_blue(tmp_path):
    with VideoWriter(tmp_path / "red.mkv", 10) as writer:
        writer.write(np.full((32, 48, 3), (250, 40, 40), "uint8"))
    with open_video(str(tmp_path / "red.mkv")) as stream:
        red, green, blue = stream.read().mean((0, 1))
    assert red > 200 and green < 80 and blue < 80


def test_frames_are_resized_and_limited(clip):
    with open_video(str(clip), (24, 16)) as stream:
        assert [frame.shape for frame in stream.frames(2)] == 2 * [(16, 24, 3)]
        assert len(list(stream.frames(2))) == 0 and stream.missing == 3


def test_a_source_with_red_and_blue_swapped(clip, tmp_path):
    with VideoWriter(tmp_path / "red.mkv", 10) as writer:
        writer.write(np.full((32, 48, 3), (250, 40, 40), "uint8"))
    with open_video(str(tmp_path / "red.mkv"), color="bgr") as stream:
        red, green, blue = stream.read().mean((0, 1))
    assert blue > 200 and green < 80 and red < 80


def test_images_in_order(tmp_path):
    for i, size in ((1, (32, 48)), (2, (32, 48)), (10, (64, 96))):
        image = np.full((*size, 3), (0, 0, 20 * i), "uint8")  # OpenCV's order
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
    for text in (tmp_path, tmp_path / "*.png", tmp_path / "%d.png"):
        with open_video(str(text)) as stream:
            assert (stream.frame_count, stream.frame_size, stream.is_live) == (3, (48, 32), False)
            found = list(stream.timed_frames())
        assert [frame[0, 0].tolist() for _, frame in found] == [[20, 0, 0], [40, 0, 0], [200, 0, 0]]
        assert [milliseconds for milliseconds, _ in found] == [0, 40, 80]
        assert {frame.shape for _, frame in found} == {(32, 48, 3)}
    (tmp_path / "3.png").write_bytes(b"no image")
    with open_video(str(tmp_path)) as stream:
        stream.read(), stream.read()
        with pytest.raises(OSError, match=r"3\.png: "):
            stream.read()


class Camera:
    """A capture whose reads give gray frames, or fail where the script says "-"."""

    def __init__(self, script, count=0):
        self.script, self.count, self.closed = iter(script), count, 0

    def read(self):
        good = next(self.script, "-") != "-"
        return good, np.zeros((32, 48, 3), "uint8") if good else None

    def get(self, name):
        return {cv2.CAP_PROP_FPS: 30, cv2.CAP_PROP_FRAME_COUNT: self.count}.get(name, 0)

    def release(self):
        self.closed += 1


@pytest.fixture
def clock(monkeypatch):
    """Time that goes on when the code waits, and 0.1 s at every look."""
    now = itertools.count(1000, 0.1)
    slept = []
    monkeypatch.setattr(time, "monotonic", lambda: next(now) + sum(slept))
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def watched(monkeypatch, kind, *captures):
    """A stream of these captures, one after the other when it is opened again."""
    opened = iter(captures)

    def open_next(self):
        if (capture := next(opened, None)) is None:
            raise ValueError("gone")
        return capture

    monkeypatch.setattr(Source, "open", open_next)
    return reading.VideoStream(Source(kind, "it", "it"))


def test_a_read_of_a_camera_that_fails_is_repeated(clock, monkeypatch):
    stream = watched(monkeypatch, "camera", Camera("x-xx-"))
    times = [round(milliseconds) for milliseconds, _ in stream.timed_frames()]
    assert times == [0, 1100, 1200]  # of the clock, with the second that it waited
    assert stream.broke_off and stream.is_live
    assert clock == [reading.RETRY_SECONDS] * (1 + reading.RETRIES)


def test_an_address_is_opened_again(clock, monkeypatch):
    first, second = Camera("xx"), Camera("xxx")
    stream = watched(monkeypatch, "address", first, second)
    assert len(list(stream.frames())) == 5 and first.closed == 1
    assert stream.broke_off


def test_a_file_is_read_on_after_a_frame_that_cannot_be_decoded(clock, monkeypatch, tmp_path):
    stream = watched(monkeypatch, "file", Camera("xx-x-----x", count=9))
    assert len(list(stream.frames())) == 3 and stream.missing == 6
    assert not clock  # no waiting
    (tmp_path / "it").write_bytes(b"complete as far as anybody knows")
    monkeypatch.chdir(tmp_path)
    assert not stream.broke_off  # its head counts too many


def test_a_camera_that_gives_no_frame(clock, monkeypatch):
    camera = Camera("")
    with pytest.raises(ValueError, match="it gave no frame that can be decoded"):
        watched(monkeypatch, "camera", camera)
    assert camera.closed


def test_sizes():
    assert parse_size("480x360") == (480, 360) and parse_size(None) is None
    for text in ("480", "0x3", "axb", "1x2x3"):
        with pytest.raises(ValueError, match="WIDTHxHEIGHT"):
            parse_size(text)


def test_what_is_no_video(tmp_path):
    (tmp_path / "text.avi").write_text("no video")
    with pytest.raises(ValueError, match="There is no file"):
        open_video(str(tmp_path / "missing.avi"))
    with pytest.raises(ValueError, match="cannot be decoded"):
        open_video(str(tmp_path / "text.avi"))
    with pytest.raises(ValueError, match="Camera 97 cannot be opened: there is no such camera"):
        open_video("97")
    with pytest.raises(ValueError, match=r"rtsp://127\.0\.0\.1:9/live cannot be opened within"):
        open_video("rtsp://me:secret@127.0.0.1:9/live")
