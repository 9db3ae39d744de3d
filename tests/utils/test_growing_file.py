"""Files that can be used while they grow."""

import pathlib

import pytest

from keras_seqpar.utils.growing_file import GrowingCsv, GrowingFile


def test_every_part_is_on_the_disk_at_once(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with GrowingFile(path) as file:
        assert path.read_text() == "old" and not file.is_open
        file.append(b"one,")
        assert path.read_bytes() == b"one," and file.is_open
        file.append(b"two")
        file.overwrite(0, b"ONE")
        file.append(b"!")
        assert path.read_bytes() == b"ONE,two!"
    with GrowingFile(tmp_path / "none"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_csv_is_complete_after_each_row_and_has_empty_fields(tmp_path):
    path = tmp_path / "watch.csv"
    path.write_text("of the run before")
    with GrowingCsv(path, ["frame", "ms", "predicted"]) as lines:
        assert path.read_text() == "of the run before"  # until there is a row
        lines.write({"frame": 0, "ms": 1 / 3, "predicted": "a, b"})
        first = 'frame,ms,predicted\n0,0.33333,"a, b"\n'
        assert path.read_text() == first  # at once
        lines.write({"frame": 1, "ms": None, "predicted": "c"})
    assert path.read_text() == first + "1,,c\n"
    with (
        pytest.raises(OSError, match=r"missing.watch\.csv"),
        GrowingCsv(tmp_path / "missing" / "watch.csv", ["ms"]) as lines,
    ):
        lines.write({"ms": 1.0})


class Full:
    """A disk with room for some bytes, which takes a few of them in each call."""

    def __init__(self, file, room, error):
        self.file, self.room, self.error = file, room, error

    def write(self, part):
        if not self.room:
            raise self.error
        taken = self.file.write(part[: min(3, self.room)])
        self.room -= taken
        return taken

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_part_that_does_not_fit_is_left_out(tmp_path, error):
    path = tmp_path / "a.csv"
    with GrowingFile(path) as file:
        file.append(b"first row\n")
        file._file = Full(file._file, 5, error)
        with pytest.raises(type(error), match=r"a\.csv cannot be written: No space|^$"):
            file.append(b"second row\n")
        assert path.read_bytes() == b"first row\n"
        file._file.room = 100
        file.append(b"third row\n")
    assert path.read_bytes() == b"first row\nthird row\n"


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_first_part_that_does_not_fit_leaves_no_file(tmp_path):
    path = tmp_path / "a.csv"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"a\.csv cannot be written: No space left on device. Free"):
        GrowingFile(path).append(b"row")
    assert not path.is_symlink()
