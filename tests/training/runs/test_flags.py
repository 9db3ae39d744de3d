"""flags.json: a run is not resumed as another one."""

import json

import pytest

from keras_seqpar.training.runs.flags import read_flags, resumed_values
from tests.training.runner import refused


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
