"""The loop: a run that is killed at any step, and resumed, is the run that nothing stopped."""

import csv
import time
import types

import keras
import numpy as np
import pytest

from keras_seqpar.training import loop
from keras_seqpar.training.config import RunConfig
from keras_seqpar.training.distribution import Devices
from keras_seqpar.training.runs import checkpoints
from tests import harness

STEPS, EPOCHS = 5, (2, 2)  # of both phases


class Batches(keras.utils.PyDataset):
    """Random numbers to classify, a function of epoch and step."""

    def begin(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return STEPS

    def __getitem__(self, step):
        rng = np.random.default_rng([getattr(self, "epoch", 0), step])
        x = rng.normal(size=(8, 4)).astype("float32")
        return x, (x.sum(-1, keepdims=True) > 0).astype("float32")


def train(folder, **options):
    """Two phases, the second with averaged weights; returns the trained weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), name="numbers")
    x = keras.layers.Dense(8, name="hidden")(inputs)
    x = keras.layers.BatchNormalization(name="normalization")(x)
    x = keras.layers.Dropout(0.3, seed=1, name="dropout")(x)
    network = keras.Model(inputs, keras.layers.Dense(1, name="logit")(x), name="network")

    def task(ema):
        trainer = keras.Model(inputs, network(inputs), name="trainer")
        trainer.compile(
            keras.optimizers.AdamW(0.01, use_ema=ema, ema_momentum=0.5),
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            weighted_metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0)],
            run_eagerly=harness.EAGER,
        )
        return loop.Task(trainer, lambda: (Batches(), Batches()), "")

    phases = [loop.Phase(n, lambda i=i: task(bool(i))) for i, n in enumerate(EPOCHS)]
    loop.train(phases, lambda: network, RunConfig(str(folder), **options))
    return [keras.ops.convert_to_numpy(v) for v in network.variables]


class Killed(Exception):
    """A run is over."""


def history_of(folder):
    with open(folder / "history.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return [{k: float(v) for k, v in line.items() if k != "seconds"} for line in lines]


def test_a_run_that_is_killed_at_any_step_ends_the_same(tmp_path, monkeypatch, capsys):
    """Killed before and after steps, and while a checkpoint is written."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    expected = train(whole)
    step_end, savez = checkpoints.Checkpoint.on_train_batch_end, np.savez
    rng = np.random.default_rng(0)
    kills = sorted(rng.choice(STEPS * sum(EPOCHS), 4, replace=False).tolist())
    seen = []

    def stop(callback, batch, logs=None):
        epoch = int(callback.epoch)
        seen.append(epoch * STEPS + callback._first + batch)
        if kills and seen[-1] == kills[0]:
            kills.pop(0)
            raise Killed
        step_end(callback, batch, logs)

    def half(path, **arrays):
        savez(path, **arrays)
        if len(seen) > 9 and not torn:
            torn.append(path)
            path.write_bytes(path.read_bytes()[:-100])
            raise Killed

    torn = []
    monkeypatch.setattr(checkpoints.Checkpoint, "on_train_batch_end", stop)
    monkeypatch.setattr(np, "savez", half)
    resume = False
    while kills or not torn:
        with pytest.raises(Killed):
            train(killed, resume=resume, checkpoint_steps=2, checkpoint_minutes=0)
        resume = True
    found = train(killed, resume=True, checkpoint_steps=2, checkpoint_minutes=0)
    assert "steps of the next" in capsys.readouterr().out
    assert set(seen) == set(range(STEPS * sum(EPOCHS)))
    assert len(seen) < STEPS * sum(EPOCHS) + 2 * 5  # at most two steps are trained again
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    for one, other in zip(history_of(whole), history_of(killed), strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    assert not [path for path in killed.iterdir() if ".tmp" in path.name]


def test_checkpoints_by_time(tmp_path, monkeypatch):
    """A clock that goes on by 40 seconds at every look."""
    ticks = iter(range(0, 10**6, 40))
    clock = types.SimpleNamespace(monotonic=lambda: next(ticks), perf_counter=time.perf_counter)
    monkeypatch.setattr(checkpoints, "time", clock)  # JAX looks at the real one, too
    written = []
    save = checkpoints.Checkpoint._save
    monkeypatch.setattr(
        checkpoints.Checkpoint,
        "_save",
        lambda self: (written.append((self.epoch, self.step)), save(self)),
    )
    train(tmp_path, checkpoint_minutes=1.5)
    assert written[:3] == [(0, 3), (1, 0), (1, 3)]


def test_processes_that_find_different_checkpoints(tmp_path):
    class Two(Devices):
        def gather(self, values):
            return np.array([values, [1, 2]])

    with pytest.raises(
        ValueError, match=r"different checkpoints .* \[\[0, 0\], \[1, 2\]\]"
    ) as error:
        loop.train([], keras.Model, RunConfig(str(tmp_path)), Two())
    assert "--output must be a folder that all of them share" in str(error.value)


def test_a_run_without_a_better_epoch_ends_early(tmp_path, capsys):
    """In its last phase, and once: resumed, it is over."""
    inputs = keras.Input((4,))
    network = keras.Model(inputs, keras.layers.Dense(1)(inputs))

    def task():
        network.compile(
            keras.optimizers.SGD(0.0),  # all epochs are equal
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            weighted_metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0)],
            run_eagerly=harness.EAGER,
        )
        return loop.Task(network, lambda: (Batches(), Batches()), "")

    phases = [loop.Phase(1, task), loop.Phase(6, task)]
    for resume in (False, True):
        run = RunConfig(str(tmp_path), resume=resume)
        done = loop.train(phases, lambda: network, run, patience=2)
        assert done.epoch == 3 and done.best["epoch"] == 1
        told = "ends early: no better epoch than 1." in capsys.readouterr().out
        assert told != resume
