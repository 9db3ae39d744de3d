"""Classification: data and losses of a training on labeled images."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_seqpar.data import fingerprints, loading
from keras_seqpar.data.augmentation import Augment, Policy
from keras_seqpar.data.batches import TrainingBatches, ValidationBatches
from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.networks.prediction import predict
from keras_seqpar.presets.sources import load_source
from keras_seqpar.training import balance, distribution, loop
from keras_seqpar.training.config import (
    JIT,
    ClassificationConfig,
    DataConfig,
    DistillationConfig,
    OptimizerConfig,
    RunConfig,
    to_values,
)
from keras_seqpar.training.optimizers import make_optimizer
from keras_seqpar.training.runs import flags as run_flags
from keras_seqpar.training.runs import folder as run_folder
from keras_seqpar.training.runs.checkpoints import Checkpoint
from keras_seqpar.training.tasks import frozen
from keras_seqpar.training.tasks.distillation import Teacher, Trainer
from keras_seqpar.training.tasks.metrics import Accuracy, BalancedAccuracy
from keras_seqpar.training.tasks.networks import start_network

SHOWN = 16  # validation images whose predictions TensorBoard shows
# Makes a PNG file of images (n, size, size, 3), scores (n, categories), true indices (n,), labels.
Draw = Callable[[np.ndarray, np.ndarray, np.ndarray, Sequence[str]], bytes]
STORED = 1.25  # training images are stored larger by this factor, so that crops keep detail


def train(config: ClassificationConfig, run: RunConfig, draw: Draw | None = None) -> Checkpoint:
    """Trains a network on labeled images.

    Args:
        config: what to train.
        run: where to write, and whether to resume.
        draw: draws predictions for TensorBoard; `None` for none. On several devices, none are
            drawn: they would have to predict together.

    Returns:
        The checkpoint of the finished run, with its history.

    Raises:
        ValueError: bad input, or a loss that is infinite or NaN.
        OSError: a file could not be written.
    """
    devices = distribution.use(config.step.devices, config.step.batch_size)
    with run_folder.open_folder(run) if devices.first else contextlib.nullcontext():
        return _train(config, run, devices, draw if devices.count == 1 else None)


def _train(
    config: ClassificationConfig,
    run: RunConfig,
    devices: distribution.Devices,
    draw: Draw | None,
) -> Checkpoint:
    """Trains in a folder that is open."""
    step, policy = config.step, config.augmentation
    values, folder = to_values(config) | to_values(run), Path(run.output)
    begun = run.resume and run_flags.has_begun(folder)
    if devices.first and not begun:
        run_flags.write_start(folder, values)
    dataset = load_data(config.data, batch_size=step.batch_size, cropped=policy.crop_scale < 1)
    contents = fingerprints.fingerprint(dataset)
    about = run_flags.describe(
        values,
        dataset.categories,
        {name: len(split) for name, split in dataset.splits.items()},
        contents,
    )
    if begun:
        run_flags.check_same(folder, about, contents)

    network, snapshot = start_network(config, dataset, devices)
    if devices.first:
        run_flags.write_flags(folder, about, contents)
    devices.synchronize(network)
    makers = TaskMakers(config, dataset, network, devices, about["images_sha256"])
    trunk, last = config.trunk, config.optimizer
    if trunk.frozen_epochs and trunk.frozen_views:
        frozen.check_memory(trunk, makers.halves.trunk, len(dataset.train), len(dataset.validation))
    phases = [
        loop.Phase(trunk.frozen_epochs, makers.frozen_start),
        loop.Phase(last.epochs, makers.end_to_end, makers.guess_seconds),
    ]
    split, labels = dataset.validation, dataset.categories
    rows = np.linspace(0, len(split) - 1, min(SHOWN, len(split))).round().astype(int)

    def draw_some(network: keras.Model) -> bytes:
        assert draw is not None
        images = split.read(rows)
        scores = predict(network, images.astype("float32"))
        return draw(images, scores, split.labels[rows], labels)

    return loop.train(
        phases,
        snapshot,
        run,
        devices,
        best_by=config.balance.best_by,
        patience=last.patience,
        draw=draw_some if draw else None,
    )


class TaskMakers:
    """Makes the tasks of a run: the frozen start, then the whole network.

    Args:
        config: what to train.
        dataset: both splits.
        network: the network in training, which gives logits.
        devices: the devices that train.
        contents: what the images are, as `fingerprints.digest` tells it.

    Attributes:
        trunk_seconds: what the trunk takes for one image at inference; `None` if it is not known.
    """

    def __init__(
        self,
        config: ClassificationConfig,
        dataset: Dataset,
        network: keras.Model,
        devices: distribution.Devices,
        contents: str = "",
    ):
        self.config, self.dataset, self.devices = config, dataset, devices
        self.network, self.contents = network, contents
        self.halves = frozen.Halves.of(network, config.trunk.frozen_end)
        self.trunk_seconds: float | None = None

    def guess_seconds(self, frozen_epoch: float) -> float | None:
        """Guesses an epoch of the whole network: a training step takes three times as long."""
        if self.trunk_seconds is None:
            return None
        images = 3 * len(self.dataset.train) + len(self.dataset.validation)
        return frozen_epoch + self.trunk_seconds * images

    def end_to_end(self) -> loop.Task:
        """Trains the whole network."""
        self.halves.trunk.trainable = True
        return self._task(self.network, self.config.optimizer, "learning_rate", self._images)

    def frozen_start(self) -> loop.Task:
        """Trains what stands behind the trunk, or behind its frozen part."""
        trunk = self.config.trunk
        optimizer = dataclasses.replace(
            self.config.optimizer, epochs=trunk.frozen_epochs, learning_rate=trunk.frozen_rate
        )
        if trunk.frozen_views:
            return self._task(self.halves.head, optimizer, "frozen_rate", self._features)
        return self._task(self.halves.joined(), optimizer, "frozen_rate", self._images)

    def _task(
        self,
        network: keras.Model,
        optimizer: OptimizerConfig,
        rate: str,
        load: Callable[[], tuple[TrainingBatches, ValidationBatches]],
    ) -> loop.Task:
        config, categories = self.config, self.dataset.categories
        learning = {id(variable) for variable in network.trainable_variables}
        trunk = [v for v in self.halves.whole.trainable_variables if id(v) in learning]
        with self.devices.scope():
            trainer = make_trainer(
                network,
                config.augmentation,
                optimizer,
                config.distillation,
                categories,
                image_size=config.data.image_size,
                steps=len(self.dataset.train) // config.step.batch_size,
                jit=config.step.jit,
                trunk=trunk,
                trunk_rate=config.trunk.trunk_rate,
            )

        def missed() -> list[str]:
            found = zip(categories, trainer.recalls(), strict=True)
            return [label for label, recall in found if recall == 0]

        counts = balance.counts_of(self.dataset.train.labels, len(categories))
        balanced = config.balance.class_weight == balance.BALANCED
        return loop.Task(
            trainer,
            load,
            f"Try a lower --{rate} (it was {optimizer.learning_rate:g}), or --mixed_precision off.",
            class_weight=balance.balanced_weights(counts) if balanced else None,
            missed=missed,
        )

    def _images(self) -> tuple[TrainingBatches, ValidationBatches]:
        policy = self.config.augmentation
        batches = TrainingBatches(self.dataset.train, policy, **self._batch_options())
        return batches, self._validation(self.dataset.validation, policy.columns)

    def _features(self) -> tuple[TrainingBatches, ValidationBatches]:
        config, splits = self.config, self.dataset
        policy, size = config.augmentation, config.data.image_size
        print(
            f"Computing the trunk's features of {config.trunk.frozen_views} views of "
            f"{len(splits.train):,} images, and of {len(splits.validation):,} to validate on ..."
        )
        folder = Path(config.trunk.features_dir) if config.trunk.features_dir else None
        with self.devices.scope():
            teacher = load_teacher(config.distillation, splits.categories)
            training = frozen.Features(self.halves.trunk, policy, size, teacher, folder)
            validation = frozen.Features(self.halves.trunk, Policy(), size, None, folder)
        views, contents = config.trunk.frozen_views, self.contents
        features, taught = training.of_views(splits.train, views, "Features", contents)
        text = "Validation features"
        (measured,), _ = validation.of_views(splits.validation, 1, text, contents)
        known = [one.seconds for one in (training, validation) if one.seconds is not None]
        self.trunk_seconds = min(known, default=None)
        columns = Policy().columns if taught is None else taught.shape[-1]
        batches = frozen.ViewBatches(splits.train, features, taught, **self._batch_options())
        of_features = Split(splits.validation.names, splits.validation.labels, measured)
        return batches, self._validation(of_features, columns)

    def _batch_options(self) -> dict[str, Any]:
        step = self.config.step
        return {
            "categories": len(self.dataset.categories),
            "image_size": self.config.data.image_size,
            "batch_size": step.batch_size,
            "label_smoothing": step.label_smoothing,
            "seed": step.seed,
            "share": self.devices.share,
            "workers": self.config.data.workers,
            "balanced": self.config.balance.sampling == balance.BALANCED,
        }

    def _validation(self, split: Split, columns: int) -> ValidationBatches:
        categories, size = len(self.dataset.categories), self.config.step.batch_size
        share, workers = self.devices.share, self.config.data.workers
        return ValidationBatches(split, columns, categories, size, share, workers)


def load_data(config: DataConfig, *, batch_size: int, cropped: bool) -> Dataset:
    """Loads both splits.

    Args:
        config: which images.
        batch_size: the smallest number of training images.
        cropped: whether training images will be cropped; they are then stored larger.

    Raises:
        ValueError: bad data, or too little of it.
    """
    options: dict[str, Any] = {
        "data_dir": config.data_dir,
        "skip_unreadable": config.skip_unreadable,
        "memory_limit": round(config.data_memory * 2**30),
        "categories": config.categories,
    }
    stored = round(config.image_size * (STORED if cropped else 1))
    one = loading.load(config.dataset, image_size=stored, splits=["train"], **options)
    other = loading.load(
        config.dataset, image_size=config.image_size, splits=["validation"], **options
    )
    if len(one.categories) < 2:
        raise ValueError(
            f"{config.dataset!r} has the category {one.categories[0]!r} only. Training needs two "
            "or more: add one with images of other things."
        )
    if len(one.train) < batch_size:
        raise ValueError(
            f"{config.dataset!r} has {len(one.train)} training images, fewer than one batch of "
            f"{batch_size}. Add images or lower --batch_size."
        )
    skipped = (*one.skipped, *other.skipped)
    if skipped:
        print(f"Left out {len(skipped)} unreadable images: {', '.join(skipped)}.")
    return Dataset(one.name, one.categories, {**one.splits, **other.splits}, skipped, one.left_out)


def load_teacher(config: DistillationConfig, categories: Sequence[str]) -> Teacher | None:
    """Loads the teacher, if there is one; it gives logits in the order of the categories."""
    if not config.teacher:
        return None
    return Teacher(load_source(config.teacher), categories, name="teacher")


def make_trainer(
    network: keras.Model,
    policy: Policy,
    optimizer: OptimizerConfig,
    distillation: DistillationConfig,
    categories: Sequence[str],
    *,
    image_size: int,
    steps: int,
    jit: str,
    trunk: Sequence[keras.Variable] = (),
    trunk_rate: float = 1.0,
) -> keras.Model:
    """Puts the augmentation before a network that returns logits, and compiles both.

    Args:
        network: the network, or its branches alone (from the trunk's features on, which nothing
            augments; the teacher's logits then take the place of the rows).
        policy: the augmentation.
        optimizer: the optimizer and its schedule.
        distillation: the teacher, if any.
        categories: labels, in the order of the logits.
        image_size: side of the images that the network gets.
        steps: steps per epoch.
        jit: a key of `JIT`.
        trunk: weights that learn at another rate.
        trunk_rate: their learning rate, as a share of that of the others.

    Returns:
        The compiled model.
    """
    share = distillation.distillation if distillation.teacher else 0.0
    if network.inputs[0].name == "features":
        columns = len(categories) if distillation.teacher else Policy().columns
        rows = keras.Input((columns,), name="rows")
        images = keras.Input(network.input.shape[1:], dtype=frozen.TYPE, name="images")
        outputs, taught = network(images), rows
    else:
        rows = keras.Input((policy.columns,), name="rows")
        images = keras.Input((None, None, 3), dtype="uint8", name="images")
        augmented = Augment(policy, image_size, name="augment")(images, rows)
        outputs = network(augmented)
        teacher = load_teacher(distillation, categories)
        taught = teacher(augmented) if teacher else None
    if distillation.teacher:
        outputs = keras.ops.concatenate([outputs, taught], axis=-1)
    trainer = Trainer(
        [images, rows],
        outputs,
        distillation=share,
        temperature=distillation.temperature,
        name="trainer",
    )
    balanced = BalancedAccuracy(len(categories))
    trainer.recalls = balanced.recalls
    trainer.compile(
        make_optimizer(optimizer, steps, network.trainable_variables, trunk, trunk_rate),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[Accuracy(len(categories)), balanced],
        jit_compile=JIT[jit],
    )
    trainer.optimizer.build(trainer.trainable_variables)  # or TensorFlow traces a step twice
    return trainer
