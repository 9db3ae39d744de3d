"""Segmentation of street scenes: data, network and losses of the training.

The network learns to give a part of a crop, run by itself, the same scores as in the whole crop
(`consistency.py`), so that streams need to compute little around a change.
"""

from pathlib import Path

import keras

from keras_seqpar.data import camvid, scene_crops
from keras_seqpar.training import loop
from keras_seqpar.training.config import (
    JIT,
    OptimizerConfig,
    RunConfig,
    SegmentationConfig,
    to_values,
)
from keras_seqpar.training.optimizers import make_optimizer
from keras_seqpar.training.runs import flags as run_flags
from keras_seqpar.training.runs import folder as run_folder
from keras_seqpar.training.runs.checkpoints import Checkpoint
from keras_seqpar.training.tasks import consistency
from keras_seqpar.training.tasks.segmenter import build_segmenter, fill_trunk


def train(config: SegmentationConfig, run: RunConfig, scenes: camvid.Scenes) -> Checkpoint:
    """Trains a network that gives every pixel a class.

    Args:
        config: what to train.
        run: where to write, and whether to resume.
        scenes: the images, all splits.

    Returns:
        The checkpoint of the finished run, with its history.

    Raises:
        ValueError: bad input, or a loss that is infinite or NaN.
        OSError: a file could not be written.
    """
    check_crops(config, scenes)
    with run_folder.open_folder(run):
        return _train(config, run, scenes)


def check_crops(config: SegmentationConfig, scenes: camvid.Scenes) -> None:
    """Checks that the training images are enough for a batch, and large enough for crops.

    Raises:
        ValueError: they are not.
    """
    images = scenes.splits["train"]
    side = min(images.labels.shape[1:])
    if len(images) < config.batch_size or side < config.crop:
        raise ValueError(
            f"{len(images)} training images of {images.labels.shape[1:]} pixels are too few or "
            f"too small for batches of {config.batch_size} crops of {config.crop}. Give at most "
            f"--batch_size {len(images)} and --crop {side}."
        )


def _train(config: SegmentationConfig, run: RunConfig, scenes: camvid.Scenes) -> Checkpoint:
    """Trains in a folder that is open."""
    about = run_flags.describe(
        to_values(config) | to_values(run),
        scenes.categories,
        {name: len(split) for name, split in scenes.splits.items()},
        scenes.contents,
    )
    folder = Path(run.output)
    begun = run.resume and run_flags.has_begun(folder)
    if begun:
        run_flags.check_same(folder, about, scenes.contents)
    network = start_network(config, scenes)
    run_flags.write_flags(folder, about, scenes.contents)
    task = make_task(config, scenes, network)
    phase = loop.Phase(config.optimizer.epochs, lambda: task)
    return loop.train([phase], lambda: network, run, patience=config.optimizer.patience)


def start_network(config: SegmentationConfig, scenes: camvid.Scenes) -> keras.Model:
    """Builds the network with its initial weights, and prints what it is and on what it trains."""
    keras.utils.set_random_seed(config.seed)
    classes = len(scenes.categories)
    network = build_segmenter(
        classes,
        stages=config.stages,
        width=config.width,
        channels=config.channels,
        seed=config.seed,
    )
    print(f"Layers filled from {config.init}: {fill_trunk(network, config.init)}.")
    print(
        f"{classes} classes, {len(scenes.splits['train'])} images to train on, crops of "
        f"{config.crop} pixels; {network.count_params():,} parameters. Backend: "
        f"{keras.backend.backend()}."
    )
    return network


def make_task(config: SegmentationConfig, scenes: camvid.Scenes, network: keras.Model) -> loop.Task:
    """Data and losses of the training.

    Args:
        config: what to train.
        scenes: the images, all splits.
        network: from `start_network`.
    """
    images, classes = scenes.splits["train"], len(scenes.categories)
    batches = scene_crops.TrainingBatches(
        images,
        camvid.class_weights(images, classes),
        size=config.crop,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    validation = scene_crops.ValidationBatches(
        scenes.splits["val"], classes, batch_size=config.batch_size
    )
    trainer = make_trainer(
        network,
        config.optimizer,
        crop=config.crop,
        agree=config.agree,
        grain=config.grain,
        steps=len(batches),
        jit=config.jit,
        seed=config.seed,
    )
    # On JAX and torch, `fit` builds the metrics with a run at inference on training data, whose
    # output covers whole images while the labels cover crops. Built here, both cover whole images.
    trainer.test_on_batch(*validation[0])
    advice = f"Try a lower --learning_rate (it was {config.optimizer.learning_rate:g})."
    return loop.Task(trainer, lambda: (batches, validation), advice)


def make_trainer(
    network: keras.Model,
    optimizer: OptimizerConfig,
    *,
    crop: int,
    agree: float,
    grain: float,
    steps: int,
    jit: str = "off",
    seed: int = 0,
) -> keras.Model:
    """Puts augmentation before the network and the consistency loss after it, and compiles all.

    Args:
        network: from `build_segmenter`.
        optimizer: the optimizer and its schedule.
        crop: side of the training crops in pixels.
        agree: weight of the consistency loss; see `SegmentationConfig`.
        grain: largest noise in the part that it compares, for pixels of 0 to 255.
        steps: steps per epoch.
        jit: a key of `JIT`.
        seed: of the noise.
    """
    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    rows = keras.Input((scene_crops.ROW,), name="rows")
    crops = scene_crops.Prepare(crop, seed, name="prepare")(images, rows)
    outputs = network(crops)
    if agree:
        part = consistency.Part(crop // 2, name="part")
        alone = part(crops, rows)
        if grain:
            alone = consistency.Grain(grain, seed + 1, name="grain")(alone)
        outputs = consistency.Agree(agree, name="agree")(
            outputs, part(outputs, rows), network(alone)
        )
    trainer = keras.Model([images, rows], outputs, name="trainer")
    trainer.compile(
        make_optimizer(optimizer, steps, network.trainable_variables),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=JIT[jit],
    )
    trainer.optimizer.build(trainer.trainable_variables)  # or TensorFlow traces a step twice
    return trainer
