"""Writes a network as a branch pack, adds a branch to one, or removes one.

    python tflite/pack.py runs/digits/best.keras --dataset digits --input_dtype uint8 \
        --output out/digits.pack
    python tflite/pack.py runs/more/best.keras --dataset digits --add 9 --output out/digits.pack
    python tflite/pack.py --remove 9 --output out/digits.pack

A pack is a folder: `trunk.tflite`, a small file per branch, and `manifest.json`. Int8 is
calibrated on training images. The pack then runs on validation images, beside Keras: where
the two agree too seldom, the command fails and leaves everything as it was. `--measure` also
converts the same network to one file, and compares answers and latency, run in turns.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys
import tempfile
from pathlib import Path

import numpy as np
import shared
from absl import app, flags, logging

import keras_seqpar as ks
from keras_seqpar import mobile
from keras_seqpar.mobile.format.pack_files import write_manifest
from keras_seqpar.mobile.runtime.manifest import Manifest

OUTPUT = flags.DEFINE_string("output", None, "The folder of the pack.", required=True)
ADD = flags.DEFINE_string("add", None, "A category of the network to add to an existing pack.")
REMOVE = flags.DEFINE_string("remove", None, "A category to remove from an existing pack.")
CATEGORIES = flags.DEFINE_list("categories", [], "What a new pack holds; all by default.")
QUANTIZATION = flags.DEFINE_enum(
    "quantization", "int8", mobile.PACK_QUANTIZATIONS, "How small a new pack is."
)
INPUT_DTYPE = flags.DEFINE_enum(
    "input_dtype", "float32", mobile.DTYPES, "For int8: of a new pack's images."
)
DATASET = flags.DEFINE_string(
    "dataset", None, "Real images: digits, imagenette, folder:PATH, archive:PATH."
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps its data.")
CALIBRATION = flags.DEFINE_integer(
    "calibration", 300, "For int8: how many training images set the ranges.", lower_bound=1
)
IMAGES = flags.DEFINE_integer(
    "images", 0, "How many validation images to compare on; 0 for all.", lower_bound=0
)
MIN_AGREEMENT = flags.DEFINE_float("min_agreement", None, "Least top-1 agreement, 0 to 1.")
THREADS = flags.DEFINE_integer("threads", 1, "CPU threads of the interpreter.", lower_bound=1)
MEASURE = flags.DEFINE_bool("measure", False, "Compare with the same network in one file.")

ROUNDS, RUNS = 10, 20  # of the latency: pack and file in turns, so that both see the same load


def check(runner: mobile.PackRunner, model, images: np.ndarray, quantization: str) -> None:
    """Refuses a pack that names other categories first than Keras does."""
    least = MIN_AGREEMENT.value
    if least is None:
        least = mobile.BOUNDS[quantization].min_agreement
    keras_top = model.predict(images, verbose=0).argmax(-1)
    share = float(np.mean(runner(images).argmax(-1) == keras_top))
    print(f"top-1 agreement with Keras: {share:.2%} of {len(images)} images, >= {least:.2%}")
    if not share >= least:
        raise ValueError(f"The pack disagrees with Keras: {share:.2%} is below {least:.2%}.")


def measure(runner: mobile.PackRunner, model, images, calibration, quantization) -> None:
    """Prints agreement and latency beside those of the same network in one file."""
    with tempfile.TemporaryDirectory() as folder:
        made = mobile.convert(
            model,
            Path(folder) / "fused.tflite",
            quantization=quantization,
            calibration=calibration,
            input_dtype=INPUT_DTYPE.value,
        )
        fused = mobile.Runner(made.path, threads=THREADS.value)
        share = float(np.mean(runner(images).argmax(-1) == fused(images).argmax(-1)))
        times = np.array(
            [(runner.latency(RUNS), fused.latency(RUNS)) for _ in range(ROUNDS)]
        )  # (rounds, 2, runs)
    ours, theirs = np.median(times, axis=(0, 2))
    print(f"top-1 agreement with one file: {share:.2%} of {len(images)} images")
    print(
        f"median latency: pack {ours:.2f} ms, one file {theirs:.2f} ms, ratio {ours / theirs:.3f}"
        f" ({runner.interpreter}, {THREADS.value} thread(s), {len(runner.categories)} categories)"
    )


def describe(manifest: Manifest, folder: Path) -> str:
    """Words what a pack holds."""
    branches = manifest.branches.values()
    sizes = sorted(part.bytes for part in branches)
    return (
        f"{folder}: {manifest.quantization}, trunk {manifest.trunk.bytes:,} bytes, "
        f"{len(sizes)} branches of {sizes[0]:,} to {sizes[-1]:,} bytes: "
        f"{', '.join(manifest.hierarchy.categories)}"
    )


def write(source: str, folder: Path) -> Manifest:
    """Makes a new pack, or adds a branch to one."""
    if DATASET.value is None:
        raise ValueError("Name real images with --dataset: the pack is compared with Keras.")
    model = shared.load_network(source, CATEGORIES.value)
    dataset = shared.load_dataset(DATASET.value, DATA_DIR.value, model)
    images, _ = shared.images_of(dataset, "validation", model, IMAGES.value)
    # Of all categories, also for one new branch: its logit must be right on the others' images.
    calibration, _ = shared.images_of(dataset, "train", model, CALIBRATION.value)
    if ADD.value:
        before = mobile.read_manifest(folder)
        manifest = mobile.add_branch(folder, model, ADD.value, calibration=calibration)
        try:
            known = set(manifest.hierarchy.category_ids)
            tree = model.get_layer("categories").hierarchy
            names = [id_ for id_ in tree.category_ids if id_ in known]
            runner = mobile.PackRunner(folder, names, threads=THREADS.value)
            check(runner, ks.cutout(model, names), images, manifest.quantization)
        except BaseException:
            mobile.remove_branch(folder, ADD.value)
            write_manifest(folder, before)  # its threshold, which the change took away
            raise
        return manifest
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        raise ValueError(f"{folder} exists already. Name another folder, or delete it.")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".pack-") as work:
        made = Path(work) / folder.name
        manifest = mobile.pack(
            model,
            made,
            quantization=QUANTIZATION.value,
            calibration=calibration,
            input_dtype=INPUT_DTYPE.value,
        )
        runner = mobile.PackRunner(made, threads=THREADS.value)
        check(runner, model, images, manifest.quantization)
        if MEASURE.value:
            measure(runner, model, images, calibration, manifest.quantization)
        os.rename(made, folder)
    return manifest


def main(arguments: list[str]) -> None:
    """Writes, adds or removes."""
    logging.set_verbosity(logging.ERROR)
    folder = Path(OUTPUT.value).expanduser()
    if REMOVE.value and (ADD.value or len(arguments) > 1):
        raise app.UsageError("--remove takes no network and no --add.")
    if not REMOVE.value and len(arguments) != 2:
        raise app.UsageError("Name one .keras file.")
    if REMOVE.value:
        mobile.remove_branch(folder, REMOVE.value)
        manifest = mobile.PackRunner(folder).manifest
    else:
        manifest = write(arguments[1], folder)
    print(describe(manifest, folder))


if __name__ == "__main__":
    try:
        app.run(main)
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"Error: {error} Nothing was changed.")
