"""Converts a network, or a cutout of it, to .tflite, and keeps the file only if it agrees.

    python tflite/convert.py runs/digits/best.keras --categories 3,5,8 --dataset digits \
        --quantization int8 --input_dtype uint8 --output out/

writes out/best-c3-c5-c8-int8.tflite and its label file. Int8 is calibrated on training pictures
of the kept categories. The file then runs in the LiteRT interpreter on their validation
pictures, beside Keras: where the two disagree more than the bounds allow, or the accuracy drops by
more than --max_accuracy_drop, the command fails and leaves no file behind.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter's
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys
import tempfile
from pathlib import Path

import shared
from absl import app, flags, logging

from keras_seqpar import Hierarchy, mobile

COMPARE = shared.comparison_flags()
CATEGORIES = flags.DEFINE_list("categories", [], "What the cutout keeps; all by default.")
QUANTIZATION = flags.DEFINE_enum("quantization", "dynamic", mobile.QUANTIZATIONS, "How small.")
INPUT_DTYPE = flags.DEFINE_enum("input_dtype", "float32", mobile.DTYPES, "For int8: of the input.")
OUTPUT_DTYPE = flags.DEFINE_enum(
    "output_dtype", "float32", mobile.DTYPES, "For int8: of the scores."
)
CALIBRATION = flags.DEFINE_integer(
    "calibration",
    300,
    "For int8 and int16x8: how many training pictures set the ranges.",
    lower_bound=1,
)
QUANTIZER = flags.DEFINE_enum(
    "quantizer", "tensorflow", mobile.QUANTIZERS, "What quantizes: dynamic, int8 by either."
)
DESCRIPTION = flags.DEFINE_string("description", None, "For the metadata: what the file is.")
AUTHOR = flags.DEFINE_string("author", None, "For the metadata.")
LICENCE = flags.DEFINE_string("licence", None, "For the metadata: of the weights.")
OUTPUT = flags.DEFINE_string("output", "out", "A folder, made if need be, or NAME.tflite.")


def target(source: Path, labels: tuple[str, ...]) -> Path:
    """Where the file goes; makes the folder."""
    path = Path(OUTPUT.value).expanduser()
    if path.suffix != ".tflite":
        ids = [node.id for node in Hierarchy.of(labels).nodes]
        kept = CATEGORIES.value and (ids if len(ids) <= 5 else [f"{len(ids)}-categories"])
        path = path / ("-".join([source.stem, *kept, QUANTIZATION.value]) + ".tflite")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def main(arguments: list[str]) -> None:
    """Converts, verifies, keeps."""
    if len(arguments) != 2:
        raise app.UsageError("Name one .keras file.")
    logging.set_verbosity(logging.ERROR)
    model = shared.load_network(arguments[1], CATEGORIES.value)
    dataset = shared.load_dataset(COMPARE.dataset.value, COMPARE.data_dir.value, model)
    images, labels = shared.pictures_of(dataset, "validation", model, COMPARE.pictures.value)
    calibration = None
    if QUANTIZATION.value in ("int8", "int16x8"):
        calibration, _ = shared.pictures_of(dataset, "train", model, CALIBRATION.value)
    path = target(Path(arguments[1]), mobile.labels_of(model))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".convert-") as folder:
        made = mobile.convert(
            model,
            Path(folder) / path.name,
            quantization=QUANTIZATION.value,
            calibration=calibration,
            input_dtype=INPUT_DTYPE.value,
            output_dtype=OUTPUT_DTYPE.value,
            quantizer=QUANTIZER.value,
            description=DESCRIPTION.value,
            author=AUTHOR.value,
            licence=LICENCE.value,
        )
        report = mobile.verify(
            made.path,
            model,
            images,
            labels,
            max_error=COMPARE.max_error.value,
            min_agreement=COMPARE.min_agreement.value,
            max_accuracy_drop=COMPARE.max_accuracy_drop.value,
            threads=COMPARE.threads.value,
        )
        print(report)
        report.check()
        print(made.move(path))


if __name__ == "__main__":
    try:
        app.run(main)
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"Error: {error} No file was written.")
