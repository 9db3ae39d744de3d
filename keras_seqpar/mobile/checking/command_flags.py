"""Flags that several commands on .tflite files share (absl, extra `train`)."""

from absl import flags

flags.disclaim_key_flags()  # they belong to the command that calls these functions


def define_image_flags(*, required: bool = True) -> None:
    """Defines the images to compare on: --dataset, --data_dir, --images.

    Args:
        required: a command line without --dataset is refused.
    """
    flags.DEFINE_string(
        "dataset",
        None,
        "Real images: digits, imagenette, folder:PATH, archive:PATH.",
        required=required,
    )
    flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps its data.")
    flags.DEFINE_integer("images", 0, "Validation images to compare on; 0 for all.", lower_bound=0)


def define_bound_flags() -> None:
    """Defines how far a file may differ: --max_error, --min_agreement, --max_accuracy_drop."""
    flags.DEFINE_float("max_error", None, "Largest error allowed, relative to the output range.")
    flags.DEFINE_float("min_agreement", None, "Least top-1 agreement, 0 to 1.")
    flags.DEFINE_float(
        "max_accuracy_drop",
        None,
        "How much lower than Keras's the accuracy may be: 0.01 is one point.",
        lower_bound=0,
    )


def define_threads_flag() -> None:
    """Defines --threads."""
    flags.DEFINE_integer("threads", 1, "CPU threads of the interpreter.", lower_bound=1)
