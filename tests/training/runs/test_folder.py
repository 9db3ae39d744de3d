"""The folder of a run: which are refused, and what is removed."""

import os
import subprocess
import sys

import pytest

from keras_seqpar.training.config import RunConfig
from keras_seqpar.training.runs.folder import open_folder
from tests.training.runner import flags, refused


def test_a_folder_in_use_is_not_written_to(finished, images, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in finished.iterdir()}
    error = refused(flags(images, finished))
    assert "is not empty" in error
    assert "--resume" in error
    assert "--overwrite" in error
    assert {path: path.stat().st_mtime_ns for path in finished.iterdir()} == before
    (tmp_path / "file").touch()
    assert "is a file" in refused(flags(images, tmp_path / "file"))


def test_overwriting_removes_the_files_of_the_run_and_no_others(tmp_path):
    (tmp_path / "tensorboard").mkdir()
    for name in ("tensorboard/events", "best.keras", "notes.txt"):
        (tmp_path / name).touch()
    with open_folder(RunConfig(str(tmp_path), overwrite=True)):
        assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", ".lock"}


HOLD = """
import fcntl, sys
with open(sys.argv[1]) as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_trains_in_a_folder(tmp_path):
    (tmp_path / "flags.json").write_text('{"flags": {}}')
    ways = [RunConfig(str(tmp_path), **more) for more in ({}, {"resume": True})]
    ways.append(RunConfig(str(tmp_path), overwrite=True))
    with open_folder(ways[0]):
        for way in ways:
            who = f"Process {os.getpid()} on .* is training in {tmp_path}. Wait for it, or stop it"
            with pytest.raises(ValueError, match=who), open_folder(way):
                pass
        assert (tmp_path / "flags.json").exists()  # nothing was removed
    command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(ValueError, match="is training in"), open_folder(ways[1]):
            pass
        other.kill()
    with open_folder(ways[1]):  # the lock of a killed process is gone
        pass


def test_a_folder_to_resume_needs_a_run(tmp_path):
    missing = RunConfig(str(tmp_path / "missing"), resume=True)
    with pytest.raises(ValueError, match=r"has no flags\.json"), open_folder(missing):
        pass
    assert not list(tmp_path.iterdir())
