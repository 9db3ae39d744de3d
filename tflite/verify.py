"""Checks a .tflite file against the network it was made of, on real pictures.

    python tflite/verify.py out/best-c3-c5-c8-int8.tflite runs/digits/best.keras \
        --categories 3,5,8 --dataset digits

prints a table and fails where the two disagree more than the bounds allow. Runs on every
backend; any file that takes the same pictures and gives the same scores can be checked.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys

import shared
from absl import app, flags

from keras_seqpar import mobile

CATEGORIES = flags.DEFINE_list("categories", [], "What the file's cutout keeps; all by default.")
DATASET = flags.DEFINE_string(
    "dataset", None, "Real pictures: digits, imagenette, folder:PATH, archive:PATH.", required=True
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps its data.")
PICTURES = flags.DEFINE_integer(
    "pictures", 0, "How many validation pictures to compare on; 0 for all.", lower_bound=0
)
MAX_ERROR = flags.DEFINE_float(
    "max_error", None, "Largest error allowed, relative to the output range."
)
MIN_AGREEMENT = flags.DEFINE_float("min_agreement", None, "Least top-1 agreement, 0 to 1.")
THREADS = flags.DEFINE_integer("threads", 1, "CPU threads of the interpreter.", lower_bound=1)
INTERPRETER = flags.DEFINE_enum(
    "interpreter", None, list(mobile.INTERPRETERS), "By default the first that is installed."
)


def main(arguments: list[str]) -> None:
    """Verifies."""
    if len(arguments) != 3:
        raise app.UsageError("Name a .tflite file and the .keras file it was made of.")
    model = shared.load_network(arguments[2], CATEGORIES.value)
    dataset = shared.load_dataset(DATASET.value, DATA_DIR.value, model)
    report = mobile.verify(
        arguments[1],
        model,
        *shared.pictures_of(dataset, "validation", model, PICTURES.value),
        max_error=MAX_ERROR.value,
        min_agreement=MIN_AGREEMENT.value,
        threads=THREADS.value,
        interpreter=INTERPRETER.value,
    )
    print(report)
    report.check()


if __name__ == "__main__":
    try:
        app.run(main)
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"Error: {error}")
