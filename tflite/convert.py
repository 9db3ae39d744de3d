"""Converts a network, or a cutout of it, to .tflite, and keeps the file only if it agrees.

    python tflite/convert.py runs/digits/best.keras --categories 3,5,8 --dataset digits \
        --quantization int8 --input_dtype uint8 --output out/

writes out/best-c3-c5-c8-int8.tflite and its label file. Int8 is calibrated on training images
of the kept categories. The file then runs in the LiteRT interpreter on their validation
images, beside Keras: where the two disagree more than the bounds allow, or the accuracy drops by
more than --max_accuracy_drop, the command fails and leaves no file behind.

    python tflite/convert.py runs/digits/best.keras --dataset digits \
        --signature small=0,1,2 --signature all

writes one file for several uses, out/best-small-all-dynamic.tflite: a graph per signature, each
verified, with the weights that they share stored once. MediaPipe reads files without --signature
only.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import functools
import sys
import tempfile
from pathlib import Path

import shared
from absl import app, flags, logging

import keras_seqpar as ks
from keras_seqpar import Hierarchy, mobile

COMPARE = shared.comparison_flags()
CATEGORIES = flags.DEFINE_list("categories", [], "What the cutout keeps; all by default.")
SIGNATURE = flags.DEFINE_multi_string(
    "signature", [], "NAME=CATEGORY,... or NAME for all: a use of the file; can be repeated."
)
QUANTIZATION = flags.DEFINE_enum("quantization", "dynamic", mobile.QUANTIZATIONS, "How small.")
INPUT_DTYPE = flags.DEFINE_enum("input_dtype", "float32", mobile.DTYPES, "For int8: of the input.")
OUTPUT_DTYPE = flags.DEFINE_enum(
    "output_dtype", "float32", mobile.DTYPES, "For int8: of the scores."
)
CALIBRATION = flags.DEFINE_integer(
    "calibration",
    300,
    "For int8 and int16x8: how many training images set the ranges.",
    lower_bound=1,
)
QUANTIZER = flags.DEFINE_enum(
    "quantizer", "tensorflow", mobile.QUANTIZERS, "What quantizes: dynamic, int8 by either."
)
GAINS = flags.DEFINE_bool("gains", False, "Give the file an input for top-down gains.")
MAX_GAIN = flags.DEFINE_float(
    "max_gain", None, "For int8 and int16x8 with gains: the largest; 2 by default."
)
DESCRIPTION = flags.DEFINE_string("description", None, "For the metadata: what the file is.")
AUTHOR = flags.DEFINE_string("author", None, "For the metadata.")
LICENSE = flags.DEFINE_string("license", None, "For the metadata: of the weights.")
OUTPUT = flags.DEFINE_string("output", "out", "A folder, made if need be, or NAME.tflite.")


def target(source: Path, labels: tuple[str, ...]) -> Path:
    """Where the file goes; makes the folder."""
    path = Path(OUTPUT.value).expanduser()
    if path.suffix != ".tflite":
        ids = [node.id for node in Hierarchy.of(labels).nodes]
        kept = CATEGORIES.value and (ids if len(ids) <= 5 else [f"{len(ids)}-categories"])
        kept = list(shared.signatures(SIGNATURE.value)) or kept
        path = path / ("-".join([source.stem, *kept, QUANTIZATION.value]) + ".tflite")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def main(arguments: list[str]) -> None:
    """Converts, verifies, keeps."""
    if len(arguments) != 2:
        raise app.UsageError("Name one .keras file.")
    logging.set_verbosity(logging.ERROR)
    uses = shared.signatures(SIGNATURE.value)
    model = shared.load_network(arguments[1], CATEGORIES.value)
    if GAINS.value:
        model = ks.attention_input(model)
    dataset = shared.load_dataset(COMPARE.dataset.value, COMPARE.data_dir.value, model)
    calibration, max_gain = None, MAX_GAIN.value
    if QUANTIZATION.value in ("int8", "int16x8"):
        calibration, _ = shared.images_of(dataset, "train", model, CALIBRATION.value)
        if max_gain is None and len(model.inputs) > 1:
            max_gain = 2.0
    path = target(Path(arguments[1]), mobile.labels_of(model))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".convert-") as folder:
        make = mobile.convert
        if uses:
            make = functools.partial(mobile.convert_signatures, signatures=uses)
        made = make(
            model,
            Path(folder) / path.name,
            quantization=QUANTIZATION.value,
            calibration=calibration,
            input_dtype=INPUT_DTYPE.value,
            output_dtype=OUTPUT_DTYPE.value,
            quantizer=QUANTIZER.value,
            max_gain=max_gain,
            description=DESCRIPTION.value,
            author=AUTHOR.value,
            license=LICENSE.value,
        )
        for use, categories in (uses or {None: None}).items():
            net = ks.cutout(model, categories) if categories else model
            report = mobile.verify(
                made.path,
                net,
                *shared.images_of(dataset, "validation", net, COMPARE.images.value),
                max_error=COMPARE.max_error.value,
                min_agreement=COMPARE.min_agreement.value,
                max_accuracy_drop=COMPARE.max_accuracy_drop.value,
                threads=COMPARE.threads.value,
                signature=use,
            )
            print(report)
            report.check()
        print(made.move(path))


if __name__ == "__main__":
    try:
        app.run(main)
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"Error: {error} No file was written.")
