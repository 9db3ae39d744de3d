import errno
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


def unwritten(code, path=None):
    return OSError(code, os.strerror(code), path)


class OfALibrary(Exception):
    """Libraries have errors of their own, in which the system's is hidden."""


def in_a_cause(code):
    try:
        try:
            raise unwritten(code)
        except OSError as error:
            raise OfALibrary("Unable to flush") from error
    except OfALibrary as error:
        return error


REASONS = [
    (errno.ENOSPC, OSError, "Free some space there"),
    (errno.EDQUOT, OSError, "Free some space there"),
    (errno.EFBIG, OSError, "ulimit -f"),
    (errno.EROFS, OSError, "Write to another folder"),
    (errno.EACCES, PermissionError, "change who may write there"),
]


@pytest.mark.parametrize(("code", "kind", "way_on"), REASONS)
@pytest.mark.parametrize(
    "make",
    [
        lambda code, temporary: unwritten(code),
        lambda code, temporary: unwritten(code, str(temporary)),
        lambda code, temporary: in_a_cause(code),
    ],
    ids=["without a path", "with the temporary path", "in an error of a library"],
)
def test_an_error_of_the_disk_names_the_file_and_the_way_on(tmp_path, code, kind, way_on, make):
    path = tmp_path / "checkpoint.npz"
    files.write_file(path, b"old")
    with pytest.raises(kind) as raised, files.replacing(path) as temporary:
        temporary.write_bytes(b"ha")
        raise make(code, temporary)
    text = str(raised.value)
    assert text.startswith(f"{path} cannot be written: {os.strerror(code)}.")
    assert way_on in text and ".tmp" not in text
    assert raised.value.errno == code
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == [path.name]


def test_the_text_of_a_library_is_understood(tmp_path):
    path = tmp_path / "net.keras"
    text = "Can't write data (errno = 28, error message = 'No space left on device')"
    with pytest.raises(OSError, match="Free some space") as raised, files.replacing(path):
        raise RuntimeError(text)
    assert str(raised.value).startswith(f"{path} cannot be written: {text}.")
    assert raised.value.errno == errno.ENOSPC


def test_errors_inside_a_new_folder_name_its_own_path(tmp_path):
    target = tmp_path / "pets.pack"
    with pytest.raises(OSError) as raised, files.new_folder(target) as work:
        with files.replacing(work / "trunk.tflite"):
            raise unwritten(errno.ENOSPC)
    assert str(raised.value).startswith(f"{target / 'trunk.tflite'} cannot be written: No space")
    assert os.listdir(tmp_path) == []


def test_errors_about_other_files_and_of_other_kinds_pass(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, files.replacing(tmp_path / "a"):
        open(tmp_path / "missing.jpg")
    assert "missing.jpg" in str(raised.value) and "cannot be written" not in str(raised.value)
    with pytest.raises(ValueError, match="^no$"), files.replacing(tmp_path / "a"):
        raise ValueError("no")


def test_missing_and_impossible_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a cannot be written: .*Make it, and run this"):
        files.write_file(tmp_path / "none" / "a", b"")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"A part of its path is a file"):
        files.write_json(tmp_path / "file" / "deeper" / "a.json", {})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_a_device_that_is_full(tmp_path):
    with pytest.raises(OSError, match=r"^/dev/full cannot be written: No space left on device\."):
        with files.naming_unwritten("/dev/full"), open("/dev/full", "w") as file:
            file.write("x" * 100_000)


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    path = tmp_path / "a[1]*.keras"
    other = tmp_path / "b.keras"
    for target in (path, other):
        subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert len(os.listdir(tmp_path)) == 2
    with files.replacing(path) as one, files.replacing(path) as beside:
        assert one.write_bytes(b"new") and beside.write_bytes(b"new")  # both of this process
        left = [name for name in os.listdir(tmp_path) if not name.startswith(".b.")]
        assert sorted(left) == sorted([one.name, beside.name])
    assert path.read_bytes() == b"new"
    files.write_file(other, b"")
    assert sorted(os.listdir(tmp_path)) == ["a[1]*.keras", "b.keras"]


def test_the_next_writer_removes_a_folder_that_a_killed_one_left(tmp_path):
    script = """
import os, signal, sys
from keras_seqpar.utils import files
with files.new_folder(sys.argv[1]) as temporary:
    (temporary / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    target = tmp_path / "pets.pack"
    subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert [name for name in os.listdir(tmp_path) if ".tmp" in name]
    with files.new_folder(target):
        pass
    assert os.listdir(tmp_path) == ["pets.pack"]


def test_temporary_files_of_running_processes_stay(tmp_path):
    running = tmp_path / f".a.01234567-{os.getppid()}.tmp.json"
    running.touch()
    files.write_file(tmp_path / "a.json", b"{}")
    assert running.exists()


def test_the_way_on_where_no_file_is_named():
    text = files.with_way_on(unwritten(errno.ENOSPC))
    assert text.startswith("the output, or a temporary file in ") and "Free some space" in text
    text = files.with_way_on(unwritten(errno.ENOSPC, "/tmp/x"))
    assert text.startswith("/tmp/x cannot be written: No space left on device. Free some space")
    assert files.with_way_on(unwritten(errno.ENOENT, "/x")).endswith("directory: '/x'")
    assert files.with_way_on(ValueError("no")) == "no"
    with pytest.raises(OSError) as raised, files.naming_unwritten("a.npz"):
        raise unwritten(errno.ENOSPC)
    assert files.with_way_on(raised.value) == str(raised.value)
    more = OSError(f"{raised.value} Continue with --resume.")
    more.errno = errno.ENOSPC
    assert files.with_way_on(more) == str(more)


def test_a_new_folder_in_place_of_a_temporary_one_needs_no_second_name(tmp_path):
    target = tmp_path / "pets.pack"
    with files.new_folder(target) as work:
        with files.new_folder(work) as same:
            assert same == work
            (same / "a").touch()
        assert os.listdir(tmp_path) == [work.name]
    assert os.listdir(target) == ["a"]
