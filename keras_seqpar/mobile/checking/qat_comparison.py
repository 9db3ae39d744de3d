"""Quantization-aware training beside other ways to an int8 file: making, measuring, tables."""

import dataclasses
import json
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_seqpar import mobile
from keras_seqpar.data.augmentation import Augment, Policy
from keras_seqpar.data.batches import TrainingBatches
from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.mobile.quantization.qat.compat import need
from keras_seqpar.training import evaluation
from keras_seqpar.training.studies import spread
from keras_seqpar.utils.files import write_json

POST, TUNED, AWARE = "post-training", "fine-tuned", "aware"


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How the networks are trained, and calibrated.

    Args:
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: of Adam; it falls to 0 by half a cosine.
        label_smoothing: part of a label that goes to all categories.
        image_size: side of the images that the network takes.
        calibration: number of training images that set the first ranges.
        augmentation: what is done to the training images.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    label_smoothing: float
    image_size: int
    calibration: int
    augmentation: Policy

    def __post_init__(self):
        if not self.learning_rate > 0:
            raise ValueError(f"--learning_rate must be above 0, got {self.learning_rate}.")
        if not self.label_smoothing < 1:
            raise ValueError(f"--label_smoothing must be below 1, got {self.label_smoothing}.")


@dataclasses.dataclass(frozen=True)
class Case:
    """One way to make an int8 file.

    Args:
        name: `POST`, `TUNED`, `AWARE`, or a name for a sparse or clustered network.
        sparsity: share of zeros to train to.
        clusters: number of values per kernel to train to.
    """

    name: str
    sparsity: float | None = None
    clusters: int | None = None


def cases(
    *, control: bool = True, sparsity: float | None = None, clusters: int | None = None
) -> list[Case]:
    """What is compared.

    Args:
        control: also train without fake quantization.
        sparsity: also prune to this share of zeros.
        clusters: also cluster to this number of values per kernel.

    Raises:
        ValueError: `sparsity` is out of range.
    """
    if sparsity is not None and not 0 < sparsity < 1:
        raise ValueError(f"--sparsity must be above 0 and below 1, got {sparsity}.")
    found = [Case(POST), Case(TUNED), Case(AWARE)] if control else [Case(POST), Case(AWARE)]
    if sparsity is not None:
        found.append(Case(f"pruned {sparsity:g}", sparsity=sparsity))
    if clusters is not None:
        found.append(Case(f"clustered {clusters}", clusters=clusters))
    return found


def endless_batches(
    split: Split, categories: int, config: TrainingConfig, seed: int
) -> tuple[int, Iterator]:
    """Augmented training images without end.

    Returns:
        The steps of an epoch, and pairs of images `(batch, size, size, 3)` of 0 to 255 and
        labels `(batch, categories)`.
    """
    import tensorflow as tf

    batches = TrainingBatches(
        split,
        config.augmentation,
        categories,
        image_size=config.image_size,
        batch_size=config.batch_size,
        label_smoothing=config.label_smoothing,
        seed=seed,
    )
    layer = Augment(config.augmentation, config.image_size)
    change = tf.function(lambda images, rows: layer(images, rows, training=True))

    def endless():
        epoch = 0
        while True:
            batches.begin(epoch)
            for step in range(len(batches)):
                (images, rows), labels = batches[step]
                yield change(images, rows), labels
            epoch += 1

    return len(batches), endless()


def fit(twin, split: Split, config: TrainingConfig, seed: int, callbacks: Sequence = ()) -> None:
    """Trains a tf_keras model that gives logits.

    Raises:
        ValueError: the loss became infinite or NaN.
    """
    tf_keras = need("tf_keras")
    keras.utils.set_random_seed(seed)
    steps, batches = endless_batches(split, twin.output_shape[-1], config, seed)
    schedule = tf_keras.optimizers.schedules.CosineDecay(
        config.learning_rate, steps * config.epochs
    )
    twin.compile(
        tf_keras.optimizers.Adam(schedule),
        tf_keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = twin.fit(
        batches,
        steps_per_epoch=steps,
        epochs=config.epochs,
        callbacks=[tf_keras.callbacks.TerminateOnNaN(), *callbacks],
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    if not np.isfinite(history["loss"]).all():
        raise ValueError(
            f"The loss became infinite or NaN. Try a lower --learning_rate (it was "
            f"{config.learning_rate:g})."
        )


def make(
    case: Case,
    network: keras.Model,
    split: Split,
    config: TrainingConfig,
    seed: int,
    path: Path,
) -> keras.Model:
    """Trains as the case says and writes the int8 file.

    Args:
        case: the way to make the file.
        network: the network to start from.
        split: the training images.
        config: how to train.
        seed: chooses the calibration images and the order and augmentation of the training.
        path: the file to write.

    Returns:
        The Keras network with the weights before rounding.
    """
    rows = np.random.default_rng([seed, 1]).permutation(len(split))[: config.calibration]
    images = middle(split.read(np.sort(rows)), config.image_size)
    if case.name == AWARE:
        aware = mobile.quantize_aware(network, images)
        fit(aware, split, config, seed)
        mobile.convert_aware(aware, network, path, input_dtype="uint8")
        return mobile.from_tf_keras(aware, network)
    trained = network
    if case.name != POST:
        twin, callbacks = mobile.to_tf_keras(network, logits=True), []
        if case.sparsity is not None:
            steps = config.epochs * (len(split) // config.batch_size)
            twin = mobile.prune(twin, case.sparsity, steps=steps)
            tfmot = need("tensorflow_model_optimization")
            callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]
        elif case.clusters is not None:
            twin = mobile.cluster(twin, case.clusters)
        fit(twin, split, config, seed, callbacks)
        trained = mobile.from_tf_keras(mobile.strip(twin), network)
    mobile.convert(trained, path, quantization="int8", calibration=images, input_dtype="uint8")
    return trained


def middle(images: np.ndarray, size: int) -> np.ndarray:
    """The middle of images that are stored larger, as validation sees them."""
    top, left = ((side - size) // 2 for side in images.shape[1:3])
    return images[:, top : top + size, left : left + size]


def measure(
    case: Case,
    network: keras.Model,
    dataset: Dataset,
    config: TrainingConfig,
    seed: int,
    folder: Path,
    *,
    max_accuracy_drop: float | None = None,
) -> dict[str, float]:
    """Makes and measures one file, unless its figures are stored already.

    Args:
        case: the way to make the file.
        network: the network to start from.
        dataset: the images, both splits.
        config: how to train.
        seed: the seed.
        folder: where the file and its figures are.
        max_accuracy_drop: how much less accurate than the network the file may be.

    Returns:
        JSON-ready figures: `top1` of the file, `float_top1` of the same network before rounding,
        `start_top1` of the network to start from, `agreement` of the file with it, `bytes`,
        `zipped` (bytes), `milliseconds` (median, 1 thread), `seconds` of training and conversion.

    Raises:
        ValueError: the file lost more than `max_accuracy_drop`; it is not kept.
    """
    path = folder / f"{case.name.replace(' ', '-')}.tflite"
    done = path.with_suffix(".json")
    validation = dataset.validation
    if not done.exists():
        print(f"== {case.name}, seed {seed}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        trained = make(case, network, dataset.train, config, seed, path)
        seconds = time.perf_counter() - started
        images = validation.read(range(len(validation)))
        report = mobile.verify(
            path, network, images, validation.labels, max_error=np.inf, min_agreement=0
        )
        logits = evaluation.logits_of(trained, validation, config.batch_size)
        figures = {
            "top1": report.accuracy,
            "float_top1": float(np.mean(logits.argmax(-1) == validation.labels)),
            "start_top1": report.keras_accuracy,
            "agreement": report.agreement,
            "bytes": report.bytes,
            "zipped": len(zlib.compress(path.read_bytes(), 9)),
            "milliseconds": report.milliseconds,
            "seconds": round(seconds, 1),
        }
        write_json(done, figures)
    figures = json.loads(done.read_text("utf-8"))
    drop = round(figures["start_top1"] - figures["top1"], 9)
    if max_accuracy_drop is not None and drop > max_accuracy_drop:
        for file in (path, path.with_suffix(".labels.txt"), done):
            file.unlink(missing_ok=True)
        raise ValueError(
            f"The int8 file {case.name!r} of seed {seed} has an accuracy of {figures['top1']:.2%}, "
            f"more than {max_accuracy_drop:.2%} below the {figures['start_top1']:.2%} of the "
            "network. It was not kept."
        )
    return figures


def table(results: Mapping[str, Sequence[Mapping]]) -> str:
    """All cases side by side, in Markdown; means over the seeds, deviations in brackets."""
    titles = ["int8 file", "top-1", "against post-training", "top-1 before rounding"]
    titles += ["agreement with the start", "bytes", "zipped", "ms", "s per seed"]
    lines = [titles, ["---"] * len(titles)]
    for case, found in results.items():

        def mean(key: str, form: str, found=found) -> str:
            return format(np.mean([one[key] for one in found]), form)

        pairs = zip(found, results[POST], strict=True)  # of the same seed
        gain = [100 * (one["top1"] - other["top1"]) for one, other in pairs]
        deviation = f" ({np.std(gain, ddof=1):.2f})" if len(gain) > 1 else ""
        lines.append(
            [
                case,
                spread([one["top1"] for one in found]),
                "-" if case == POST else f"{np.mean(gain):+.2f}{deviation}",
                spread([one["float_top1"] for one in found]),
                mean("agreement", ".2%"),
                mean("bytes", ",.0f"),
                mean("zipped", ",.0f"),
                mean("milliseconds", ".2f"),
                mean("seconds", ".0f"),
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdict(results: Mapping[str, Sequence[Mapping]]) -> str:
    """Says whether training with fake quantization was worth it."""
    mean = {case: np.mean([one["top1"] for one in found]) for case, found in results.items()}
    seeds = len(results[AWARE])
    lines = []
    for other in (POST, TUNED):
        if other in mean:
            word = "at least as good as" if mean[AWARE] >= mean[other] else "worse than"
            gap = 100 * (mean[AWARE] - mean[other])
            lines.append(
                f"Quantization-aware training is {word} {other} "
                f"({gap:+.2f} points, {seeds} seed(s))."
            )
    return "\n".join(lines)
