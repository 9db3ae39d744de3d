r"""Converts a network, or a cutout of it, to .tflite, and keeps the file only if it agrees.

    python tflite/convert.py runs/digits/best.keras --categories 3,5,8 --dataset digits \
        --quantization int8 --input_dtype uint8 --output out/

writes out/best-c3-c5-c8-int8.tflite and its label file. In place of a file, `preset:NAME` takes a
network that comes with the package. Int8 is calibrated on training images of the kept categories.
The file then runs in the LiteRT interpreter on their validation images, beside Keras: where the two
disagree more than the bounds allow, or the accuracy drops by more than --max_accuracy_drop, the
command fails and leaves no file behind.

    python tflite/convert.py runs/digits/best.keras --dataset digits \
        --signature small=0,1,2 --signature all

writes one file for several uses, out/best-small-all-dynamic.tflite: a graph per signature, each
verified, with the weights that they share stored once. MediaPipe reads files without --signature
only.
"""

from keras_seqpar.utils.commands import flag_group, run

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import flags

import keras_seqpar as sp
from keras_seqpar import Hierarchy, mobile
from keras_seqpar.mobile.checking.command_flags import (
    define_bound_flags,
    define_image_flags,
    define_threads_flag,
)
from keras_seqpar.mobile.checking.datasets import images_of, load_dataset
from keras_seqpar.presets.sources import load_source, stem_of
from keras_seqpar.utils.files import make_folder

args = flags.FLAGS
with flag_group("Network"):
    flags.DEFINE_list("categories", [], "What the cutout keeps; all by default.")
    flags.DEFINE_multi_string(
        "signature", [], "NAME=CATEGORY,..., or NAME for all; give it once per signature."
    )
    flags.DEFINE_bool("gains", False, "Give the file an input for top-down gains.")
with flag_group("File"):
    flags.DEFINE_string("output", "out", "A folder, created if missing, or NAME.tflite.")
    flags.DEFINE_enum("quantization", "dynamic", mobile.QUANTIZATIONS, "Of the file.")
    flags.DEFINE_enum(
        "quantizer",
        "tensorflow",
        mobile.QUANTIZERS,
        "The quantizer; litert makes dynamic and int8 only.",
    )
    flags.DEFINE_enum("input_dtype", "float32", mobile.DTYPES, "For int8: of the input.")
    flags.DEFINE_enum("output_dtype", "float32", mobile.DTYPES, "For int8: of the scores.")
    flags.DEFINE_enum(
        "outputs",
        "scores",
        ["scores", "logits"],
        "What the file gives. Int8 scores have steps of 1/256: take logits for many categories.",
    )
    flags.DEFINE_integer(
        "calibration",
        300,
        "For int8 and int16x8: how many training images set the ranges.",
        lower_bound=1,
    )
    flags.DEFINE_float(
        "max_gain", None, "For int8 and int16x8 with --gains: the largest gain; 2 by default."
    )
with flag_group("Metadata"):
    flags.DEFINE_string("description", None, "What the file is.")
    flags.DEFINE_string("author", None, "Who made the network.")
    flags.DEFINE_string("license", None, "Of the weights.")
with flag_group("Comparison"):
    define_image_flags()
    define_bound_flags()
    define_threads_flag()


def parse_signatures(texts: Sequence[str]) -> dict[str, list[str] | None]:
    """Turns `name=category,category` or `name` into name -> categories, `None` for all."""
    found: dict[str, list[str] | None] = {}
    for text in texts:
        name, equals, categories = text.partition("=")
        if name in found:
            raise ValueError(f"--signature names {name!r} twice. Give every use its own name.")
        found[name] = [c.strip() for c in categories.split(",") if c.strip()] if equals else None
    return found


def file_to_write(stem: str, uses: Sequence[str], labels: Sequence[str]) -> Path:
    """The path of the file to write, whose folder it creates.

    Args:
        stem: the network's name.
        uses: names of the signatures.
        labels: of the network's categories.
    """
    path = Path(args.output).expanduser()
    if path.suffix != ".tflite":
        ids = [node.id for node in Hierarchy.of(labels).nodes]
        short = len(ids) <= 5 and len("-".join(ids)) <= 100
        kept = ids if short else [f"{len(ids)}-categories"]
        kept = list(uses) or (kept if args.categories else [])
        path = path / ("-".join([stem, *kept, args.quantization]) + ".tflite")
    return make_folder(path)


def verify(path: Path, model, dataset, signature: str | None) -> None:
    """Prints how a file compares with its network, and refuses one beyond the bounds."""
    report = mobile.verify(
        path,
        model,
        *images_of(dataset, "validation", model, args.images),
        max_error=args.max_error,
        min_agreement=args.min_agreement,
        max_accuracy_drop=args.max_accuracy_drop,
        threads=args.threads,
        signature=signature,
    )
    print(report)
    try:
        report.check()
    except ValueError as error:
        raise ValueError(f"{error} No file was written.") from error


def main(argv: list[str]) -> None:
    """Converts, verifies, keeps."""
    uses = parse_signatures(args.signature)
    model = load_source(argv[1])
    if args.categories:
        model = sp.cutout(model, [name.strip() for name in args.categories])
    if args.gains:
        model = sp.attention_input(model)
    dataset = load_dataset(args.dataset, model, data_dir=args.data_dir)
    calibration, max_gain = None, args.max_gain
    if args.quantization in ("int8", "int16x8"):
        calibration, _ = images_of(dataset, "train", model, args.calibration)
        if max_gain is None and len(model.inputs) > 1:
            max_gain = 2.0
    path = file_to_write(stem_of(argv[1]), list(uses), mobile.labels_of(model) or ())
    convert = mobile.convert
    if uses:
        convert = functools.partial(mobile.convert_signatures, signatures=uses)
    checked: list[tuple[str | None, Sequence[str] | None]] = [*uses.items()] or [(None, None)]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".convert-") as folder:
        made = convert(
            model,
            Path(folder) / path.name,
            quantization=args.quantization,
            calibration=calibration,
            input_dtype=args.input_dtype,
            output_dtype=args.output_dtype,
            outputs=args.outputs,
            quantizer=args.quantizer,
            max_gain=max_gain,
            description=args.description,
            author=args.author,
            license=args.license,
        )
        for use, categories in checked:
            cutout = sp.cutout(model, categories) if categories else model
            verify(made.path, cutout, dataset, use)
        print(made.move(path))


if __name__ == "__main__":
    run(main, positional=["network.keras"])
