"""Flags of the training commands, in groups, and the records that are made from them."""

from keras_seqpar.utils.commands import flag_group

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from keras_seqpar import data
from keras_seqpar.hierarchy.subsets import SUBSETS
from keras_seqpar.training import settings
from keras_seqpar.training.balance import BEST_BY, CLASS_WEIGHTS, NONE, SAMPLINGS, UNIFORM
from keras_seqpar.training.config import (
    DEFAULTS,
    JIT,
    NETWORKS,
    OPTIMIZERS,
    PRECISIONS,
    SEQPAR,
    STEMS,
    ClassificationConfig,
    RunConfig,
    SegmentationConfig,
    field_names,
    from_values,
)
from keras_seqpar.training.runs.flags import resumed_values, starts_anew
from keras_seqpar.training.settings import checks

DATA_DIR = "Where tensorflow-datasets keeps its data; for imagenet, also a folder with its splits."

flags.disclaim_key_flags()  # the flags belong to the command that defines them


def define_train_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """All flags of a training on labeled images.

    Args:
        values: where to define them.
    """
    with flag_group("Setting", values):
        flags.DEFINE_enum(
            "setting",
            None,
            settings.names(),
            "Defaults for a purpose; see keras_seqpar/training/settings.",
            flag_values=values,
        )
    define_data_flags(values)
    define_network_flags(values)
    define_trunk_flags(values)
    define_training_flags(values)
    define_augmentation_flags(values)
    define_run_flags(None, "Folder for everything that the run writes. [runs/DATASET]", values)


def define_data_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Flags of the images to train on."""
    with flag_group("Data", values):
        flags.DEFINE_string(
            "dataset",
            "digits",
            f"What to train on: {', '.join(data.SPECS)}.",
            flag_values=values,
        )
        flags.DEFINE_string("data_dir", None, DATA_DIR, flag_values=values)
        flags.DEFINE_list(
            "categories",
            None,
            "Train on these only: labels, separated by commas, or a subset of ImageNet-1k: "
            f"{', '.join(SUBSETS)}.",
            flag_values=values,
        )
        flags.DEFINE_integer(
            "image_size",
            None,
            f"Side of the square images in pixels. {_default('image_size')}",
            lower_bound=1,
            flag_values=values,
        )
        flags.DEFINE_boolean(
            "skip_unreadable",
            False,
            "Leave out images that cannot be decoded.",
            flag_values=values,
        )
        flags.DEFINE_float(
            "data_memory",
            data.MEMORY_LIMIT / 2**30,
            "The most memory for the decoded images of a split, in GiB; more are decoded when they "
            "are needed.",
            lower_bound=0.0,
            flag_values=values,
        )
        flags.DEFINE_integer(
            "workers",
            0,
            "Processes that decode such images; 0: threads. The result is the same.",
            lower_bound=0,
            flag_values=values,
        )


def define_network_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Flags of the network."""
    string = functools.partial(flags.DEFINE_string, flag_values=values)
    number = functools.partial(flags.DEFINE_float, flag_values=values)
    choice = functools.partial(flags.DEFINE_enum, flag_values=values)
    with flag_group("Network", values):
        string("family", None, f"For example resnet50. {_default('family')}")
        choice("network", SEQPAR, NETWORKS, "With branches, plain, or with one branch.")
        string("plan", "late_sp", "Plan of the branches.")
        string("hierarchy", None, "A .json or .yaml file with superclasses; default: none.")
        text = "Compute equal branches together, in banks: for a hundred categories and more."
        flags.DEFINE_boolean("fused", False, text, flag_values=values)
        number("width", None, f"Multiplies all channel counts. {_default('width')}")
        choice("stem", "auto", STEMS, "First layers; auto: small up to 64 pixels.")
        text = "Rate of stochastic depth at the last block."
        number("drop_path_rate", 0.0, text, lower_bound=0.0)
        text = "Initial weights: imagenet, timm:NAME, timm:PATH, keras:NAME, keras_cv:NAME or a "
        text += ".keras file. With plain:FILE.keras, branches too: parts of that trained plain "
        text += "network."
        string("init", None, text)
        text = "Fill only the weights of --init that fit, and list the others. Without it: the "
        text += "whole trunk or nothing."
        flags.DEFINE_boolean("partial_init", False, text, flag_values=values)


def define_trunk_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Flags of how a trained trunk is treated."""
    whole = functools.partial(flags.DEFINE_integer, flag_values=values)
    number = functools.partial(flags.DEFINE_float, flag_values=values)
    with flag_group("Trained trunk (of a plain network: all but the classifier)", values):
        text = "Epochs before --epochs in which the trunk stays as it is; needs --init."
        whole("frozen_epochs", 0, text, lower_bound=0)
        text = "Freeze it up to this layer only, or up to the last one that begins so (stage3); "
        text += "the rest of it learns with the branches, at --trunk_rate. [all of it]"
        flags.DEFINE_string("frozen_end", None, text, flag_values=values)
        text = "Views of every image in them: the whole, mirrored (--flip), then random ones. The "
        text += "trunk's features of them are computed once. 0: new views in every step."
        whole("frozen_views", 4, text, lower_bound=0)
        rates = ", ".join(f"{name} {rate}" for name, rate in OPTIMIZERS.items())
        number("frozen_rate", None, f"The highest learning rate in them. Default: {rates}.")
        number("frozen_memory", 4.0, "The most memory for these features, in GiB.")
        text = "Keep these features in this folder, and take from it what is there already: for "
        text += "several trainings with the same images and trunk, as those of a study."
        flags.DEFINE_string("features_dir", None, text, flag_values=values)
        number(
            "trunk_rate",
            1.0,
            "The trunk's learning rate where it learns, as a share of the others'.",
        )


def define_training_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Flags of the steps, the optimizer, unbalanced categories and the teacher."""
    whole = functools.partial(flags.DEFINE_integer, flag_values=values)
    number = functools.partial(flags.DEFINE_float, flag_values=values)
    choice = functools.partial(flags.DEFINE_enum, flag_values=values)
    with flag_group("Training", values):
        text = f"Passes over the training images. {_default('epochs')}"
        whole("epochs", None, text, lower_bound=0)
        whole("batch_size", 64, "Images per step.", lower_bound=1)
        rates = ", ".join(f"{name} {rate}" for name, rate in OPTIMIZERS.items())
        define_optimizer_flags(None, 1.0, f" Default: {rates}.", values)
        text = "Share of a label that is spread over all categories."
        number("label_smoothing", 0.0, text, lower_bound=0.0)
        text = "Weights in the loss; balanced: rare categories count as much as others."
        choice("class_weight", NONE, CLASS_WEIGHTS, text)
        text = "Order of the images; balanced: each category equally often, rare images repeatedly."
        choice("sampling", UNIFORM, SAMPLINGS, text)
        text = "What makes an epoch the best (best.keras), on the validation images."
        choice("best_by", "accuracy", list(BEST_BY), text)
        text = "A trained network to learn from, too (distillation): a .keras file or preset:NAME."
        flags.DEFINE_string("teacher", None, text, flag_values=values)
        text = "Share of the loss that compares with the teacher, 0 to 1."
        number("distillation", 0.5, text, lower_bound=0.0)
        text = "Divides the logits of teacher and network before they are compared."
        number("temperature", 2.0, text, lower_bound=0.0)
        choice("mixed_precision", "off", PRECISIONS, "Type of the features.")
        choice("jit", "auto", list(JIT), "Compile the step with XLA; auto: Keras decides.")
        whole("seed", 0, "Seed of weights, order and augmentation.", lower_bound=0)
        text = "Devices that share every batch; see keras_seqpar/training/distribution.py."
        whole("devices", 1, text, lower_bound=1)


def define_optimizer_flags(
    learning_rate: float | None,
    warmup_epochs: float,
    default: str = "",
    values: flags.FlagValues = flags.FLAGS,
) -> None:
    """Flags of the optimizer; the help text lists them in the group that is open.

    Args:
        learning_rate: the default, or `None`.
        warmup_epochs: the default.
        default: a sentence on the default of the learning rate.
        values: where to define them.
    """
    flags.DEFINE_enum(
        "optimizer",
        "adamw",
        list(OPTIMIZERS),
        "The optimizer; sgd is with Nesterov momentum.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "learning_rate",
        learning_rate,
        f"The highest learning rate, between warm-up and cosine decay.{default}",
        lower_bound=0.0,
        flag_values=values,
    )
    number = functools.partial(flags.DEFINE_float, lower_bound=0.0, flag_values=values)
    text = "Epochs of linear warm-up; at most a quarter of --epochs."
    number("warmup_epochs", warmup_epochs, text)
    number("weight_decay", 0.05, "Decoupled weight decay; not of biases and normalizations.")
    text = "Validate and save the average of the weights over the last 1 / (1 - EMA) steps, 0: off."
    number("ema", 0.0, text)
    text = "Change the weights after every so many steps, by the mean of their gradients."
    flags.DEFINE_integer("accumulate_steps", 1, text, lower_bound=1, flag_values=values)
    text = "Shorten gradients to this norm; 0: never."
    number("clip_norm", 0.0, text)
    text = "End early after so many epochs without a better one (by --best_by); 0: never."
    flags.DEFINE_integer("patience", 0, text, lower_bound=0, flag_values=values)


def define_augmentation_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Flags of the augmentation."""
    with flag_group("Augmentation", values):
        define_crop_flags(values)
        flags.DEFINE_float(
            "randaugment", 0.0, "Magnitude of RandAugment, 0 (off) to 10.", flag_values=values
        )
        flags.DEFINE_float("mixup", 0.0, "Alpha of mixup; 0 is off.", flag_values=values)
        flags.DEFINE_float("cutmix", 0.0, "Alpha of cutmix; 0 is off.", flag_values=values)


def define_crop_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Flags of flips and crops; the help text lists them in the group that is open."""
    flags.DEFINE_boolean(
        "flip", None, f"Mirror half of the images. {_default('flip')}", flag_values=values
    )
    flags.DEFINE_float(
        "crop_scale",
        None,
        f"Smallest share of the area in a random crop; 1: no crops. {_default('crop_scale')}",
        flag_values=values,
    )


def define_run_flags(output: str | None, text: str, values: flags.FlagValues = flags.FLAGS) -> None:
    """Flags of the run's folder.

    Args:
        output: default of --output.
        text: description of --output.
        values: where to define them.
    """
    with flag_group("Run", values):
        flags.DEFINE_string("output", output, text, flag_values=values)
        flags.DEFINE_boolean(
            "resume", False, "Continue the run in --output, with its flags.", flag_values=values
        )
        flags.DEFINE_boolean("overwrite", False, "Replace the run in --output.", flag_values=values)
        text = "Write a checkpoint every so many steps, too, not only after each epoch; 0: off."
        flags.DEFINE_integer("checkpoint_steps", 0, text, lower_bound=0, flag_values=values)
        text = "Write a checkpoint every so many minutes, too; 0: off."
        flags.DEFINE_float("checkpoint_minutes", 10.0, text, lower_bound=0.0, flag_values=values)


def define_measured_data_flags(*, split: bool = True) -> None:
    """Flags of the images that a trained network is measured on.

    Args:
        split: also define --split.
    """
    with flag_group("Data"):
        flags.DEFINE_string("dataset", "digits", f"What to measure on: {', '.join(data.SPECS)}.")
        if split:
            flags.DEFINE_enum("split", "validation", list(data.SPLITS), "Which of its splits.")
        flags.DEFINE_string("data_dir", None, DATA_DIR)
        text = "Side of the images; default: what the network takes."
        flags.DEFINE_integer("image_size", None, text, lower_bound=1)
        flags.DEFINE_boolean("skip_unreadable", False, "Leave out images that cannot be decoded.")
        flags.DEFINE_integer("batch_size", 64, "Images per step.", lower_bound=1)


def _default(name: str) -> str:
    digits, others = DEFAULTS[name]
    if digits == others:
        return f"[{digits}]"
    return f"[digits: {digits}, others: {others}]"


def read_train_flags(
    values: flags.FlagValues = flags.FLAGS,
) -> tuple[ClassificationConfig, RunConfig]:
    """Reads the flags of `define_train_flags`, and fills in the defaults that depend on others.

    Args:
        values: where they were defined; they must be parsed already.

    Raises:
        ValueError: a flag is wrong, or there is no run to resume.
    """
    names = [*field_names(ClassificationConfig), *field_names(RunConfig), "setting"]
    found = {name: values[name].value for name in names}
    given = {name for name in names if values[name].present}
    checks.check_resume(found)
    if found["resume"]:
        found["resume"] = not starts_anew(found["output"], given)
    if found["resume"]:
        found = resumed_values(found, given)
    elif found["setting"]:
        defaults = settings.read(found["setting"])
        found |= {name: value for name, value in defaults.items() if name not in given}
        if not found["frozen_epochs"] and "frozen_end" not in given:
            found["frozen_end"] = None  # of the setting, for epochs that were left out
    found = fill_in(found)
    made = from_values(ClassificationConfig, found), from_values(RunConfig, found)
    checks.check_used(found, given)
    return made


def read_segment_flags() -> tuple[SegmentationConfig, RunConfig]:
    """Reads the flags of recipes/segment.py.

    Raises:
        ValueError: a flag is wrong, or there is no run to resume.
    """
    names = [*field_names(SegmentationConfig), *field_names(RunConfig)]
    found = {name: flags.FLAGS[name].value for name in names}
    given = {name for name in (*names, "dry_run") if flags.FLAGS[name].present}
    if flags.FLAGS["evaluate"].value:
        checks.check_alone("evaluate", given - {"data"})
    checks.check_resume(found)
    if found["resume"]:
        found["resume"] = not starts_anew(found["output"], given - {"dry_run"})
        if found["resume"]:
            found = resumed_values(found, given)
    if not found["data"]:
        raise ValueError("Give --data: the zip with CamVid.")
    return from_values(SegmentationConfig, found), from_values(RunConfig, found)


def parse_train_flags(arguments: Sequence[str]) -> tuple[ClassificationConfig, RunConfig]:
    """Reads flags of recipes/train.py from a list, apart from the flags of the command itself.

    Args:
        arguments: for example `["--dataset=digits", "--epochs=3"]`.

    Raises:
        ValueError: a flag is unknown or wrong, or there is no run to resume.
    """
    return read_train_flags(_parsed(arguments))


def given_flags(arguments: Sequence[str]) -> dict[str, str]:
    """The flags of recipes/train.py in a list: name -> one argument, as `--width=0.5`.

    Args:
        arguments: as for `parse_train_flags`.

    Raises:
        ValueError: a flag is unknown or wrong.
    """
    values = _parsed(arguments)
    return {name: values[name].serialize() for name in values if values[name].present}


def _parsed(arguments: Sequence[str]) -> flags.FlagValues:
    values = flags.FlagValues()
    define_train_flags(values)
    try:
        rest = values(["", *arguments])[1:]
    except flags.Error as error:
        raise ValueError(f"{error} (see recipes/train.py --help)") from error
    if rest:
        raise ValueError(f"arguments without a flag: {' '.join(rest)}")
    return values


def fill_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fills in the defaults that depend on other values."""
    made = dict(values)
    for name, defaults in DEFAULTS.items():
        if made[name] is None:
            made[name] = defaults[made["dataset"] != "digits"]
    if made["stem"] == "auto":
        made["stem"] = "small" if made["image_size"] <= 64 else "standard"
    for name in ("learning_rate", "frozen_rate"):
        if made[name] is None:
            made[name] = OPTIMIZERS[made["optimizer"]]
    if made["output"] is None:
        made["output"] = f"runs/{made['dataset'].partition(':')[0]}"
    return made
