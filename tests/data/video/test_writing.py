"""Videos that can be played at any time."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("cv2")

from keras_seqpar.data.video import VideoWriter, open_video


def frames(count, height=65, width=97):
    for i in range(count):
        frame = np.full((height, width, 3), 30 * i, "uint8")
        frame[:, : width // 2] = (250, 40, 40)
        yield frame


def test_odd_sizes_and_time_stamps_are_kept(tmp_path):
    times = [0, 100, 250.4, 900, 950, 2000]
    with VideoWriter(tmp_path / "a.mkv", 10) as writer:
        for milliseconds, frame in zip(times, frames(6), strict=True):
            writer.write(frame, milliseconds)
    with open_video(str(tmp_path / "a.mkv")) as stream:
        assert (stream.frame_size, stream.frame_rate) == ((97, 65), 10)
        found = list(stream.timed_frames())
    assert [round(milliseconds) for milliseconds, _ in found] == [0, 100, 250, 900, 950, 2000]
    for (_, mine), theirs in zip(found, frames(6), strict=True):
        assert (
            mine.shape == theirs.shape and abs(mine[:, ::9].astype(int) - theirs[:, ::9]).mean() < 6
        )


def test_what_is_written_can_be_played_before_the_end(tmp_path):
    path = tmp_path / "a.mkv"
    writer = VideoWriter(path, 10)
    for i, frame in enumerate(frames(3, 32, 48)):
        writer.write(frame)
        with open_video(str(path)) as stream:
            assert len(list(stream.frames())) == i + 1
    size = path.stat().st_size
    writer.close()
    assert path.stat().st_size == size  # only the length in its head is new
    with open_video(str(path)) as stream:
        assert stream.frame_count == 3
    whole = path.read_bytes()
    for cut in range(1, 600, 13):  # at any byte
        path.write_bytes(whole[:-cut])
        with open_video(str(path)) as stream:
            assert len(list(stream.frames())) in (1, 2, 3)


KILLED = """
import os, pathlib, signal, sys
import numpy as np
from keras_seqpar.data.video import VideoWriter
writer = VideoWriter(pathlib.Path(sys.argv[1]), 10)
for i in range(4):
    writer.write(np.full((33, 47, 3), 40 * i, "uint8"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_a_video(tmp_path, root):
    path = tmp_path / "a.mkv"
    command = [sys.executable, "-c", KILLED, str(path)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(root)}, check=False)
    assert done.returncode == -signal.SIGKILL
    with open_video(str(path)) as stream:
        assert [round(frame.mean() / 40) for frame in stream.frames()] == [0, 1, 2, 3]


def test_files_and_faults(tmp_path):
    VideoWriter(tmp_path / "empty.mkv", 10).close()
    assert not list(tmp_path.iterdir())  # without frames there is no file
    for name in ("clip.gif", "clip.mp4"):
        with pytest.raises(ValueError, match=rf"to an \.mkv file, got '{name}'"):
            VideoWriter(tmp_path / name, 10)
    with VideoWriter(tmp_path / "a.mkv", 10) as writer:
        writer.write(np.zeros((32, 48, 3), "uint8"))
        with pytest.raises(ValueError, match=r"a\.mkv is \(32, 50, 3\), not \(32, 48, 3\)"):
            writer.write(np.zeros((32, 50, 3), "uint8"))
    with pytest.raises(OSError, match=r"missing.a\.mkv"):
        VideoWriter(tmp_path / "missing" / "a.mkv", 10).write(np.zeros((32, 48, 3), "uint8"))


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "a.mkv").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"a\.mkv cannot be written: No space left"):
        VideoWriter(tmp_path / "a.mkv", 10).write(np.zeros((32, 48, 3), "uint8"))
