"""What a training would take: shapes, cost, memory and time, from a few real steps.

Nothing is written: there is no run folder.
"""

import collections
import dataclasses
import time
from collections.abc import Mapping

import keras
import numpy as np

from keras_seqpar.costs.comparing import compare, plain_twin
from keras_seqpar.costs.counting import macs_by_layer, short_number
from keras_seqpar.data import camvid
from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.training import loop
from keras_seqpar.training.config import PLAIN, ClassificationConfig, SegmentationConfig
from keras_seqpar.training.distribution import ONE_DEVICE, accelerator_peak
from keras_seqpar.training.runs.history import duration
from keras_seqpar.training.tasks import frozen, segmentation
from keras_seqpar.training.tasks.classification import TaskMakers, load_data
from keras_seqpar.training.tasks.networks import start_network
from keras_seqpar.utils.memory import resident

STEPS = 3  # that are measured, after a first one, which compiles


@dataclasses.dataclass(frozen=True)
class Seconds:
    """What steps take.

    Args:
        first: the first training step, with compilation.
        step: the median of the next training steps.
        validation: a validation step.
    """

    first: float
    step: float
    validation: float


def dry_run(config: ClassificationConfig) -> str:
    """Trains a few steps on a few of the images, and extrapolates.

    Args:
        config: what to train.

    Returns:
        Tables: shapes, cost, memory, time.

    Raises:
        ValueError: bad input, as for `train`, or several devices.
    """
    size, devices = config.step.batch_size, config.step.devices
    if devices > 1:
        raise ValueError(
            f"--dry_run measures one device, --devices says {devices}. Give its part of a batch: "
            f"--devices 1 --batch_size {size // devices}."
        )
    dataset = load_data(config.data, batch_size=size, cropped=config.augmentation.crop_scale < 1)
    network, _ = start_network(config, dataset, ONE_DEVICE)
    trunk, images = config.trunk, (len(dataset.train), len(dataset.validation))
    some, decoding = _some(dataset, size)
    few = dataclasses.replace(trunk, frozen_views=min(2, trunk.frozen_views), features_dir=None)
    makers = TaskMakers(dataclasses.replace(config, trunk=few), some, network, ONE_DEVICE)
    memory: dict[str, int | None] = {
        "decoded images": sum(_kept(split) for split in dataset.splits.values())
    }
    views = trunk.frozen_views * images[0] + images[1]  # whose features are kept
    keeps_features = trunk.frozen_epochs and trunk.frozen_views
    if keeps_features:
        needed = frozen.check_memory(trunk, makers.halves.trunk, *images)
        memory["the trunk's features"] = needed

    lines = ["", f"Time, from {STEPS} steps after the first:"]
    if decoding:
        lines.append(_line("decoding of a batch", f"{decoding * size:.3g} s, ahead of its use"))
    total = 0.0
    steps = images[0] // size, -(-images[1] // size)
    for name, epochs, make in (
        ("frozen trunk", trunk.frozen_epochs, makers.frozen_start),
        ("whole network", config.optimizer.epochs, makers.end_to_end),
    ):
        if not epochs:
            continue
        task = make()
        took = _measure(task)
        epoch = steps[0] * took.step + steps[1] * took.validation
        if make == makers.frozen_start and keeps_features:
            assert makers.trunk_seconds is not None
            features = (makers.trunk_seconds + decoding) * views
            lines.append(_line("features of all views", duration(features)))
            total += features
        else:
            epoch += decoding * sum(images)
        total += took.first + epochs * epoch
        lines += [
            _line(f"{name}: first step", f"{took.first:.3g} s, with compilation"),
            *_epoch_lines(took, steps, epoch, epochs),
        ]
    lines.append(_line("all", duration(total)))
    memory_lines = _memory(memory, task.trainer)  # without the plain network
    rivals = [] if config.network.network == PLAIN else [plain_twin(network)]
    return "\n".join(
        [
            "\nShapes (images x height x width x channels):",
            *_shapes(config, dataset, network),
            "\nCost of an image; the last is the plain network:",
            compare(network, *rivals),
            *memory_lines,
            *lines,
        ]
    )


def dry_run_segmenter(config: SegmentationConfig, scenes: camvid.Scenes) -> str:
    """Trains a segmenter for a few steps, and extrapolates.

    Args:
        config: what to train.
        scenes: the images, all splits.

    Returns:
        Tables: shapes, cost, memory, time.

    Raises:
        ValueError: bad input, as for `train` of segmentation.
    """
    segmentation.check_crops(config, scenes)
    network = segmentation.start_network(config, scenes)
    task = segmentation.make_task(config, scenes, network)
    took, (batches, validation) = _measure(task), task.load()
    (images, _), labels, _ = batches[0]
    whole = (*images.shape[1:3], network.input_shape[-1])
    macs = sum(count for count, _ in macs_by_layer(network, whole).values())
    splits = scenes.splits
    kept = sum(split.images.nbytes + split.labels.nbytes for split in splits.values())
    epochs, tests = config.optimizer.epochs, -(-len(splits["test"]) // config.batch_size)
    epoch = len(batches) * took.step + len(validation) * took.validation
    shapes = {
        "images": images.shape,
        "crops, augmented": (*labels.shape, network.input_shape[-1]),
        "scores": (*labels.shape, network.output_shape[-1]),
    }
    return "\n".join(
        [
            "\nShapes (images x height x width x channels):",
            *(_line(name, " x ".join(map(str, shape))) for name, shape in shapes.items()),
            f"\nCost of an image: {network.count_params():,} parameters, {short_number(macs)} MACs",
            *_memory({"decoded images": kept}, task.trainer),
            f"\nTime, from {STEPS} steps after the first:",
            _line("first step", f"{took.first:.3g} s, with compilation"),
            *_epoch_lines(took, (len(batches), len(validation)), epoch, epochs),
            _line("scoring of the test images", duration(tests * took.validation)),
            _line("all", duration(took.first + epochs * epoch + tests * took.validation)),
        ]
    )


def _epoch_lines(took: Seconds, steps: tuple[int, int], epoch: float, epochs: int) -> list[str]:
    return [
        _line("training step", f"{took.step:.3g} s, {steps[0]:,} an epoch"),
        _line("validation step", f"{took.validation:.3g} s, {steps[1]:,} an epoch"),
        _line("an epoch", f"{duration(epoch)}, {epochs} of them"),
    ]


def _memory(kept: Mapping[str, int | None], trainer: keras.Model) -> list[str]:
    """Lines on the memory that a training takes, beside what it keeps of the data."""
    memory = {
        **kept,
        "weights": _bytes(trainer.weights),
        "their gradients": _bytes(trainer.trainable_variables),
        "optimizer": _bytes(trainer.optimizer.variables),
        "the process, at most": resident("VmHWM"),
        "the accelerator, at most": accelerator_peak(),
    }
    lines = [_line(name, short_number(n, "B")) for name, n in memory.items() if n]
    return ["\nMemory:", *lines]


def _line(name: str, text: str) -> str:
    return f"  {name:<26} {text}"


def _some(dataset: Dataset, size: int) -> tuple[Dataset, float]:
    """A few images of each split, in memory, and the seconds in which one is decoded."""
    splits, seconds, decoded = {}, 0.0, 0
    for name, split in dataset.splits.items():
        count = min(len(split), size * (STEPS + 1 if name == "train" else 1))
        rows = np.sort(np.random.default_rng(0).permutation(len(split))[:count])
        start = time.perf_counter()
        pixels = split.read(rows)
        if callable(split.pixels):
            seconds += time.perf_counter() - start
            decoded += count
        names = tuple(split.names[i] for i in rows)
        splits[name] = Split(names, split.labels[rows], pixels)
    return Dataset(dataset.name, dataset.categories, splits), seconds / max(1, decoded)


def _measure(task: loop.Task) -> Seconds:
    """Trains and validates a few steps of a task."""
    batches, validation = task.load()
    times = []
    for i in range(STEPS + 1):
        start = time.perf_counter()
        images, labels, *weights = batches[i % len(batches)]
        task.trainer.train_on_batch(images, labels, *weights, class_weight=task.class_weight)
        times.append(time.perf_counter() - start)
    for _ in range(2):  # the first one compiles
        start = time.perf_counter()
        images, labels, weights = validation[0]
        task.trainer.test_on_batch(images, labels, sample_weight=weights)
        seconds = time.perf_counter() - start
    return Seconds(times[0], float(np.median(times[1:])), seconds)


def _shapes(config: ClassificationConfig, dataset: Dataset, network: keras.Model) -> list[str]:
    """A line per kind of tensor."""

    def text(shape) -> str:
        return " x ".join(map(str, (config.step.batch_size, *shape[1:])))

    stored = dataset.train.read([0]).shape
    lines = {"images, stored": text(stored), "images, augmented": text(network.input_shape)}
    inner = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    counts = collections.Counter(text(x.output_shape) for x in inner if x.name != "trunk")
    lines |= {x.name: text(x.output_shape) for x in inner if x.name == "trunk"}
    lines |= {f"{count} branches": shape for shape, count in counts.items()}
    lines["logits"] = text(network.output_shape)
    return [_line(*pair) for pair in lines.items()]


def _kept(split: Split) -> int:
    return 0 if callable(split.pixels) else split.pixels.nbytes


def _bytes(variables) -> int:
    return sum(np.dtype(v.dtype).itemsize * int(np.prod(v.shape)) for v in variables)
