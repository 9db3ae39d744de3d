r"""Writes a network as a branch pack, adds a branch to one, or removes one.

    python tflite/pack.py runs/digits/best.keras --dataset digits --input_dtype uint8 \
        --output out/digits.pack
    python tflite/pack.py runs/more/best.keras --dataset digits --add 9 --output out/digits.pack
    python tflite/pack.py --remove 9 --output out/digits.pack

A pack is a folder: a trunk, a small file per branch, and `manifest.json`. Int8 is
calibrated on training images. The pack then runs on validation images, beside Keras: where
the two disagree too often, the command fails and leaves everything as it was. `--measure` also
converts the same network to one file, and compares predictions and latency, run in turns.
"""

from keras_seqpar.utils.commands import flag_group, run

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's

import dataclasses
import tempfile
from pathlib import Path

import keras
import numpy as np
from absl import flags

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.checking.command_flags import define_image_flags, define_threads_flag
from keras_seqpar.mobile.checking.datasets import images_of, load_dataset
from keras_seqpar.mobile.format.pack_files import write_manifest
from keras_seqpar.mobile.runtime.manifest import Manifest
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.networks.prediction import predict
from keras_seqpar.presets.sources import load_source
from keras_seqpar.utils.files import new_folder

ROUNDS, RUNS = 10, 20  # of the latency: pack and file in turns, so that both see the same load

args = flags.FLAGS
with flag_group("Pack"):
    flags.DEFINE_string("output", None, "The folder of the pack.", required=True)
    flags.DEFINE_string("add", None, "A category of the network to add to an existing pack.")
    flags.DEFINE_string("remove", None, "A category to remove from an existing pack.")
    flags.DEFINE_list("categories", [], "What a new pack holds; all by default.")
    flags.DEFINE_enum("quantization", "int8", mobile.PACK_QUANTIZATIONS, "Of a new pack.")
    flags.DEFINE_enum("input_dtype", "float32", mobile.DTYPES, "For int8: of a new pack's images.")
    flags.DEFINE_integer(
        "calibration", 300, "For int8: how many training images set the ranges.", lower_bound=1
    )
with flag_group("Comparison"):
    define_image_flags(required=False)
    flags.DEFINE_float("min_agreement", None, "Least top-1 agreement, 0 to 1.")
    define_threads_flag()
    flags.DEFINE_bool("measure", False, "Compare with the same network in one file.")


def check(
    runner: mobile.PackRunner, model: keras.Model, images: np.ndarray, quantization: str
) -> None:
    """Prints how often pack and Keras predict the same; refuses a pack that disagrees too often."""
    bounds = mobile.BOUNDS[quantization]
    if args.min_agreement is not None:
        bounds = dataclasses.replace(bounds, min_agreement=args.min_agreement)
    expected, scores = predict(model, images).argmax(-1), runner(images)
    share = float(np.mean(scores.argmax(-1) == expected))
    ties = float(np.mean((scores == scores.max(-1, keepdims=True)).sum(-1) > 1))
    print(
        f"top-1 agreement with Keras: {share:.2%} of {len(images)} images, "
        f">= {bounds.min_agreement:.2%}; ties at the top: {ties:.2%}"
    )
    if problem := bounds.agreement_problem("top-1 agreement", share, len(images)):
        raise ValueError(f"The pack disagrees with Keras: {problem}. Nothing was changed.")


def measure(
    runner: mobile.PackRunner,
    model: keras.Model,
    images: np.ndarray,
    calibration: np.ndarray,
    quantization: str,
) -> None:
    """Prints agreement and latency beside those of the same network in one file."""
    with tempfile.TemporaryDirectory() as folder:
        made = mobile.convert(
            model,
            Path(folder) / "one.tflite",
            quantization=quantization,
            calibration=calibration,
            input_dtype=args.input_dtype,
        )
        one_file = mobile.Runner(made.path, threads=args.threads)
        share = float(np.mean(runner(images).argmax(-1) == one_file(images).argmax(-1)))
        times = np.array(
            [(runner.latency(RUNS), one_file.latency(RUNS)) for _ in range(ROUNDS)]
        )  # (rounds, 2, runs)
    ours, theirs = np.median(times, axis=(0, 2))
    print(f"top-1 agreement with one file: {share:.2%} of {len(images)} images")
    print(
        f"median latency: pack {ours:.2f} ms, one file {theirs:.2f} ms, ratio {ours / theirs:.3f}"
        f" ({runner.interpreter}, {args.threads} thread(s), {len(runner.categories)} categories)"
    )


def add(folder: Path, model: keras.Model, images: np.ndarray, calibration: np.ndarray) -> Manifest:
    """Adds a branch to a pack; restores the pack if it then disagrees with Keras."""
    before = mobile.read_manifest(folder)
    manifest = mobile.add_branch(folder, model, args.add, calibration=calibration)
    try:
        known = set(manifest.hierarchy.category_ids)
        names = [id_ for id_ in find_parts(model).hierarchy.category_ids if id_ in known]
        runner = mobile.PackRunner(folder, names, threads=args.threads)
        check(runner, sp.cutout(model, names), images, manifest.quantization)
    except BaseException:
        mobile.remove_branch(folder, args.add)
        write_manifest(folder, before)  # its threshold, which the change removed
        raise
    return manifest


def write(
    folder: Path, model: keras.Model, images: np.ndarray, calibration: np.ndarray
) -> Manifest:
    """Makes a new pack, which stays only if it agrees with Keras."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        raise ValueError(f"{folder} exists already. Name another folder, or delete it.")
    with new_folder(folder) as work:
        manifest = mobile.pack(
            model,
            work,
            quantization=args.quantization,
            calibration=calibration,
            input_dtype=args.input_dtype,
        )
        runner = mobile.PackRunner(work, threads=args.threads)
        check(runner, model, images, manifest.quantization)
        if args.measure:
            measure(runner, model, images, calibration, manifest.quantization)
    return manifest


def describe(manifest: Manifest, folder: Path) -> str:
    """What a pack holds, in one line."""
    sizes = sorted(part.bytes for part in manifest.branches.values())
    return (
        f"{folder}: {manifest.quantization}, trunk {manifest.trunk.bytes:,} bytes, "
        f"{len(sizes)} branches of {sizes[0]:,} to {sizes[-1]:,} bytes: "
        f"{', '.join(manifest.hierarchy.categories)}"
    )


def main(argv: list[str]) -> None:
    """Writes, adds or removes."""
    folder = Path(args.output).expanduser()
    if args.remove:
        if args.add or len(argv) > 1:
            raise ValueError("--remove takes no network and no --add.")
        mobile.remove_branch(folder, args.remove)
        print(describe(mobile.read_manifest(folder), folder))
        return
    if len(argv) != 2:
        raise ValueError("Name one .keras file, or preset:NAME.")
    if args.dataset is None:
        raise ValueError("Name real images with --dataset: the pack is compared with Keras.")
    model = load_source(argv[1])
    if args.categories:
        model = sp.cutout(model, [name.strip() for name in args.categories])
    dataset = load_dataset(args.dataset, model, data_dir=args.data_dir)
    images, _ = images_of(dataset, "validation", model, args.images)
    # Of all categories, also for one new branch: its logit must be right on the others' images.
    calibration, _ = images_of(dataset, "train", model, args.calibration)
    make = add if args.add else write
    print(describe(make(folder, model, images, calibration), folder))


if __name__ == "__main__":
    run(main, positional=["network.keras..."])
