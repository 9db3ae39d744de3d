"""Configuration of a training: small records, each for one part of it.

The fields have the names of the flags of recipes/train.py and recipes/segment.py. `flags.json` in a
run's folder holds all of them.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from keras_seqpar.data import MEMORY_LIMIT
from keras_seqpar.data.augmentation import Policy

SEQPAR, PLAIN, ONE_BRANCH = "seqpar", "plain", "one_branch"
NETWORKS = (SEQPAR, PLAIN, ONE_BRANCH)
OPTIMIZERS = {"adamw": 0.002, "sgd": 0.05}  # name -> default learning rate
STEMS = ("auto", "standard", "small")
PRECISIONS = ("off", "float16", "bfloat16")
JIT: dict[str, Any] = {"auto": "auto", "on": True, "off": False}

# Defaults that depend on the data set: flag -> (for digits, for all others).
DEFAULTS: dict[str, tuple] = {
    "image_size": (32, 64),
    "family": ("resnet18", "resnet18"),
    "width": (0.25, 0.5),
    "epochs": (10, 20),
    "flip": (False, True),
    "crop_scale": (0.7, 0.35),
}


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The images to train on.

    Args:
        dataset: a spec of `keras_seqpar.data.load`.
        data_dir: where tensorflow-datasets keeps its data, or ImageNet's folder.
        categories: labels to train on, or the name of a subset of ImageNet-1k; `None` for all.
        image_size: side of the square images in pixels.
        skip_unreadable: leave out images that cannot be decoded.
        data_memory: the most memory for the decoded images of a split, in GiB; more are decoded
            when they are needed.
        workers: processes that decode such images; 0 for threads.
    """

    dataset: str
    data_dir: str | None
    categories: list[str] | None
    image_size: int
    skip_unreadable: bool
    data_memory: float = MEMORY_LIMIT / 2**30
    workers: int = 0


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The network to train.

    Args:
        family: for example "resnet50".
        network: "seqpar" for a network with branches, "plain" for the plain network of the
            family, "one_branch" for one branch of all categories.
        plan: plan of the branches.
        hierarchy: a .json or .yaml file with superclasses; `None` for one level.
        width: multiplies all channel counts.
        stem: "standard" or "small".
        drop_path_rate: rate of stochastic depth at the last block.
        init: where initial weights come from, as `keras_seqpar.weights.load` reads it.
        partial_init: fill only the weights that fit; without it, the whole trunk or nothing.
        fused: compute the equal branches of a level together, in a bank: for many categories.
    """

    family: str
    network: str
    plan: str
    hierarchy: str | None
    width: float
    stem: str
    drop_path_rate: float
    init: str | None
    partial_init: bool
    fused: bool = False

    def __post_init__(self):
        if self.hierarchy and self.network != SEQPAR:
            raise ValueError(
                f"--network {self.network} has no superclasses: leave out --hierarchy."
            )
        if self.fused and self.network != SEQPAR:
            raise ValueError(f"--network {self.network} has no branches: leave out --fused.")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its schedule: linear warm-up, then half a cosine to 0.

    Args:
        optimizer: "adamw" or "sgd".
        learning_rate: the highest learning rate, after the warm-up.
        epochs: passes over the training images.
        warmup_epochs: length of the warm-up in epochs; at most a quarter of them.
        weight_decay: decoupled weight decay; not of biases and normalizations.
        ema: momentum of the average of the weights over the steps (an exponential moving
            average), which is what is validated and saved; 0 for none.
        accumulate_steps: steps whose mean gradient changes the weights once.
        clip_norm: largest norm of the gradient of all weights of one learning rate, to which a
            longer one is shortened; 0 for no limit.
        patience: epochs without a better one after which the last part of a training ends; 0 for
            never.
    """

    optimizer: str
    learning_rate: float
    epochs: int
    warmup_epochs: float
    weight_decay: float
    ema: float = 0.0
    accumulate_steps: int = 1
    clip_norm: float = 0.0
    patience: int = 0

    def __post_init__(self):
        if not self.learning_rate > 0:
            raise ValueError(f"--learning_rate must be above 0, got {self.learning_rate}.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"--ema must be 0 or more and below 1, got {self.ema}.")


@dataclasses.dataclass(frozen=True)
class TrunkConfig:
    """How a trained trunk is treated. In a plain network it is all but the classifier.

    Args:
        frozen_epochs: epochs before the others in which the trunk stays as it is.
        frozen_views: views of every training image whose features are computed once; 0 to
            compute them in every step, from new views.
        frozen_rate: the highest learning rate in these epochs.
        frozen_memory: the most memory that the features may take, in GiB.
        trunk_rate: the learning rate of the trunk where it learns, as a share of the branches'.
        frozen_end: the last layer of the trunk that is frozen in these epochs, or the beginning of
            its name, as "stage3"; `None` for all of the trunk.
        features_dir: a folder to keep the features in for other trainings; `None` for none.
    """

    frozen_epochs: int
    frozen_views: int
    frozen_rate: float
    frozen_memory: float
    trunk_rate: float
    frozen_end: str | None = None
    features_dir: str | None = None

    def __post_init__(self):
        if self.frozen_end and not self.frozen_epochs:
            raise ValueError(
                f"--frozen_end {self.frozen_end} says where the frozen part of the trunk ends, but "
                "--frozen_epochs is 0. Give --frozen_epochs above 0, or no layer: --frozen_end="
            )
        for name in ("frozen_rate", "frozen_memory", "trunk_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"--{name} must be above 0, got {getattr(self, name)}.")


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """How a step is computed.

    Args:
        batch_size: images per step, over all devices.
        label_smoothing: share of a label that is spread over all categories.
        mixed_precision: type of the features: "off" (float32), "float16" or "bfloat16".
        jit: a key of `JIT`.
        seed: of weights, order and augmentation.
        devices: number of devices that share every batch.
    """

    batch_size: int
    label_smoothing: float
    mixed_precision: str
    jit: str
    seed: int
    devices: int

    def __post_init__(self):
        if not self.label_smoothing < 1:
            raise ValueError(f"--label_smoothing must be below 1, got {self.label_smoothing}.")


@dataclasses.dataclass(frozen=True)
class BalanceConfig:
    """How unbalanced categories are treated.

    Args:
        class_weight: "none", or "balanced" to make all categories count the same in the loss.
        sampling: "uniform" to train on each image once per epoch, or "balanced" to train on each
            category equally often.
        best_by: what makes an epoch the best: "accuracy", "balanced_accuracy" or "loss", on the
            validation images.
    """

    class_weight: str = "none"
    sampling: str = "uniform"
    best_by: str = "accuracy"

    def __post_init__(self):
        if self.class_weight == self.sampling == "balanced":
            raise ValueError(
                "--class_weight balanced and --sampling balanced each make all categories count "
                "the same; together, rare ones would count more than others. Give one of them."
            )


@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """A trained network to learn from, in addition to the labels.

    Args:
        teacher: its .keras file, or "preset:NAME"; `None` for no teacher.
        distillation: share of the loss that compares with the teacher, 0 to 1.
        temperature: divides the logits of both before they are compared.
    """

    teacher: str | None
    distillation: float
    temperature: float

    def __post_init__(self):
        if not 0 <= self.distillation <= 1:
            raise ValueError(f"--distillation must be 0 to 1, got {self.distillation}.")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"--temperature must be above 0, got {self.temperature}.")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Where a run writes, and whether it starts or continues.

    Args:
        output: the folder for everything that the run writes.
        resume: continue the run in that folder.
        overwrite: replace the run in that folder.
        checkpoint_steps: steps of an epoch between checkpoints; 0 for none.
        checkpoint_minutes: minutes between checkpoints; 0 for none. One is written at the end of
            every epoch in any case.
    """

    output: str
    resume: bool = False
    overwrite: bool = False
    checkpoint_steps: int = 0
    checkpoint_minutes: float = 10.0


@dataclasses.dataclass(frozen=True)
class ClassificationConfig:
    """A training on labeled images.

    Args:
        data: the images.
        network: the network.
        trunk: how a trained trunk is treated.
        optimizer: the optimizer and its schedule.
        step: how a step is computed.
        balance: how unbalanced categories are treated.
        distillation: the teacher, if there is one.
        augmentation: the augmentation of the training images.
    """

    data: DataConfig
    network: NetworkConfig
    trunk: TrunkConfig
    optimizer: OptimizerConfig
    step: StepConfig
    balance: BalanceConfig
    distillation: DistillationConfig
    augmentation: Policy

    def __post_init__(self):
        if not self.optimizer.epochs and not self.trunk.frozen_epochs:
            raise ValueError("Nothing to train: give --epochs or --frozen_epochs above 0.")
        if self.trunk.frozen_epochs and not self.network.init:
            raise ValueError(
                "--frozen_epochs needs a trained trunk: --init imagenet, timm:NAME or FILE.keras."
            )
        if self.trunk.frozen_epochs and self.network.partial_init:
            raise ValueError(
                "--frozen_epochs needs a whole trunk, but --partial_init fills only a part of it: "
                "give one of them."
            )
        if self.network.fused and self.step.devices > 1:
            raise ValueError(
                "--fused trains on one device only: the batch normalizations of banks are not "
                "synchronized. Give --devices 1, or leave out --fused."
            )
        if self.trunk.features_dir and self.step.devices > 1:
            raise ValueError(
                "--features_dir is for trainings on one device. Leave it out, or give --devices 1."
            )
        policy, views = self.augmentation, self.trunk.frozen_views
        different = 2 if policy.flip else 1
        random = policy.crop_scale < 1 or policy.randaugment
        if self.trunk.frozen_epochs and views > different and not random:
            raise ValueError(
                f"Without crops and RandAugment, an image has {different} different view(s): give "
                f"--frozen_views {different}, it was {views}; or --crop_scale below 1."
            )


@dataclasses.dataclass(frozen=True)
class SegmentationConfig:
    """A training on images with a class per pixel.

    Args:
        optimizer: the optimizer and its schedule.
        data: path of the zip with CamVid.
        crop: side of the training crops in pixels.
        stages: stages of the trunk, 2 or 3.
        width: multiplies the trunk's channels.
        channels: channels of the decoder.
        init: "preset:NAME" or "none".
        batch_size: crops per step.
        agree: weight of the loss that makes the scores of a part of a crop, run by itself, equal
            to those in the whole crop.
        grain: largest noise in that part, for pixels of 0 to 255.
        jit: a key of `JIT`.
        seed: of weights, order and augmentation.
    """

    optimizer: OptimizerConfig
    data: str
    crop: int
    stages: int
    width: float
    channels: int
    init: str
    batch_size: int
    agree: float
    grain: float
    jit: str
    seed: int

    def __post_init__(self):
        if self.grain and not self.agree:
            raise ValueError(
                f"--grain {self.grain:g} adds noise to the part that --agree compares, but "
                "--agree is 0. Give --agree above 0, or --grain 0."
            )
        if self.stages > 3:  # at 180 rows, the third has 45 left; a fourth would halve them
            raise ValueError(f"--stages must be 2 or 3, got {self.stages}.")


Config = TypeVar("Config")


def field_names(record: type) -> list[str]:
    """Names of the fields of a record and of the records in it."""
    names: list[str] = []
    for field in dataclasses.fields(record):
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            names += field_names(field.type)
        else:
            names.append(field.name)
    return names


def from_values(record: type[Config], values: Mapping[str, Any]) -> Config:
    """Makes a record, and the records in it, from values by name.

    Args:
        record: the class of the record.
        values: name of a field -> value; other names are ignored.

    Raises:
        ValueError: a value is out of range.
    """
    made: dict[str, Any] = {}
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            made[field.name] = from_values(field.type, values)
        else:
            made[field.name] = values[field.name]
    return record(**made)


def to_values(config) -> dict[str, Any]:
    """The reverse of `from_values`: all fields by name, including those of inner records."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values |= to_values(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return values
