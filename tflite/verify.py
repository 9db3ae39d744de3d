r"""Checks a .tflite file against the network it was made of, on real images.

    python tflite/verify.py out/best-c3-c5-c8-int8.tflite runs/digits/best.keras \
        --categories 3,5,8 --dataset digits

prints a table and fails where the two disagree more than the bounds allow. Runs on every
backend; any file that takes the same images and gives the same scores can be checked.
"""

from keras_seqpar.utils.commands import flag_group, run

from absl import flags

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.checking.command_flags import (
    define_bound_flags,
    define_image_flags,
    define_threads_flag,
)
from keras_seqpar.mobile.checking.datasets import images_of, load_dataset
from keras_seqpar.presets.sources import load_source

args = flags.FLAGS
with flag_group("File"):
    flags.DEFINE_list("categories", [], "What the file's cutout keeps; all by default.")
with flag_group("Comparison"):
    define_image_flags()
    define_bound_flags()
    define_threads_flag()
    flags.DEFINE_enum(
        "interpreter", None, list(mobile.INTERPRETERS), "By default the first that is installed."
    )


def main(argv: list[str]) -> None:
    """Verifies."""
    _, file, source = argv
    model = load_source(source)
    if args.categories:
        model = sp.cutout(model, [name.strip() for name in args.categories])
    dataset = load_dataset(args.dataset, model, data_dir=args.data_dir)
    report = mobile.verify(
        file,
        model,
        *images_of(dataset, "validation", model, args.images),
        max_error=args.max_error,
        min_agreement=args.min_agreement,
        max_accuracy_drop=args.max_accuracy_drop,
        threads=args.threads,
        interpreter=args.interpreter,
    )
    print(report)
    report.check()


if __name__ == "__main__":
    run(main, positional=["file.tflite", "network.keras"])
