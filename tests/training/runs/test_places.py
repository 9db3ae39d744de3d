"""A run and its data are found where they were moved to, and recognized by what they hold."""

import json
import os
import shutil

import pytest

from keras_seqpar import data
from keras_seqpar.data import fingerprints
from keras_seqpar.training.runs import flags as run_flags
from keras_seqpar.training.runs import places
from tests.training.runner import refused

pytest.importorskip("PIL.Image")


def describe(values, spec):
    """What a training writes before it trains."""
    dataset = data.load(spec, image_size=8)
    contents = fingerprints.fingerprint(dataset)
    images = {name: len(split) for name, split in dataset.splits.items()}
    return run_flags.describe(values, dataset.categories, images, contents), contents


@pytest.fixture
def project(images, tmp_path, monkeypatch):
    """A folder with data, a file of a hierarchy, and a run that names both by relative paths."""
    folder = tmp_path / "project"
    shutil.copytree(images, folder / "data")
    (folder / "tree.json").write_text('["bright", "dark"]')
    monkeypatch.chdir(folder)
    values = {"dataset": "folder:data", "hierarchy": "tree.json", "output": "run", "epochs": 3}
    os.mkdir("run")
    run_flags.write_flags(folder / "run", *describe(values, "folder:data"))
    return folder


def resumed(folder, given=(), **values):
    empty = {"dataset": "digits", "hierarchy": None, "epochs": None}
    return run_flags.resumed_values({**empty, "output": str(folder), **values}, given)


def test_another_working_directory(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = resumed("project/run")
    assert found["dataset"] == f"folder:{project / 'data'}"
    assert found["hierarchy"] == str(project / "tree.json")
    now, contents = describe(found, found["dataset"])
    run_flags.check_same(project / "run", now, contents)


def test_the_project_moved(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    moved = project.rename(tmp_path / "moved")
    found = resumed(moved / "run")
    assert found["dataset"] == f"folder:{moved / 'data'}"
    now, contents = describe(found, found["dataset"])
    run_flags.check_same(moved / "run", now, contents)


def test_only_the_data_moved(project, tmp_path):
    (project / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError) as error:
        resumed("run")
    text = f"--dataset of the run in run was {project / 'data'}, where nothing is now."
    assert text in str(error.value) and "--dataset folder:PATH" in str(error.value)
    spec = f"folder:{tmp_path / 'elsewhere'}"
    now, contents = describe(resumed("run", {"dataset"}, dataset=spec), spec)
    run_flags.check_same(project / "run", now, contents)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "elsewhere")
    spec = f"archive:{tmp_path / 'packed.zip'}"
    now, contents = describe(resumed("run", {"dataset"}, dataset=spec), spec)
    run_flags.check_same(project / "run", now, contents)


def test_a_file_is_recognized_by_its_content(project):
    (project / "tree.json").rename(project / "same.json")
    now, contents = describe(resumed("run", {"hierarchy"}, hierarchy="same.json"), "folder:data")
    run_flags.check_same(project / "run", now, contents)
    (project / "tree.json").write_text('["dark", "bright"]')
    now, contents = describe(resumed("run"), "folder:data")
    with pytest.raises(ValueError, match=r"--hierarchy: .*tree\.json in the run, .*tree\.json"):
        run_flags.check_same(project / "run", now, contents)


def test_other_images_are_refused_with_their_names(finished, images, tmp_path):
    folder, changed = tmp_path / "run", tmp_path / "data"
    shutil.copytree(finished, folder)
    shutil.copytree(images, changed)
    resume = [f"--output={folder}", "--resume", f"--dataset=folder:{changed}"]
    dark = changed / "train" / "dark"
    content = (dark / "3.png").read_bytes()
    shutil.copy(changed / "train" / "bright" / "0.png", dark / "3.png")
    error = refused(resume)
    assert "images 1 with another content or category: train/dark/3.png" in error
    (dark / "3.png").write_bytes(content)
    (dark / "5.png").rename(dark / "new.png")  # one removed, another added: the counts stay
    error = refused(resume)
    assert "images 1 missing: train/dark/5.png" in error
    assert "images 1 new: train/dark/new.png" in error and "another content" not in error
    (folder / "images.csv").unlink()
    assert "images.csv cannot be read" in refused(resume)


def test_a_run_of_an_earlier_version_is_resumed_with_a_note(project, capsys):
    path = project / "run" / "flags.json"
    about = json.loads(path.read_text())
    del about["images_sha256"], about["places"]
    path.write_text(json.dumps(about))
    now, contents = describe(resumed("run"), "folder:data")
    run_flags.check_same(project / "run", now, contents)
    assert "Note: the run began with an earlier version" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("folder:a/b", ("folder:", "a/b")),
        ("archive:C:\\x.zip", ("archive:", "C:\\x.zip")),
        ("timm:resnet50", ("timm:", "resnet50")),
        ("best.keras", ("", "best.keras")),
        ("digits", ("", "digits")),
        (None, ("", "")),
    ],
)
def test_paths_in_flags(value, parts):
    assert places.split_path(value) == parts


def test_names_that_are_no_files_have_no_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet50").mkdir()
    values = {"dataset": "digits", "init": "timm:resnet50", "teacher": None}
    assert places.find_places(values, "run") == {}
    assert places.locate("timm:resnet50", {}, "run") == "timm:resnet50"
