"""Quantization-aware training beside post-training quantization: which int8 file is better?

    python recipes/qat.py imagenette_small --dataset imagenette --data_dir DIR --seeds 3
    python recipes/qat.py runs/digits/best.keras --epochs 1
    python recipes/qat.py best.keras --dataset folder:PATH --categories cat,dog --sparsity 0.5

Starts from a .keras file or a preset and makes int8 files of one size by each way, per seed:

    post-training   calibrated, not trained
    fine-tuned      trained further as it is, then calibrated: the gain of more training alone
    aware           trained with fake quantization (arXiv 1712.05877)
    pruned          --sparsity: trained to that share of zeros, then calibrated; zips smaller
    clustered       --clusters: trained to that many values per kernel, calibrated; zips smaller

and measures them on all validation images. The network of the last epoch is measured, so that no
epoch is selected by the images that it is measured on. The seed determines the calibration images
and the order and augmentation of the training. --output gets the files, results.json and
results.md; finished files are not made again, so an interrupted command can be continued.

Needs the [qat] extra; runs on TensorFlow whatever KERAS_BACKEND says. ResNets only:
tensorflow-model-optimization does not know the layers of ConvNeXt V2.
"""

from keras_seqpar.utils.commands import flag_group, own_flags, run

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # tensorflow-model-optimization's

from pathlib import Path

import keras
from absl import flags

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.data import fingerprints
from keras_seqpar.data.augmentation import Policy
from keras_seqpar.data.fingerprints import Fingerprint
from keras_seqpar.mobile.checking import qat_comparison as comparison
from keras_seqpar.mobile.export.packs.part_files import fingerprint
from keras_seqpar.mobile.quantization.qat.bridge import check_bridge
from keras_seqpar.mobile.quantization.qat.compat import need
from keras_seqpar.networks.loading import load_network
from keras_seqpar.training import evaluation
from keras_seqpar.training.config import DEFAULTS, DataConfig
from keras_seqpar.training.flags import define_crop_flags, define_measured_data_flags
from keras_seqpar.training.runs import flags as run_flags
from keras_seqpar.training.tasks import classification
from keras_seqpar.utils.files import is_taken, write_file, write_json

with flag_group("Comparison"):
    flags.DEFINE_integer("seeds", 1, "Number of seeds; they are 0, 1, ...", lower_bound=1)
    flags.DEFINE_list("categories", None, "Labels to cut out first, separated by commas.")
    flags.DEFINE_boolean("control", True, "Also train without fake quantization.")
    flags.DEFINE_float("sparsity", None, "Also prune: share of zeros, above 0 and below 1.")
    flags.DEFINE_integer(
        "clusters", None, "Also cluster: number of values per kernel.", lower_bound=2
    )
    flags.DEFINE_float(
        "max_accuracy_drop",
        None,
        "Fail if a file loses more: 0.01 is one percentage point.",
        lower_bound=0,
    )
    flags.DEFINE_string("output", "runs/qat", "Folder for files and results.")
define_measured_data_flags(split=False)
with flag_group("Training"):
    flags.DEFINE_integer("epochs", 2, "Passes over the training images.", lower_bound=1)
    flags.DEFINE_float(
        "learning_rate", 1e-4, "Learning rate of Adam; it falls to 0 by half a cosine."
    )
    flags.DEFINE_float(
        "label_smoothing",
        0.0,
        "Share of a label that is spread over all categories.",
        lower_bound=0.0,
    )
    define_crop_flags()
    flags.DEFINE_integer(
        "calibration", 300, "Training images that set the first ranges.", lower_bound=1
    )

# Flags that may differ between calls; all others must be the same for all results in a folder.
CALL_FLAGS = ("data_dir", "output", "seeds", "control", "sparsity", "clusters", "max_accuracy_drop")


def starting_network(source: str, categories: list[str] | None) -> keras.Model:
    """The network to start from.

    Args:
        source: a .keras file, or the name of a preset.
        categories: labels to cut out; `None` for all.

    Raises:
        ValueError: no such file or preset, or a network that cannot be trained this way.
    """
    if source in sp.preset_names():
        network = sp.load_preset(source)
    elif Path(source).suffix == ".keras":
        network = load_network(source)
    else:
        raise ValueError(
            f"{source!r} is neither a .keras file nor a preset. Presets: "
            f"{', '.join(sp.preset_names())}."
        )
    if categories:
        network = sp.cutout(network, categories)
    network = sp.with_threshold(network, None)  # fitted on logits that training changes
    if not check_bridge(network).takes_pixels:
        raise ValueError(
            "The network takes normalized input. Build it with include_preprocessing=True, as "
            "recipes/train.py does."
        )
    return network


def open_folder(folder: Path, about: dict, contents: Fingerprint) -> None:
    """Opens a folder of results, and checks that results in it were made with the same flags.

    Raises:
        ValueError: the folder has other files, or results that were made with other flags.
    """
    if (folder / "flags.json").exists():
        run_flags.check_same(folder, about, contents, CALL_FLAGS)
        return
    if is_taken(folder):
        raise ValueError(f"{folder} has other files. Choose another folder with --output.")
    folder.mkdir(parents=True, exist_ok=True)
    run_flags.write_flags(folder, about, contents)


def main(argv: list[str]) -> None:
    """Makes and measures all files, and prints the table."""
    args, source = flags.FLAGS, argv[1]
    need("tensorflow_model_optimization")  # before the work, not after it
    digits = args.dataset == "digits"
    flip, crop_scale = (
        DEFAULTS[name][not digits] if args[name].value is None else args[name].value
        for name in ("flip", "crop_scale")
    )
    cases = comparison.cases(control=args.control, sparsity=args.sparsity, clusters=args.clusters)
    network = starting_network(source, args.categories)
    config = comparison.TrainingConfig(
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        label_smoothing=args.label_smoothing,
        image_size=evaluation.size_of(network, args.image_size),
        calibration=args.calibration,
        augmentation=Policy(flip, crop_scale),
    )
    dataset = classification.load_data(
        DataConfig(
            dataset=args.dataset,
            data_dir=args.data_dir,
            categories=list(mobile.labels_of(network) or ()),
            image_size=config.image_size,
            skip_unreadable=args.skip_unreadable,
        ),
        batch_size=args.batch_size,
        cropped=crop_scale < 1,
    )
    values = own_flags() | {
        "model": source,
        "weights of the model": fingerprint(network),  # its name may stay the same
        "image_size": config.image_size,
        "flip": flip,
        "crop_scale": crop_scale,
    }
    images = {name: len(split) for name, split in dataset.splits.items()}
    folder = Path(args.output)
    contents = fingerprints.fingerprint(dataset)
    about = run_flags.describe(values, dataset.categories, images, contents)
    open_folder(folder, about, contents)

    results: dict[str, list[dict]] = {case.name: [] for case in cases}
    for seed in range(args.seeds):
        for case in cases:
            found = comparison.measure(
                case,
                network,
                dataset,
                config,
                seed,
                folder / f"seed-{seed}",
                max_accuracy_drop=args.max_accuracy_drop,
            )
            results[case.name].append(found)
    start = results[comparison.POST][0]["start_top1"]
    text = (
        f"{source}, {start:.2%} in Keras, on the {len(dataset.validation)} validation images of "
        f"{dataset.name}; {args.epochs} epoch(s), {args.seeds} seed(s).\n\n"
        f"{comparison.table(results)}\n\n{comparison.verdict(results)}\n"
    )
    print(f"\n{text}")
    write_json(folder / "results.json", results)
    write_file(folder / "results.md", text)


if __name__ == "__main__":
    run(
        main,
        positional=["MODEL"],
        stopped="Stopped. Start the same command again to continue.",
    )
