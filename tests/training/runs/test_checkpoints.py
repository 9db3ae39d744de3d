"""A killed run ends as any other: what a run writes, and what it refuses."""

import errno
import json
import os
import signal
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.training.runs.checkpoints import Checkpoint
from tests.training.runner import SIZE, TINY, flags, history_of, refused, simple, train, weights_of


def test_a_run_leaves_all_its_files(finished, images):
    made = {path.name for path in finished.iterdir()}
    assert made - {"curves.png", "tensorboard"} == {
        *("flags.json", "images.csv", "checkpoint.npz", "best.keras", "last.keras", "history.csv"),
        ".lock",
    }
    about = json.loads((finished / "flags.json").read_text())
    assert about["categories"] == ["bright", "dark"]
    assert about["images"] == {"train": 20, "validation": 6}
    assert about["backend"] == keras.backend.backend()
    assert about["versions"]["keras"] == keras.__version__
    assert about["flags"]["stem"] == "small"  # resolved
    assert about["flags"]["learning_rate"] == 0.002
    history = history_of(finished)
    assert [line["epoch"] for line in history] == [1, 2, 3]
    assert np.isfinite([list(line.values()) for line in history]).all()
    assert history[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)


def test_saved_networks_are_ready_for_use(finished, images):
    for name in ("best.keras", "last.keras"):
        network = keras.models.load_model(finished / name)
        assert not network.compiled
        assert network.get_layer("categories").classifier_activation == "softmax"
        split = data.load(f"folder:{images}", image_size=SIZE).validation
        scores = network.predict(split.read(range(6)), verbose=0)  # pixels of 0 to 255
        np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-6)
        assert sp.cutout(network, ["dark"]).output_shape == (None, 1)


def test_best_is_the_epoch_of_the_highest_validation_accuracy(finished, images):
    network = keras.models.load_model(finished / "best.keras")
    split = data.load(f"folder:{images}", image_size=SIZE).validation
    predicted = network.predict(split.read(range(6)), verbose=0).argmax(-1)
    best = max(line["val_accuracy"] for line in history_of(finished))
    assert np.mean(predicted == split.labels) == pytest.approx(best)


KILLED_WHILE_SAVING = """
import os, signal, sys
import numpy

savez = numpy.savez

def killed(path, **arrays):
    savez(path, **arrays)
    if b'"epoch": 1' in arrays["meta"].tobytes() and b'"step": 1' in arrays["meta"].tobytes():
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

numpy.savez = killed
"""


# What the scripts end with: recipes/train.py as from the command line.
RUN = """
import runpy
runpy.run_path("recipes/train.py", run_name="__main__")
"""


def killed(script, arguments, root):
    """Runs recipes/train.py so that it kills its own process."""
    environment = {**os.environ, "PYTHONPATH": str(root), "KERAS_BACKEND": keras.backend.backend()}
    command = [sys.executable, "-c", TINY + script + RUN, *arguments]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def test_a_killed_run_resumes_to_the_same_weights(finished, images, tmp_path, root):
    """Killed while it writes a checkpoint in its second epoch."""
    folder = tmp_path / "killed"
    killed(KILLED_WHILE_SAVING, flags(images, folder, "--checkpoint_steps=1"), root)
    assert len(history_of(folder)) == 1
    assert [path for path in folder.iterdir() if ".tmp" in path.name]
    (folder / "history.csv").unlink()  # killed after the checkpoint, before the history
    train([f"--output={folder}", "--resume"])

    assert not [path for path in folder.iterdir() if ".tmp" in path.name]
    for name in ("last.keras", "best.keras"):
        one, other = weights_of(finished / name), weights_of(folder / name)
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_allclose(other[key], one[key], rtol=1e-6, atol=1e-7)
    for one, other in zip(history_of(finished), history_of(folder), strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    with np.load(finished / "checkpoint.npz") as one, np.load(folder / "checkpoint.npz") as other:
        assert one.files == other.files
        for key in set(one.files) - {"meta"}:
            np.testing.assert_allclose(other[key], one[key], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "flags.json").unlink(), "There is no run to resume in"),
        (lambda folder: (folder / "flags.json").write_text("{"), "is no flags file of a run"),
        (lambda folder: (folder / "flags.json").write_text("[]"), "is no flags file of a run"),
        (lambda folder: os.truncate(folder / "checkpoint.npz", 5000), "is no readable checkpoint"),
        (
            lambda folder: np.savez(folder / "checkpoint.npz", a=np.zeros(3)),
            "is no readable checkpoint",
        ),
        (
            lambda folder: np.savez(
                folder / "checkpoint.npz", meta=np.frombuffer(b'{"history": [{}]}', "uint8")
            ),
            "is the checkpoint of another network",
        ),
    ],
)
def test_damaged_run_folders(finished, tmp_path, damage, words):
    for name in ("flags.json", "checkpoint.npz"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    damage(tmp_path)
    assert words in refused([f"--output={tmp_path}", "--resume"])


def test_a_full_disk_leaves_the_checkpoint_before(images, tmp_path, monkeypatch):
    savez = np.savez

    def full(path, **arrays):
        if b'"epoch": 1' in arrays["meta"].tobytes():
            path.write_bytes(b"PK")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        savez(path, **arrays)

    monkeypatch.setattr(np, "savez", full)
    folder = tmp_path / "run"
    error = refused(simple(images, folder, "--checkpoint_steps=1"))
    assert error.startswith(f"{folder / 'checkpoint.npz'} cannot be written: No space left on")
    assert error.endswith(f"Continue the run with --resume --output {folder}.")
    with np.load(folder / "checkpoint.npz") as file:
        assert json.loads(file["meta"].tobytes())["step"] == 1
    assert not [path for path in folder.iterdir() if ".tmp" in path.name]


def test_an_infinite_validation_loss_stops_the_run(tmp_path):
    checkpoint = Checkpoint(tmp_path, snapshot=keras.Model)
    model = types.SimpleNamespace(stop_training=False)
    checkpoint.set_model(model)
    logs = {"loss": 1.0, "accuracy": 0.5, "val_loss": float("inf"), "val_accuracy": 0.5}
    checkpoint.on_epoch_end(0, logs)
    assert checkpoint.diverged and model.stop_training and not checkpoint.history


LINES = [
    {"val_accuracy": 0.98, "val_balanced_accuracy": 0.5, "val_loss": 0.3},
    {"val_accuracy": 0.9, "val_balanced_accuracy": 0.8, "val_loss": 0.4},
    {"val_accuracy": 0.9, "val_balanced_accuracy": 0.7, "val_loss": 0.2},
    {"val_accuracy": 0.9, "val_balanced_accuracy": 0.8, "val_loss": 0.35},
]


@pytest.mark.parametrize(
    ("best_by", "epoch"), [("accuracy", 0), ("balanced_accuracy", 3), ("loss", 2)]
)
def test_what_makes_an_epoch_the_best(tmp_path, best_by, epoch):
    checkpoint = Checkpoint(tmp_path, keras.Model, best_by=best_by)
    checkpoint.history = LINES
    assert checkpoint.best is LINES[epoch]
