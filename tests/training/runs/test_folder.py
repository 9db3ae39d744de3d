"""The folder of a run: which are refused, and what is removed."""

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
    open_folder(RunConfig(str(tmp_path), overwrite=True))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
