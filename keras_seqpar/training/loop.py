"""The one training loop: Keras's `fit`, in a folder, so that a killed run can be resumed."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_seqpar.training.config import RunConfig
from keras_seqpar.training.distribution import ONE_DEVICE, Devices
from keras_seqpar.training.runs.checkpoints import Checkpoint, save_model


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of the loop.

    Args:
        trainer: the compiled model that `fit` trains: augmentation, network and losses.
        batches: the training batches; `begin(epoch)` shuffles them.
        validation: the batches to validate on.
        snapshot: returns the network to save, with the current weights.
        advice: what the user can try if the loss becomes infinite or NaN.
        best_by: what makes an epoch the best: a key of `BEST_BY`.
        class_weight: category index -> weight in the loss, as `fit` takes it.
        missed: returns the labels of which no validation image was right, after each validation.
    """

    trainer: keras.Model
    batches: Any
    validation: Any
    snapshot: Callable[[], keras.Model]
    advice: str
    best_by: str = "accuracy"
    class_weight: Mapping[int, float] | None = None
    missed: Callable[[], list[str]] = list


def train(task: Task, epochs: int, run: RunConfig, devices: Devices = ONE_DEVICE) -> Checkpoint:
    """Trains, and writes checkpoints, the history and the last network into the run's folder.

    Args:
        task: what to train.
        epochs: passes over the training images.
        run: where to write, and whether to resume.
        devices: the devices that train; only the first process writes files and shows progress.

    Returns:
        The checkpoint of the finished run, with its history.

    Raises:
        ValueError: a damaged checkpoint, or a loss that is infinite or NaN.
        OSError: a file could not be written.
    """
    folder = Path(run.output)
    checkpoint = Checkpoint(
        folder,
        task.snapshot,
        task.batches.begin,
        devices,
        best_by=task.best_by,
        missed=task.missed,
    )
    if run.resume:
        checkpoint.restore(task.trainer)
    if checkpoint.epoch:
        print(f"Resuming after epoch {checkpoint.epoch} of {epochs}.")
    elif run.resume:
        print(f"{folder} has no checkpoint yet: the run starts from the beginning.")
    try:
        _fit(task, epochs, checkpoint)
    except OSError as error:
        if not hasattr(error, "unwritten"):  # not of a file that the run writes
            raise
        told = type(error)(f"{error} Continue the run with --resume --output {folder}.")
        told.errno = error.errno
        raise told from error
    return checkpoint


def _fit(task: Task, epochs: int, checkpoint: Checkpoint) -> None:
    devices = checkpoint.devices
    verbose = 1 if sys.stdout.isatty() else 2
    task.trainer.fit(
        task.batches,
        validation_data=task.validation,
        class_weight=task.class_weight,
        epochs=epochs,
        initial_epoch=checkpoint.epoch,
        callbacks=[keras.callbacks.TerminateOnNaN(), checkpoint],
        shuffle=False,  # the batches do
        verbose=verbose if devices.first else 0,
    )
    if checkpoint.diverged:
        raise ValueError(
            f"The loss became infinite or NaN in epoch {checkpoint.epoch + 1}. {task.advice}"
        )
    if devices.first:
        save_model(task.snapshot(), checkpoint.folder / "last.keras")
