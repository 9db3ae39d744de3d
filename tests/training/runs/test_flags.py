"""flags.json: a run is not resumed as another one."""

import json

import pytest

from keras_seqpar.data import loading
from keras_seqpar.training.config import RunConfig
from keras_seqpar.training.flags import parse_train_flags
from keras_seqpar.training.runs.flags import read_flags, resumed_values, write_start
from keras_seqpar.training.runs.folder import open_folder
from tests.training.runner import refused, simple, train


def test_resuming_as_another_run_shows_the_difference(finished, images):
    arguments = [f"--output={finished}", "--resume", "--epochs=5", "--optimizer=sgd"]
    error = refused(arguments)
    assert "--epochs: 3 in the run, 5 now" in error
    assert "--optimizer: adamw in the run, sgd now" in error
    assert "--width" not in error


def test_resuming_with_other_data_shows_the_difference(finished, images, tmp_path):
    about = json.loads((finished / "flags.json").read_text())
    about["categories"] = ["bright", "gray"]
    about["backend"] = "another"
    (tmp_path / "flags.json").write_text(json.dumps(about))
    error = refused([f"--output={tmp_path}", "--resume"])
    assert "categories: ['bright', 'gray'] in the run, ['bright', 'dark'] now" in error
    assert "backend: another in the run" in error


@pytest.mark.parametrize(
    ("variant", "network", "plan"),
    [
        ("early", "seqpar", "early"),
        ("plain", "plain", "late_sp"),
        ("1branch", "one_branch", "late_sp"),
    ],
)
def test_flags_of_earlier_versions_get_their_present_names(tmp_path, variant, network, plan):
    stored = {"variant": variant, "drop_path": 0.1, "width": 0.5, "data_dir": "/data"}
    stored["family"] = "resnet18"
    (tmp_path / "flags.json").write_text(json.dumps({"flags": stored}))
    expected = {"network": network, "plan": plan, "drop_path_rate": 0.1, "width": 0.5}
    expected |= {"family": "resnet18"}
    assert read_flags(tmp_path)["flags"] == expected | {"data_dir": "/data"}
    now = {"output": str(tmp_path), "network": "seqpar", "plan": "late_sp", "width": 1.0}
    now |= {"drop_path_rate": 0.0, "data_dir": None, "family": None, "partial_init": False}
    made = resumed_values(now, given={"width"})
    expected |= {"partial_init": False}
    assert made == expected | {"output": str(tmp_path), "data_dir": "/data", "width": 1.0}


def test_a_run_that_was_stopped_before_its_first_file(images, tmp_path, monkeypatch, capsys):
    def stop(*args, **named):
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loading, "load", stop)
        train(simple(images, folder, "--width=0.25"))
    (folder / ".flags.01234567-1.tmp.json").touch()  # and while it wrote another
    assert sorted(json.loads((folder / "flags.json").read_text())) == ["flags", "places"]
    train([f"--output={folder}", "--resume"])
    printed = capsys.readouterr().out
    assert f"{folder} has no checkpoint yet: the run starts from the beginning." in printed
    assert "width 0.25" in printed
    assert not [path for path in folder.iterdir() if ".tmp" in path.name]


def test_a_folder_in_which_nothing_began_counts_as_empty(tmp_path):
    write_start(tmp_path, {"output": str(tmp_path), "dataset": "digits"})
    (tmp_path / ".images.01234567-1.tmp.csv").touch()
    with open_folder(RunConfig(str(tmp_path))):
        assert {path.name for path in tmp_path.iterdir()} == {"flags.json", ".lock"}
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="is not empty"), open_folder(RunConfig(str(tmp_path))):
        pass


def test_nothing_to_resume(tmp_path, capsys):
    """Killed before it wrote anything at all."""
    missing = tmp_path / "run"
    error = refused([f"--output={missing}", "--resume"])
    assert f"There is no run to resume in {missing}: it has no flags.json." in error
    assert "start it again with all its flags" in error
    arguments = [f"--output={missing}", "--resume", "--setting=two_cores", "--width=0.25"]
    config, run = parse_train_flags(arguments)
    assert not run.resume and config.network.width == 0.25 and config.optimizer.epochs == 80
    printed = capsys.readouterr().out
    assert f"There is nothing to resume in {missing} yet: the run starts from the" in printed
    missing.mkdir()
    (missing / "notes.txt").touch()
    assert "it has no flags.json, but other files" in refused(arguments)


def test_a_network_without_flags_beside_it(tmp_path):
    with pytest.raises(ValueError, match=r"has no flags\.json, .* a network in it\.") as error:
        read_flags(tmp_path)
    assert "--resume" not in str(error.value)
