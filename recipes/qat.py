"""Quantization-aware training beside post-training quantization: which int8 file is better?

    python recipes/qat.py imagenette_small --dataset imagenette --data_dir DIR --seeds 3
    python recipes/qat.py runs/digits/best.keras --epochs 1
    python recipes/qat.py best.keras --dataset folder:PATH --categories cat,dog --sparsity 0.5

Starts from a .keras file or a preset and makes int8 files of one size by each way, per seed:

    post-training   calibrated, not trained
    fine-tuned      trained on as it is, then calibrated: what more training alone gives
    aware           trained with fake quantization (arXiv 1712.05877)
    pruned          --sparsity: trained to so many zeros, then calibrated; zips to less
    clustered       --clusters: trained to so few values per kernel, then calibrated; zips to less

and measures them on all validation images. The networks of the last epoch are taken, so that
nothing is chosen on the images that measure. The seed chooses the calibration images and the
order and augmentation of the training. --output gets the files, results.json and results.md;
what is finished there is not done again, so an interrupted command goes on where it was.

Needs the [qat] extra; runs on TensorFlow whatever KERAS_BACKEND says. ResNets only:
tensorflow-model-optimization does not know the layers of ConvNeXt V2.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # tensorflow-model-optimization's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import sys
import time
import types
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import augment
import evaluate
import keras
import numpy as np
import run_folder
import train
from batches import TrainingBatches
from options import Options
from study import spread

import keras_seqpar as sp
from keras_seqpar import data, mobile
from keras_seqpar.mobile.export.packs.part_files import fingerprint
from keras_seqpar.mobile.quantization.qat.bridge import check_bridge
from keras_seqpar.mobile.quantization.qat.compat import need
from keras_seqpar.networks.loading import load_network

POST, TUNED, AWARE = "post-training", "fine-tuned", "aware"
# Flags that say where things lie, or which cases and seeds there are; the others are the same for
# all results in a folder.
PLACES = ("data_dir", "output", "seeds", "control", "sparsity", "clusters", "max_accuracy_drop")


def make_options() -> Options:
    """All flags."""
    options = Options(
        __doc__, {"flip": "digits: False, others: True", "crop_scale": CROPS}, "model"
    )
    options.group(
        "Comparison",
        ("integer", "seeds", 1, "How many; they are 0, 1, ...", 1),
        ("list", "categories", None, "Labels to cut out first, with commas between."),
        ("boolean", "control", True, "Also train without fake quantization."),
        ("float", "sparsity", None, "Also prune: share of zeros, above 0 and below 1."),
        ("integer", "clusters", None, "Also cluster: number of values per kernel.", 2),
        ("float", "max_accuracy_drop", None, "Fail where a file loses more: 0.01 is one point.", 0),
        ("string", "output", "runs/qat", "Folder for files and results."),
    )
    options.group("Data", *(flag for flag in evaluate.DATA_FLAGS if flag[1] != "split"))
    options.group(
        "Training",
        ("integer", "epochs", 2, "Passes over the training images.", 1),
        ("float", "learning_rate", 1e-4, "Of Adam; it falls to 0 by half a cosine."),
        ("float", "label_smoothing", 0.0, "Part of a label that goes to all categories.", 0.0),
        ("boolean", "flip", None, "Mirror half of the images."),
        ("float", "crop_scale", None, "Least share of the area in a random crop; 1: no crops."),
        ("integer", "calibration", 300, "Training images that set the first ranges.", 1),
    )
    return options


CROPS = "digits: {}, others: {}".format(*train.DEFAULTS["crop_scale"])


def read_flags(argv: list[str]) -> types.SimpleNamespace:
    """Parses the command line and fills in what it leaves open.

    Raises:
        ValueError: a flag is wrong.
    """
    chosen, _ = make_options().parse(argv)
    for name in ("flip", "crop_scale"):
        if getattr(chosen, name) is None:
            setattr(chosen, name, train.DEFAULTS[name][chosen.dataset != "digits"])
    if not chosen.learning_rate > 0:
        raise ValueError(f"--learning_rate must be above 0, got {chosen.learning_rate}.")
    if not chosen.label_smoothing < 1:
        raise ValueError(f"--label_smoothing must be below 1, got {chosen.label_smoothing}.")
    if chosen.sparsity is not None and not 0 < chosen.sparsity < 1:
        raise ValueError(f"--sparsity must be above 0 and below 1, got {chosen.sparsity}.")
    return chosen


def starting_network(chosen) -> keras.Model:
    """The network to start from, as float32 and cut to the categories chosen.

    Raises:
        ValueError: no such file or preset, or a network that cannot be trained so.
    """
    if chosen.model in sp.preset_names():
        network = sp.load_preset(chosen.model)
    elif Path(chosen.model).suffix == ".keras":
        network = load_network(chosen.model)
    else:
        raise ValueError(
            f"{chosen.model!r} is neither a .keras file nor a preset. Presets: "
            f"{', '.join(sp.preset_names())}."
        )
    if chosen.categories:
        network = sp.cutout(network, chosen.categories)
    network = sp.with_threshold(network, None)  # fitted on logits that training changes
    network_facts = check_bridge(network)
    if not network_facts.takes_pixels:
        raise ValueError(
            "The network takes normalized input. Build it with include_preprocessing=True, as "
            "recipes/train.py does."
        )
    return network


def load_data(network: keras.Model, chosen) -> data.Dataset:
    """Both splits, with the network's categories in its order."""
    known = list(mobile.labels_of(network))
    size = evaluate.image_size(network, chosen.image_size)
    wanted = {**vars(chosen), "image_size": size, "categories": known}
    chosen.image_size = size
    return train.load_data(types.SimpleNamespace(**wanted))


def training(split: data.Split, categories: int, chosen, seed: int) -> tuple[int, Iterator]:
    """Augmented training images without end.

    Returns:
        The steps of an epoch, and pairs of images `(batch, size, size, 3)` of 0 to 255 and
        labels `(batch, categories)`.
    """
    import tensorflow as tf

    policy = augment.Policy(chosen.flip, chosen.crop_scale)
    flags = types.SimpleNamespace(**{**vars(chosen), "seed": seed})
    batches = TrainingBatches(split, policy, categories, flags)
    layer = augment.Augment(policy, chosen.image_size)
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


def fit(twin, split: data.Split, chosen, seed: int, callbacks=()) -> None:
    """Trains a tf_keras model that gives logits.

    Raises:
        ValueError: the loss became infinite or NaN.
    """
    tf_keras = need("tf_keras")
    keras.utils.set_random_seed(seed)
    steps, batches = training(split, twin.output_shape[-1], chosen, seed)
    schedule = tf_keras.optimizers.schedules.CosineDecay(
        chosen.learning_rate, steps * chosen.epochs
    )
    twin.compile(
        tf_keras.optimizers.Adam(schedule),
        tf_keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = twin.fit(
        batches,
        steps_per_epoch=steps,
        epochs=chosen.epochs,
        callbacks=[tf_keras.callbacks.TerminateOnNaN(), *callbacks],
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    if not np.isfinite(history["loss"]).all():
        raise ValueError(
            f"The loss became infinite or NaN. Try a lower --learning_rate (it was "
            f"{chosen.learning_rate:g})."
        )


def cases(chosen) -> list[str]:
    """Names of what is compared."""
    found = [POST, TUNED, AWARE] if chosen.control else [POST, AWARE]
    if chosen.sparsity is not None:
        found.append(f"pruned {chosen.sparsity:g}")
    if chosen.clusters is not None:
        found.append(f"clustered {chosen.clusters}")
    return found


def make(case: str, network: keras.Model, dataset: data.Dataset, chosen, seed: int, path: Path):
    """Trains as the case says and writes the int8 file.

    Returns:
        The Keras network with the weights before rounding.
    """
    split = dataset.train
    rows = np.random.default_rng([seed, 1]).permutation(len(split))[: chosen.calibration]
    images = middle(split.read(np.sort(rows)), chosen.image_size)
    if case == AWARE:
        aware = mobile.quantize_aware(network, images)
        fit(aware, split, chosen, seed)
        mobile.convert_aware(aware, network, path, input_dtype="uint8")
        return mobile.from_tf_keras(aware, network)
    trained = network
    if case != POST:
        twin, callbacks = mobile.to_tf_keras(network, logits=True), []
        if case.startswith("pruned"):
            steps = chosen.epochs * (len(split) // chosen.batch_size)
            twin = mobile.prune(twin, chosen.sparsity, steps=steps)
            tfmot = need("tensorflow_model_optimization")
            callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]
        elif case.startswith("clustered"):
            twin = mobile.cluster(twin, chosen.clusters)
        fit(twin, split, chosen, seed, callbacks)
        trained = mobile.from_tf_keras(mobile.strip(twin), network)
    mobile.convert(trained, path, quantization="int8", calibration=images, input_dtype="uint8")
    return trained


def middle(images: np.ndarray, size: int) -> np.ndarray:
    """The middle of images that are stored larger, as validation sees them."""
    top, left = ((side - size) // 2 for side in images.shape[1:3])
    return images[:, top : top + size, left : left + size]


def measure(case: str, network: keras.Model, dataset: data.Dataset, chosen, seed: int) -> dict:
    """Makes and measures one file, unless that is done.

    Returns:
        JSON-ready figures: `top1` of the file, `float_top1` of the same network before rounding,
        `agreement` of the file with the network that all started from, `bytes`, `zipped` (bytes),
        `milliseconds` (median, 1 thread), `seconds` of training and conversion.

    Raises:
        ValueError: the file lost more than --max_accuracy_drop; it is not kept.
    """
    folder = Path(chosen.output) / f"seed-{seed}"
    path = folder / f"{case.replace(' ', '-')}.tflite"
    done = path.with_suffix(".json")
    validation = dataset.validation
    if not done.exists():
        print(f"== {case}, seed {seed}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        trained = make(case, network, dataset, chosen, seed, path)
        seconds = time.perf_counter() - started
        images = validation.read(range(len(validation)))
        report = mobile.verify(
            path, network, images, validation.labels, max_error=np.inf, min_agreement=0
        )
        logits = evaluate.run(trained, validation, chosen.batch_size)
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
        run_folder.write_json(done, figures)
    figures = json.loads(done.read_text("utf-8"))
    drop, most = figures["start_top1"] - figures["top1"], chosen.max_accuracy_drop
    if most is not None and round(drop, 9) > most:
        for file in (path, path.with_suffix(".labels.txt"), done):
            file.unlink(missing_ok=True)
        raise ValueError(
            f"The int8 file {case!r} of seed {seed} has an accuracy of {figures['top1']:.2%}, more "
            f"than {most:.2%} below the {figures['start_top1']:.2%} of {chosen.model}. It was not "
            "kept."
        )
    return figures


def table(results: Mapping[str, list[Mapping]]) -> str:
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


def verdict(results: Mapping[str, list[Mapping]]) -> str:
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


def compare(chosen) -> dict[str, list[dict]]:
    """Makes, measures and tabulates everything.

    Returns:
        Case -> figures, one per seed.

    Raises:
        ValueError: bad input, or results of other flags in the folder.
    """
    need("tensorflow_model_optimization")  # early
    network = starting_network(chosen)
    dataset = load_data(network, chosen)
    folder = Path(chosen.output)
    about = run_folder.describe(chosen, dataset)
    about["flags"]["weights of the model"] = fingerprint(network)  # its name may stay the same
    if (folder / "flags.json").exists():
        run_folder.check_same(folder, run_folder.read_flags(folder), about, PLACES)
    else:
        run_folder.start(folder, overwrite=False)
        run_folder.write_flags(folder, about)
    results: dict[str, list[dict]] = {case: [] for case in cases(chosen)}
    for seed in range(chosen.seeds):
        for case, found in results.items():
            found.append(measure(case, network, dataset, chosen, seed))
    start = results[POST][0]["start_top1"]
    head = (
        f"{chosen.model}, {start:.2%} in Keras, on the {len(dataset.validation)} validation "
        f"images of {dataset.name}; {chosen.epochs} epoch(s), {chosen.seeds} seed(s)."
    )
    text = f"{head}\n\n{table(results)}\n\n{verdict(results)}\n"
    print(f"\n{text}")
    run_folder.write_json(folder / "results.json", results)
    with run_folder.replacing(folder / "results.md") as temporary:
        temporary.write_text(text, "utf-8")
    return results


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        compare(read_flags(argv))
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Start the same command again to go on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
