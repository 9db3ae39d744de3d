"""Flags that several commands on streams share, and how they are read (absl, extra `train`)."""

from absl import flags

from keras_seqpar.selective.settings import Detection

flags.disclaim_key_flags()  # they belong to the command that calls these functions


def define_detection_flags(*, drop_single: bool) -> None:
    """Defines how changes are found: --luminance, --drop_single, --dilate.

    Args:
        drop_single: the default of --drop_single.
    """
    flags.DEFINE_bool("luminance", False, "Compare luminance instead of channels.")
    flags.DEFINE_bool(
        "drop_single", drop_single, "Leave out changed pixels without a changed neighbor."
    )
    flags.DEFINE_integer("dilate", 0, "Pixels by which changes are grown.", lower_bound=0)


def read_detection(threshold: float | str) -> Detection:
    """The detection that the flags of `define_detection_flags` describe.

    Args:
        threshold: difference from which on a pixel counts as changed, or `"auto"`.
    """
    args = flags.FLAGS
    return Detection(threshold, args.luminance, args.drop_single, args.dilate)


def define_freeze_flag() -> None:
    """Defines --freeze."""
    flags.DEFINE_bool(
        "freeze", True, "Make weights constants on TensorFlow: faster, needs much memory."
    )
