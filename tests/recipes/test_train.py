"""The training command: its help, its messages and its exit codes."""

import io

import numpy as np
import pytest

from keras_seqpar.training.config import ClassificationConfig, RunConfig, field_names
from tests import commands
from tests.training.runner import logged, simple, tiny_plan, weights_of, write_images

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def _tiny():
    with tiny_plan():
        yield


def call(*arguments):
    return commands.call("recipes/train.py", *arguments)


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(tmp_path, capsys):
    folder = tmp_path / "run"
    images = write_images(tmp_path / "images")
    arguments = simple(images, folder)
    assert call(*arguments) == 0
    assert f"Files: {folder}" in capsys.readouterr().out
    image = logged(folder)[1, "predictions"].string_val[2]
    assert Image.open(io.BytesIO(image)).size[0] > 100
    before = weights_of(folder / "last.keras")
    assert call(f"--output={folder}", "--resume") == 0
    assert "Validation top-1" in capsys.readouterr().out
    after = weights_of(folder / "last.keras")
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert call(*arguments) == 1
    assert "is not empty" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(tmp_path, monkeypatch, capsys):
    images = write_images(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    assert call(*simple(images, "run"), "--dry_run") == 0
    printed = capsys.readouterr().out
    assert "2 categories, 20 images to train on" in printed and "training step" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--familly=resnet18"], "error: Unknown command line flag 'familly'. Did you mean: fam"),
        (["--batch_size=0"], "error: flag --batch_size=0: 0 is not a positive integer"),
        (["--setting=two_core"], "value should be one of <"),
        (["--learning_rate=0"], "error: --learning_rate must be above 0, got 0.0"),
        (["--dataset=mnist"], "error: Unknown data set 'mnist'"),
        (["--resume"], "error: Say which run to resume"),
        (["digits"], "error: arguments without a flag: digits (--help lists all flags)"),
    ],
)
def test_bad_flags(tmp_path, capsys, arguments, words):
    output = [] if arguments == ["--resume"] else [f"--output={tmp_path / 'run'}"]
    assert call(*output, *arguments) == 1
    assert words in capsys.readouterr().err


def test_help_lists_all_flags_in_groups(capsys):
    assert call("--help") == 0
    text = capsys.readouterr().out
    for title in ("Data:", "Network:", "Training:", "Augmentation:", "Run:"):
        assert f"\n{title}\n" in text
    names = [*field_names(ClassificationConfig), *field_names(RunConfig), "setting"]
    assert len(names) > 30
    assert all(f"  --{name} " in text or f"  --[no]{name} " in text for name in names)
    assert "[digits: 32, others: 64]" in text
