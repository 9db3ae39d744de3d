"""checkpoint.npz and the saved networks of a run, kept up to date after every epoch."""

import json
import math
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

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


def state_of(model: keras.Model) -> dict[str, keras.Variable]:
    """All variables that training changes: of weights, random seeds and the optimizer."""
    metrics = {id(v) for v in model.metrics_variables}
    network = [v for v in model.variables if id(v) not in metrics]
    variables = [*network, *model.optimizer.variables]
    return {f"{i:05d} {v.name}": v for i, v in enumerate(variables)}


class Checkpoint(keras.callbacks.Callback):
    """Keeps the run folder up to date after every epoch.

    Args:
        folder: the run folder.
        snapshot: returns the network to save, ready for use, with the current weights.
        devices: the devices that train; only their first process writes.
        best_by: what makes an epoch the best: a key of `BEST_BY`.

    Attributes:
        missed_now: returns the labels of which no validation image was right in the last epoch.
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
    ):
        super().__init__()
        self.devices = devices
        self.folder, self.snapshot = folder, snapshot
        self.path = folder / "checkpoint.npz"
        self.history: list[dict[str, float]] = []
        self.missed: list[str] = []  # of the best epoch
        self.missed_now: Callable[[], list[str]] = list
        self.averages: keras.callbacks.SwapEMAWeights | None = None
        self.best_by = best_by
        self.diverged = False
        self._state: dict[str, np.ndarray] = {}  # as it was read
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

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Writes all files of the run."""
        logs = {name: float(value) for name, value in logs.items()}
        logs |= {
            name: self.devices.mean(logs[name]) for name in logs if not name.startswith("val_")
        }
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["val_loss"])):
            self.diverged = True
            self.model.stop_training = True
            return
        line = {"epoch": epoch + 1} | logs
        line["learning_rate"] = highest_rate(self.model.optimizer)
        line["seconds"] = round(time.perf_counter() - self._started, 2)
        self.history.append(line)
        if self.best is line:
            self.missed = self.missed_now()
        if self.best is line:
            self._save_best()
        if not self.devices.first:
            return
        self._save()
        write_history(self.folder / "history.csv", self.history)
        self._log(line)

    def _save_best(self) -> None:
        if self.averages:  # every process swaps: it rounds
            self.averages.on_test_begin()
        if self.devices.first:
            save_model(self.snapshot(), self.folder / "best.keras")
        if self.averages:
            self.averages.on_test_end()

    def _save(self) -> None:
        arrays = {
            name: np.asarray(keras.ops.convert_to_numpy(variable))
            for name, variable in state_of(self.model).items()
        }
        text = json.dumps({"history": self.history, "missed": self.missed})
        arrays["meta"] = np.frombuffer(text.encode(), "uint8")
        with replacing(self.path) as temporary:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]

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
        except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
            raise ValueError(f"{self.path} is no readable checkpoint: {error}") from error

    def restore(self, model: keras.Model) -> None:
        """Loads what was read into a compiled model.

        Args:
            model: built and compiled as when the checkpoint was written.

        Raises:
            ValueError: the checkpoint is of another network.
        """
        found, self._state = self._state, {}
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
