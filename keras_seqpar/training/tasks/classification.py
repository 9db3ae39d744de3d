"""Classification: data and losses of a training on labeled images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_seqpar.data import fingerprints, loading
from keras_seqpar.data.augmentation import Augment, Policy
from keras_seqpar.data.batches import TrainingBatches, ValidationBatches
from keras_seqpar.data.datasets import Dataset, Split, only
from keras_seqpar.networks.graph import behind
from keras_seqpar.networks.loading import load_network
from keras_seqpar.networks.prediction import predict
from keras_seqpar.training import balance, distribution, loop
from keras_seqpar.training.config import (
    JIT,
    SEQPAR,
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
from keras_seqpar.training.tasks.distillation import Teacher, Trainer
from keras_seqpar.training.tasks.metrics import Accuracy, BalancedAccuracy
from keras_seqpar.training.tasks.networks import make_network
from keras_seqpar.weights.loading import load as load_weights

STORED = 1.25  # training images are stored larger by this factor, so that crops keep detail


def train(config: ClassificationConfig, run: RunConfig) -> Checkpoint:
    """Trains a network on labeled images.

    Args:
        config: what to train.
        run: where to write, and whether to resume.

    Returns:
        The checkpoint of the finished run, with its history.

    Raises:
        ValueError: bad input, or a loss that is infinite or NaN.
        OSError: a file could not be written.
    """
    step, policy = config.step, config.augmentation
    devices = distribution.use(step.devices, step.batch_size)
    values, folder = to_values(config) | to_values(run), Path(run.output)
    begun = run.resume and run_flags.has_begun(folder)
    if devices.first:
        run_folder.open_folder(run)
        if not begun:
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

    keras.utils.set_random_seed(step.seed)
    with devices.scope():
        network, snapshot = make_network(
            config.network,
            dataset.categories,
            image_size=config.data.image_size,
            seed=step.seed,
            mixed_precision=step.mixed_precision,
        )
    if config.network.init:
        filled = load_weights(
            network,
            config.network.init,
            classifier=False,
            partial=config.network.partial_init,
        )
        print(f"Initial weights: {filled}")
    network.get_layer("trunk").trainable = not config.network.freeze_trunk
    if devices.first:
        run_flags.write_flags(folder, about, contents)
    plan = config.network.plan if config.network.network == SEQPAR else config.network.network
    print(
        f"{config.data.dataset}: {len(dataset.categories)} categories, {len(dataset.train)} images "
        f"to train on, {len(dataset.validation)} to validate on, {config.data.image_size} pixels."
    )
    print(
        f"{config.network.family}, {plan}, width {config.network.width:g}: "
        f"{sum(np.prod(v.shape) for v in network.trainable_variables):,} parameters to train. "
        f"Backend: {keras.backend.backend()}."
    )

    counts = {
        name: balance.counts_of(split.labels, len(dataset.categories))
        for name, split in (("training", dataset.train), ("validation", dataset.validation))
    }
    for name, found in counts.items():
        note = balance.unbalanced_note(name, dataset.categories, found, config.balance.class_weight)
        if note and devices.first:
            print(note)

    trained, splits = network, (dataset.train, dataset.validation)
    if config.network.freeze_trunk and policy == Policy() and not config.distillation.teacher:
        features = [features_of(network, split) for split in splits]
        if features[0] is not None and features[1] is not None:
            trained = behind(network, network.get_layer("trunk"))
            splits = (features[0], features[1])
    batches = TrainingBatches(
        splits[0],
        policy,
        len(dataset.categories),
        image_size=config.data.image_size,
        batch_size=step.batch_size,
        label_smoothing=step.label_smoothing,
        seed=step.seed,
        share=devices.share,
    )
    validation = ValidationBatches(
        splits[1], policy.columns, len(dataset.categories), step.batch_size, devices.share
    )
    with devices.scope():
        trainer = make_trainer(
            trained,
            policy,
            config.optimizer,
            config.distillation,
            dataset.categories,
            image_size=config.data.image_size,
            steps=len(batches),
            jit=step.jit,
        )
    devices.connect(trainer.trainable_variables)
    advice = (
        f"Try a lower --learning_rate (it was {config.optimizer.learning_rate:g}), or "
        "--mixed_precision off."
    )

    def missed() -> list[str]:
        found = zip(dataset.categories, trainer.recalls(), strict=True)
        return [label for label, recall in found if recall == 0]

    balanced = config.balance.class_weight == balance.BALANCED
    task = loop.Task(
        trainer,
        batches,
        validation,
        snapshot,
        advice,
        best_by=config.balance.best_by,
        class_weight=balance.balanced_weights(counts["training"]) if balanced else None,
        missed=missed,
    )
    return loop.train(task, config.optimizer.epochs, run, devices)


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
    }
    stored = round(config.image_size * (STORED if cropped else 1))
    one = loading.load(config.dataset, image_size=stored, splits=["train"], **options)
    other = loading.load(
        config.dataset, image_size=config.image_size, splits=["validation"], **options
    )
    if config.categories:
        one, other = only(one, config.categories), only(other, config.categories)
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


def features_of(network: keras.Model, split: Split) -> Split | None:
    """A split with the trunk's features in place of images; `None` if they need too much memory."""
    trunk = network.get_layer("trunk")
    if 4 * len(split) * np.prod(trunk.output.shape[1:]) > loading.MEMORY_LIMIT:
        return None
    print(f"Computing the frozen trunk's features of {len(split)} images, once ...")
    return Split(split.names, split.labels, predict(trunk, split, label="Trunk"))


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
) -> keras.Model:
    """Puts the augmentation before a network that returns logits, and compiles both.

    Args:
        network: the network, or its branches alone (from the trunk's features on).
        policy: the augmentation.
        optimizer: the optimizer and its schedule.
        distillation: the teacher, if any.
        categories: labels, in the order of the logits.
        image_size: side of the images that the network gets.
        steps: steps per epoch.
        jit: a key of `JIT`.

    Returns:
        The compiled model.
    """
    rows = keras.Input((policy.columns,), name="rows")
    if network.inputs[0].name == "features":  # computed once, so there is nothing to augment
        images = keras.Input(network.input.shape[1:], name="images")
        augmented = images
    else:
        images = keras.Input((None, None, 3), dtype="uint8", name="images")
        augmented = Augment(policy, image_size, name="augment")(images, rows)
    outputs = network(augmented)
    share = 0.0
    if distillation.teacher:
        teacher = Teacher(load_network(distillation.teacher), categories, name="teacher")
        outputs = keras.ops.concatenate([outputs, teacher(augmented)], axis=-1)
        share = distillation.distillation
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
        make_optimizer(optimizer, steps, network.trainable_variables),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[Accuracy(len(categories)), balanced],
        jit_compile=JIT[jit],
    )
    return trainer
