"""The one training loop: Keras's `fit`, in a folder, so that a killed run can be resumed."""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_seqpar.training.config import RunConfig
from keras_seqpar.training.distribution import ONE_DEVICE, Devices
from keras_seqpar.training.optimizers import inner_optimizers
from keras_seqpar.training.runs.checkpoints import Checkpoint, save_model
from keras_seqpar.training.runs.history import duration, time_left

TELL_EVERY = 60.0  # seconds


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of the loop.

    Args:
        trainer: the compiled model that `fit` trains: augmentation, network and losses.
        load: returns the batches to train on, whose `begin(epoch)` shuffles them, and those to
            validate on. It is called if an epoch is left to train.
        advice: what the user can try if the loss becomes infinite or NaN.
        class_weight: category index -> weight in the loss, as `fit` takes it.
        missed: returns the labels of which no validation image was right, after each validation.
    """

    trainer: keras.Model
    load: Callable[[], tuple[Any, Any]]
    advice: str
    class_weight: Mapping[int, float] | None = None
    missed: Callable[[], list[str]] = list


@dataclasses.dataclass(frozen=True)
class Phase:
    """A number of epochs with the same task; a run has one or several in turn.

    Args:
        epochs: passes over the training images.
        make: makes the task, when the phase begins or is resumed.
        guess: guesses the seconds of an epoch from those of an epoch of the phase before; `None`
            where it cannot.
    """

    epochs: int
    make: Callable[[], Task]
    guess: Callable[[float], float | None] = lambda seconds: None


def train(
    phases: Sequence[Phase],
    snapshot: Callable[[], keras.Model],
    run: RunConfig,
    devices: Devices = ONE_DEVICE,
    *,
    best_by: str = "accuracy",
    patience: int = 0,
    draw: Callable[[keras.Model], bytes] | None = None,
) -> Checkpoint:
    """Trains, and writes checkpoints, the history and the last network into the run's folder.

    Args:
        phases: what to train, in turn.
        snapshot: returns the network to save, with the current weights.
        run: where to write, and whether to resume.
        devices: the devices that train; only the first process writes files and shows progress.
        best_by: what makes an epoch the best: a key of `BEST_BY`.
        patience: epochs of the last phase without a better one after which it ends; 0 for never.
        draw: draws predictions for TensorBoard, as for `Checkpoint`.

    Returns:
        The checkpoint of the finished run, with its history.

    Raises:
        ValueError: a damaged checkpoint, or a loss that is infinite or NaN.
        OSError: a file could not be written.
    """
    folder = Path(run.output)
    checkpoint = Checkpoint(
        folder,
        snapshot,
        devices,
        best_by=best_by,
        every_steps=run.checkpoint_steps,
        every_minutes=run.checkpoint_minutes,
        draw=draw,
    )
    if run.resume:
        checkpoint.read()
    found = devices.gather([checkpoint.epoch, checkpoint.step])
    if (found != found[0]).any():
        raise ValueError(
            f"The processes found different checkpoints in {folder}, after these epochs and steps: "
            f"{found.astype(int).tolist()}. On several machines, --output must be a folder that "
            "all of them share."
        )
    total = sum(phase.epochs for phase in phases)
    if checkpoint.epoch or checkpoint.step:
        more = f" and {checkpoint.step} steps of the next" if checkpoint.step else ""
        print(f"Resuming after epoch {checkpoint.epoch} of {total}{more}.")
    elif run.resume:
        print(f"{folder} has no checkpoint yet: the run starts from the beginning.")
    lengths = [(phase.epochs, phase.guess) for phase in phases]

    def tell(epoch: int, logs: object) -> None:
        if checkpoint.history and devices.first:
            print(time_left(checkpoint.history, lengths), flush=True)

    teller = keras.callbacks.LambdaCallback(on_epoch_begin=tell)
    try:
        end = 0
        for phase in phases:
            begin, end = end, end + phase.epochs
            over = checkpoint.epoch > end or (checkpoint.epoch == end and checkpoint.step)
            if end == total:
                checkpoint.patience, checkpoint.patient_from = patience, begin
            if begin <= checkpoint.epoch and not over and phase.epochs:
                _train_phase(phase.make(), begin, end, checkpoint, teller)
        network = snapshot()  # in every process: on JAX, all assign together
        if devices.first:
            save_model(network, folder / "last.keras")
    except OSError as error:
        if not hasattr(error, "unwritten"):  # not of a file that the run writes
            raise
        told = type(error)(f"{error} Continue the run with --resume --output {folder}.")
        told.errno = error.errno
        raise told from error
    return checkpoint


def _train_phase(
    task: Task, begin: int, end: int, checkpoint: Checkpoint, teller: keras.callbacks.Callback
) -> None:
    """Trains from the last step that the checkpoint knows to the end of a phase."""
    trainer = task.trainer
    if checkpoint.epoch > begin or checkpoint.step:
        checkpoint.restore(trainer)
    if checkpoint.epoch < end and not checkpoint.is_over:
        batches, validation = task.load()
        checkpoint.steps, checkpoint.missed_now = len(batches), task.missed
        if checkpoint.step:
            rest = _Rest(batches, checkpoint.step)
            _fit(task, rest, validation, checkpoint.epoch + 1, checkpoint, teller)
            checkpoint.restore(trainer)  # `fit` has put averages in the place of the weights
        if checkpoint.epoch < end and not checkpoint.is_over:
            _fit(task, batches, validation, end, checkpoint, teller)
            return
    trainer.optimizer.finalize_variable_values(trainer.trainable_variables)


class _Rest(keras.utils.PyDataset):
    """The batches of an epoch from a step on."""

    def __init__(self, batches: Any, first: int):
        super().__init__()
        self.batches, self.first, self.begin = batches, first, batches.begin

    def __len__(self) -> int:
        return len(self.batches) - self.first

    def __getitem__(self, step: int):
        return self.batches[self.first + step]


class _Progress(keras.callbacks.Callback):
    """Prints once a minute how far an epoch is, where no bar shows it."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps = steps

    def on_train_begin(self, logs=None):
        self._started = self._told = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if now - self._told > TELL_EVERY:
            self._told = now
            since = duration(now - self._started)
            print(f"Step {batch + 1} of {self.steps} of the epoch, after {since}.", flush=True)


class _AddUp(keras.callbacks.Callback):
    """Adds up the metrics of all processes after the last step of training and of validation."""

    def __init__(self, devices: Devices, steps: int, validation_steps: int):
        super().__init__()
        self.devices, self.steps, self.validation_steps = devices, steps, validation_steps

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.steps:
            self.devices.add_up(self.model.metrics_variables)

    def on_test_batch_end(self, batch, logs=None):
        if batch + 1 == self.validation_steps:
            self.devices.add_up(self.model.metrics_variables)


def _fit(
    task: Task,
    batches: Any,
    validation: Any,
    end: int,
    checkpoint: Checkpoint,
    teller: keras.callbacks.Callback,
) -> None:
    """Trains from the epoch that the checkpoint knows to another."""
    trainer, devices = task.trainer, checkpoint.devices
    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.begin(epoch)),
        teller,
        checkpoint,
        _AddUp(devices, len(batches), len(validation)),
    ]
    if not devices.apart:  # a process that ends its epoch early would leave the others waiting
        callbacks.append(keras.callbacks.TerminateOnNaN())
    checkpoint.averages = None
    if any(each.use_ema for each in inner_optimizers(trainer.optimizer)):
        checkpoint.averages = keras.callbacks.SwapEMAWeights()
        callbacks.append(checkpoint.averages)
    verbose = 1 if sys.stdout.isatty() else 2
    if devices.first:
        print(f"{len(batches):,} steps an epoch, of which the first one compiles.", flush=True)
        callbacks += [] if verbose == 1 else [_Progress(len(batches))]
    with devices.connected(trainer):
        trainer.fit(
            batches,
            validation_data=validation,
            class_weight=task.class_weight,
            epochs=end,
            initial_epoch=checkpoint.epoch,
            callbacks=callbacks,
            shuffle=False,  # the batches do
            verbose=verbose if devices.first else 0,
        )
    if checkpoint.diverged:
        raise ValueError(
            f"The loss became infinite or NaN in epoch {checkpoint.epoch + 1}. {task.advice}"
        )
