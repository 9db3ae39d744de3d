import os
import stat
import subprocess
import sys

import pytest

from keras_seqpar.utils import files


def test_a_file_is_made_and_replaced(tmp_path):
    path = tmp_path / "a.json"
    files.write_file(path, "né\n")
    assert path.read_bytes() == b"n\xc3\xa9\n"
    files.write_file(os.fspath(path), b"other")
    assert path.read_bytes() == b"other"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        files.write_file(tmp_path / "a", b"")
        with files.new_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~mask


def test_temporary_paths_keep_the_suffix(tmp_path):
    with files.replacing(tmp_path / "net.keras") as temporary:
        assert temporary.suffix == ".keras" and temporary.parent == tmp_path
        temporary.write_bytes(b"model")
        assert not (tmp_path / "net.keras").exists()
    assert (tmp_path / "net.keras").read_bytes() == b"model"


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "a"
    with files.replacing(path) as one, files.replacing(path) as other:
        assert one != other
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert path.read_bytes() == b"one"  # the outer block ends last


def test_long_names(tmp_path):
    path = tmp_path / ("ä" * 120 + ".json")
    files.write_file(path, b"x")
    assert path.read_bytes() == b"x"


def test_nothing_stays_of_a_failed_write(tmp_path):
    path = tmp_path / "a"
    files.write_file(path, b"old")
    with pytest.raises(RuntimeError, match="half way"), files.replacing(path) as temporary:
        temporary.write_bytes(b"ne")
        raise RuntimeError("half way")
    assert path.read_bytes() == b"old"
    with pytest.raises(FileNotFoundError), files.replacing(path):
        pass  # the block wrote nothing
    assert path.read_bytes() == b"old"
    with pytest.raises(FileNotFoundError):
        files.write_file(tmp_path / "none" / "a", b"")
    assert os.listdir(tmp_path) == ["a"]


def test_several_files_become_valid_with_the_last(tmp_path, monkeypatch):
    renamed, original = [], os.replace

    def replace(source, target):
        assert sum(".tmp" in name for name in os.listdir(tmp_path)) == 2 - len(renamed)
        renamed.append(target.name)
        original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    files.write_files({tmp_path / "labels": "a\n", tmp_path / "model": b"m"})
    assert renamed == ["labels", "model"]


def test_of_several_files_none_is_renamed_where_one_fails(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder' is a folder. Name a file."):
        files.write_files({tmp_path / "labels": "a\n", tmp_path / "folder": b"m"})
    assert os.listdir(tmp_path) == ["folder"]


def test_folders(tmp_path):
    target = tmp_path / "pets.pack"
    with files.new_folder(target) as temporary:
        (temporary / "a").write_text("a")
        assert not target.exists()
    assert os.listdir(target) == ["a"]
    with pytest.raises(RuntimeError, match="half way"), files.new_folder(tmp_path / "b"):
        raise RuntimeError("half way")
    with pytest.raises(OSError), files.new_folder(target):
        pass  # it exists and is not empty
    assert os.listdir(tmp_path) == ["pets.pack"] and os.listdir(target) == ["a"]


KILLED = """
import os, signal, sys
from keras_seqpar.utils import files
with files.replacing(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_leaves(tmp_path):
    path = tmp_path / "checkpoint.npz"
    files.write_file(path, b"old")
    (tmp_path / ".tmp.npz").write_bytes(b"of somebody else")
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert path.read_bytes() == b"old" and len(os.listdir(tmp_path)) == 3
    files.remove_temporary_files(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".tmp.npz", "checkpoint.npz"]
