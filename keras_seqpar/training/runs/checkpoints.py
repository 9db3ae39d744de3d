"""checkpoint.npz and the saved networks of a run, kept up to date after every epoch and between.

Keras's `BackupAndRestore` saves every so many steps, too, but resumes at the first step of the
epoch and without the metrics of the steps before, so that steps are trained twice; and a kill while
it writes can leave a damaged file. So the checkpoint here is written whole or not at all, knows its
step, and holds the running sums of the metrics.
"""

import json
import math
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_seqpar.training.balance import BEST_BY
from keras_seqpar.training.distribution import ONE_DEVICE, Devices
from keras_seqpar.training.optimizers import highest_rate
from keras_seqpar.training.runs.history import open_tensorboard, write_history
from keras_seqpar.utils.files import replacing


def save_model(model: keras.Model, path: Path) -> None:
    """Saves a model to a `.keras` file."""
    with replacing(path) as temporary:
        model.save(temporary)


_SUM = "metric "  # begins the names of the metrics' running sums in the file


def _array(variable: keras.Variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))


def state_of(model: keras.Model) -> dict[str, keras.Variable]:
    """All variables that training changes: of weights, random seeds and the optimizer."""
    metrics = {id(v) for v in model.metrics_variables}
    network = [v for v in model.variables if id(v) not in metrics]
    variables = [*network, *model.optimizer.variables]
    return {f"{i:05d} {v.name}": v for i, v in enumerate(variables)}


class Checkpoint(keras.callbacks.Callback):
    """Keeps the run folder up to date after every epoch, and its checkpoint between epochs, too.

    Args:
        folder: the run folder.
        snapshot: returns the network to save, ready for use, with the current weights.
        devices: the devices that train; only their first process writes.
        best_by: what makes an epoch the best: a key of `BEST_BY`.
        every_steps: steps of an epoch between checkpoints; 0 for none.
        every_minutes: minutes between checkpoints; 0 for none.
        draw: draws predictions of the network of the best epoch so far, as a PNG image, for
            TensorBoard; `None` for no images.

    Attributes:
        step: number of steps that the checkpoint knows of the epoch after the complete ones.
        steps: number of steps of an epoch.
        missed_now: returns the labels of which no validation image was right in the last epoch.
        patience: epochs without a better one after which the training ends, counted from epoch
            `patient_from` on; 0 for never.
        averages: puts averaged weights into the network for a validation; `None` if there are
            none. The network is saved with them.
    """

    def __init__(
        self,
        folder: Path,
        snapshot: Callable[[], keras.Model],
        devices: Devices = ONE_DEVICE,
        *,
        best_by: str = "accuracy",
        every_steps: int = 0,
        every_minutes: float = 0.0,
        draw: Callable[[keras.Model], bytes] | None = None,
    ):
        super().__init__()
        self.devices, self.draw = devices, draw
        self.folder, self.snapshot = folder, snapshot
        self.every_steps, self.every_seconds = every_steps, 60 * every_minutes
        self.path = folder / "checkpoint.npz"
        self.history: list[dict[str, float]] = []
        self.step = self.steps = 0
        self.missed: list[str] = []  # of the best epoch
        self.missed_now: Callable[[], list[str]] = list
        self.averages: keras.callbacks.SwapEMAWeights | None = None
        self.best_by = best_by
        self.patience = self.patient_from = 0
        self.diverged = False
        self._state: dict[str, np.ndarray] = {}  # as it was read
        self._sums: list[np.ndarray] = []  # of the metrics, as they were read
        self._first = 0  # step of the epoch with which `fit` began
        self._seconds = 0.0  # of the epoch, before
        self._saved = time.monotonic()
        if devices.first:
            self._log = open_tensorboard(folder / "tensorboard")

    @property
    def epoch(self) -> int:
        """Number of complete epochs."""
        return len(self.history)

    @property
    def best(self) -> dict[str, float]:
        """The line of the best epoch; among equals the one with the least validation loss."""
        column, more = BEST_BY[self.best_by]
        sign = 1 if more else -1
        return max(self.history, key=lambda line: (sign * line[column], -line["val_loss"]))

    @property
    def is_over(self) -> bool:
        """Whether the last epochs, as many as `patience`, were no better than one before.

        Keras's `EarlyStopping` forgets what it has seen when a run is resumed; the history stays.
        """
        if not self.patience or not self.history:
            return False
        return self.epoch - max(self.best["epoch"], self.patient_from) >= self.patience

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._started, self._seconds = time.perf_counter() - self._seconds, 0.0
        self._first = self.step

    def on_train_batch_end(self, batch, logs=None):
        """Writes a checkpoint if it is time for one; adds the sums of a resumed epoch's metrics."""
        if self._sums:  # here, since TensorFlow makes the metrics in the first step
            self._synchronize()
            for variable, value in zip(self.model.metrics_variables, self._sums, strict=True):
                variable.assign(_array(variable) + value)
            self._sums = []
        step = self._first + batch + 1
        if step < self.steps and self._is_due(step):
            self.step = step
            self._save()

    def _is_due(self, step: int) -> bool:
        if self.every_steps and step % self.every_steps == 0:
            return True
        if not self.every_seconds or step % self.devices.steps_to_agree:
            return False
        return self.devices.first_says(time.monotonic() - self._saved > self.every_seconds)

    def on_epoch_end(self, epoch, logs=None):
        """Writes all files of the run."""
        logs = {name: float(value) for name, value in logs.items()}
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["val_loss"])):
            self.diverged = True
            self.model.stop_training = True
            return
        line = {"epoch": epoch + 1} | logs
        line["learning_rate"] = highest_rate(self.model.optimizer)
        line["seconds"] = round(time.perf_counter() - self._started, 2)
        self.history.append(line)
        self.step = 0
        image = None
        if self.best is line:
            self.missed = self.missed_now()
            image = self._save_best()
        self._save()
        self.model.stop_training = self.is_over
        if not self.devices.first:
            return
        if self.is_over:
            print(f"The training ends early: no better epoch than {self.best['epoch']}.")
        write_history(self.folder / "history.csv", self.history)
        self._log(line, image)

    def _save_best(self) -> bytes | None:
        if self.averages:  # every process swaps: it rounds
            self.averages.on_test_begin()
        network = self.snapshot()  # in every process: on JAX, all assign together
        if self.devices.first:
            save_model(network, self.folder / "best.keras")
        image = self.draw(network) if self.draw else None
        if self.averages:
            self.averages.on_test_end()
        return image

    def _synchronize(self) -> None:
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # between steps, the state is not in the variables

    def _save(self) -> None:
        self._saved = time.monotonic()
        self._synchronize()
        values = {name: _array(variable) for name, variable in state_of(self.model).items()}
        sums = [self.devices.mean(_array(v)) for v in self.model.metrics_variables if self.step]
        if self._first:  # to go on with, see `restore`
            self._state = values
        if not self.devices.first:
            return
        about = {
            "history": self.history,
            "missed": self.missed,
            "step": self.step,
            "seconds": time.perf_counter() - self._started if self.step else 0,
        }
        arrays: dict[str, Any] = values | {f"{_SUM}{i}": value for i, value in enumerate(sums)}
        arrays["meta"] = np.frombuffer(json.dumps(about).encode(), "uint8")
        with replacing(self.path) as temporary:
            np.savez(temporary, **arrays)

    def read(self) -> None:
        """Reads the checkpoint, if there is one.

        Raises:
            ValueError: the checkpoint is damaged.
        """
        if not self.path.exists():  # killed in its first epoch
            return
        try:
            with np.load(self.path, allow_pickle=False) as file:
                self._state = {name: file[name] for name in file.files}
            meta = json.loads(self._state.pop("meta").tobytes())
            self.history, self.missed = meta["history"], meta.get("missed", [])
            self.step, self._seconds = meta.get("step", 0), meta.get("seconds", 0.0)
            count = sum(name.startswith(_SUM) for name in self._state)
            self._sums = [self._state.pop(f"{_SUM}{i}") for i in range(count)]
        except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
            raise ValueError(f"{self.path} is no readable checkpoint: {error}") from error

    def restore(self, model: keras.Model) -> None:
        """Loads what was read into a compiled model, or what was saved after a resumed epoch.

        Args:
            model: built and compiled as when the checkpoint was written.

        Raises:
            ValueError: the checkpoint is of another network.
        """
        found, self._state = self._state, {}
        with self.devices.scope():
            model.optimizer.build(model.trainable_variables)
        expected = state_of(model)
        shapes = {name: tuple(variable.shape) for name, variable in expected.items()}
        if {name: value.shape for name, value in found.items()} != shapes:
            raise ValueError(
                f"{self.path} is the checkpoint of another network or optimizer: it holds "
                f"{len(found)} arrays instead of {len(expected)}, or their names or shapes differ."
            )
        for name, variable in expected.items():
            variable.assign(found[name])
        if self.devices.first:  # a run may be killed between the checkpoint and the history
            write_history(self.folder / "history.csv", self.history)
