"""Frames of videos, and videos of frames."""

import numpy as np
import pytest

pytest.importorskip("cv2")

from keras_seqpar.data.video import VideoWriter, open_video, parse_size


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """5 frames, each of one gray that grows."""
    path = tmp_path_factory.mktemp("video") / "gray.avi"
    with VideoWriter(path, 10) as writer:
        for i in range(5):
            writer.write(np.full((32, 48, 3), 40 * i, "uint8"))
    return path


def test_a_video_is_read_as_it_was_written(clip):
    with open_video(str(clip)) as stream:
        assert (stream.name, stream.frame_size, stream.frame_shape) == (
            *("gray.avi", (48, 32), (32, 48, 3)),
        )
        assert (stream.frame_rate, stream.frame_count, stream.position_ms) == (10, 5, 0)
        frames = list(stream.frames())
        assert (stream.frame_number, stream.position_ms) == (5, 400)
        assert not stream.incomplete and stream.read() is None
    assert [round(frame.mean() / 40) for frame in frames] == [0, 1, 2, 3, 4]
    assert all(frame.shape == (32, 48, 3) and frame.dtype == np.uint8 for frame in frames)


def test_colors_are_in_the_order_red_green_blue(tmp_path):
    with VideoWriter(tmp_path / "red.avi", 10) as writer:
        writer.write(np.full((32, 48, 3), (250, 40, 40), "uint8"))
    with open_video(str(tmp_path / "red.avi")) as stream:
        red, green, blue = stream.read().mean((0, 1))
    assert red > 200 and green < 80 and blue < 80


def test_frames_are_resized_and_limited(clip):
    with open_video(str(clip), (24, 16)) as stream:
        assert [frame.shape for frame in stream.frames(2)] == 2 * [(16, 24, 3)]
        assert len(list(stream.frames(2))) == 0 and stream.incomplete


def test_a_video_has_its_name_once_it_is_closed(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = VideoWriter(path, 10)
    writer.write(np.zeros((32, 48, 3), "uint8"))
    assert not path.exists()
    writer.close()
    assert [item.name for item in tmp_path.iterdir()] == ["clip.mp4"]
    VideoWriter(tmp_path / "empty.mp4", 10).close()
    assert [item.name for item in tmp_path.iterdir()] == ["clip.mp4"]
    with pytest.raises(ValueError, match=r"to an .mp4 or .avi file, got 'clip.gif'"):
        VideoWriter(tmp_path / "clip.gif", 10)


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
    with pytest.raises(ValueError, match="camera:NUMBER"):
        open_video("camera:front")
