"""Checks a .tflite file against the network it was made of, on real images.

    python tflite/verify.py out/best-c3-c5-c8-int8.tflite runs/digits/best.keras \
        --categories 3,5,8 --dataset digits

prints a table and fails where the two disagree more than the bounds allow. Runs on every
backend; any file that takes the same images and gives the same scores can be checked.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys

import shared
from absl import app, flags

from keras_seqpar import mobile

COMPARE = shared.comparison_flags()
CATEGORIES = flags.DEFINE_list("categories", [], "What the file's cutout keeps; all by default.")
INTERPRETER = flags.DEFINE_enum(
    "interpreter", None, list(mobile.INTERPRETERS), "By default the first that is installed."
)


def main(arguments: list[str]) -> None:
    """Verifies."""
    if len(arguments) != 3:
        raise app.UsageError("Name a .tflite file and the .keras file it was made of.")
    model = shared.load_network(arguments[2], CATEGORIES.value)
    dataset = shared.load_dataset(COMPARE.dataset.value, COMPARE.data_dir.value, model)
    report = mobile.verify(
        arguments[1],
        model,
        *shared.images_of(dataset, "validation", model, COMPARE.images.value),
        max_error=COMPARE.max_error.value,
        min_agreement=COMPARE.min_agreement.value,
        max_accuracy_drop=COMPARE.max_accuracy_drop.value,
        threads=COMPARE.threads.value,
        interpreter=INTERPRETER.value,
    )
    print(report)
    report.check()


if __name__ == "__main__":
    try:
        app.run(main)
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"Error: {error}")
