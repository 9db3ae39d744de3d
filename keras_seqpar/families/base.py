"""What a family of networks is (stem, stages, head, plans), and what all families share.

A family is one file of this folder, and one line in `keras_seqpar.networks.plans`. Nothing else
branches on a family. The names of its layers begin with `stem_` in the stem, with the given `name`
and `_block1_`, `_block2_`, ... in a stage, and with the given `prefix` and `pool` in the head.
These names identify weights: copies and weights of other packages are matched by them.
"""

import dataclasses
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import keras

# Statistics of ImageNet in 0..1 (torchvision's and timm's defaults).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of equal blocks. A family that needs more than this has its own subclass.

    Args:
        channels: output channels of every block.
        repeats: number of blocks.
        stride: stride of the first block (the others have 1).

    Example:

    >>> Stage(channels=64, repeats=2).scaled(0.5)
    Stage(channels=32, repeats=2, stride=1)
    """

    channels: int
    repeats: int
    stride: int = 1

    def scaled(self, width: float) -> "Stage":
        """Returns the stage with all channel counts multiplied by `width`."""
        return dataclasses.replace(self, channels=scale_channels(self.channels, width))


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where a family's network splits and what its branches are made of.

    Args:
        trunk: how many blocks of each of the family's first stages form the trunk;
            `None` means all blocks of a stage.
        levels: for each split-point, the stages of a branch below it, of the stage type of the
            family. A category at a shallower level than others runs the remaining levels itself.

    Raises:
        ValueError: no trunk stage, no level, a level without stages, or a stage whose blocks
            do not repeat at least once.

    Example:

    >>> from keras_seqpar.families.resnet import Bottlenecks
    >>> plan = Plan(trunk=(1, 1), levels=((Bottlenecks(256, 1, 2, hidden=64),),))
    >>> own = build_phl(["cat", "dog"], family="resnet50", plan=plan, width=0.125)
    """

    trunk: tuple[int | None, ...]
    levels: tuple[tuple[Stage, ...], ...]

    def __post_init__(self):
        if not self.trunk or not self.levels or not all(self.levels):
            raise ValueError(
                "A plan needs at least one trunk stage, one level, and one stage in each level, "
                f"got trunk={self.trunk}, levels={self.levels}."
            )
        below = [stage.repeats for level in self.levels for stage in level]
        for repeats in (*(n for n in self.trunk if n is not None), *below):
            if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
                raise ValueError(
                    "The repeats in a plan's trunk and levels must be whole numbers of 1 or more "
                    f"(None in the trunk for all of a stage), got {repeats!r}."
                )

    def scaled(self, width: float) -> "Plan":
        """Returns the plan with the channels of all branches multiplied by `width`."""
        return Plan(
            self.trunk, tuple(tuple(x.scaled(width) for x in level) for level in self.levels)
        )

    def get_config(self) -> dict:
        """The plan as JSON-ready data."""
        return {
            "trunk": list(self.trunk),
            "levels": [[dataclasses.asdict(stage) for stage in level] for level in self.levels],
        }

    @classmethod
    def from_config(cls, config: Mapping, stage_type: type[Stage]) -> "Plan":
        """The plan that `get_config` described, with stages of a family's type."""
        levels = tuple(tuple(stage_type(**x) for x in level) for level in config["levels"])
        return cls(tuple(config["trunk"]), levels)


@dataclasses.dataclass(frozen=True)
class LayerNames:
    """How another package names the layers of a network that computes the same.

    Args:
        network: what the package calls the network.
        patterns: regular expression of a name there -> the name here, with the named groups of
            the expression in braces. `stage` and `block` are counted from 1 here.
        first_stage: the number of the first stage there.
        first_block: the number of a stage's first block there.
        norms: ends of the names here of layers with a scale and an offset.
    """

    network: str
    patterns: Mapping[str, str]
    first_stage: int = 1
    first_block: int = 1
    norms: tuple[str, ...] = ("_norm",)

    def find(self, name: str) -> str | None:
        """The layer's name here, or `None` if no pattern matches."""
        for pattern, template in self.patterns.items():
            if found := re.fullmatch(pattern, name):
                groups: dict[str, str | int] = dict(found.groupdict())
                for key, first in (("stage", self.first_stage), ("block", self.first_block)):
                    if key in groups:
                        groups[key] = int(groups[key]) + 1 - first
                return template.format(**groups)
        return None


class Family(Protocol):
    """A kind of network. Families are frozen dataclasses that inherit from this.

    Attributes:
        stages: the stages of the plain network.
        stage_type: the type of its stages, in plans too.
        stems: name of a stem -> its stride. `"standard"` is the default of the builders; a stem
            for images of 32 to 64 pixels is called `"small"`.
        mean: what is subtracted from each channel of an image of 3 channels, in pixels of 0 to 255.
        std: what each channel is divided by after that.
        timm: the layer names of timm's network of the same function, if there is one.
        imagenet: the layer names of weights that a Python package ships, and as `network` the name
            of the package, if there is one; see `keras_seqpar.weights.packages`.
        keras_applications: the layer names of the network of `keras.applications`, if there is
            one of the same function. `keras_seqpar.weights.keras_applications` converts ResNets
            only.
        keras_cv: the layer names of the backbone of KerasCV, if there is one of the same function;
            see `keras_seqpar.weights.keras_cv`.

    Example:

    >>> from keras_seqpar.networks.plans import get_family
    >>> sorted(get_family("resnet50").stems)
    ['small', 'standard']
    """

    stages: tuple[Stage, ...]
    stage_type: ClassVar[type[Stage]] = Stage
    stems: ClassVar[Mapping[str, int]]
    mean: ClassVar[tuple[float, ...]] = tuple(255 * x for x in IMAGENET_MEAN)
    std: ClassVar[tuple[float, ...]] = tuple(255 * x for x in IMAGENET_STD)
    timm: LayerNames | None = None
    imagenet: LayerNames | None = None
    keras_applications: LayerNames | None = None
    keras_cv: LayerNames | None = None

    @property
    def plans(self) -> Mapping[str, Sequence[Plan]]:
        """Name -> plans with 1, 2, ... split-points.

        `"late_sp"` is the default of the builders.
        """
        ...

    @property
    def misfits(self) -> Mapping[str, str]:
        """Package -> why its weights would fit by shape but compute something else.

        The reason follows the network's name in a message, and says what to build instead.
        """
        return {}

    def stem(self, x, kind: str, width: float, init: "Initializers"):
        """The layers before the first stage.

        Args:
            x: images `(batch, height, width, channels)`.
            kind: name of the stem, one of `stems`.
            width: multiplies the channels.
            init: initializers.
        """
        ...

    def stage(
        self,
        x,
        stage,
        name: str,
        init: "Initializers",
        *,
        drop_path_rates: Sequence[float] = (),
        gain: str | None = None,
    ):
        """A run of blocks.

        Args:
            x: features `(batch, height, width, channels)`.
            stage: what to build, of the family's stage type.
            name: prefix of the layer names.
            init: initializers.
            drop_path_rates: rate of stochastic depth of each block; empty for none.
            gain: name of a `TopDownGain` to put into the first block, or `None`.

        Returns:
            The features after the stage.
        """
        ...

    def head(self, x, prefix: str, width: float, init: "Initializers"):
        """From features to one vector per image, `(batch, channels)`.

        Args:
            x: features `(batch, height, width, channels)`.
            prefix: of the layer names: `""` in a plain network, the name of the branch and an
                underscore in a branch. A head with many weights (EfficientNet's 1x1 convolution)
                can be left out of branches.
            width: multiplies the channels.
            init: initializers.
        """
        ...

    def recognizes(self, trunk: keras.Model) -> bool:
        """Whether a trunk has this family's kind of blocks.

        Asked only where nothing says how a network was built: for trunks alone, and for networks
        saved before they stored it.
        """
        return False


def stage_and_block(name: str) -> tuple[int, int]:
    """The numbers of a trunk layer's stage and block, 0 where its name has none.

    Example:

    >>> stage_and_block("stage3_block12_conv1")
    (3, 12)
    """
    found = re.match(r"stage(\d+)_(?:block(\d+)_)?", name)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def scale_channels(channels: int, width: float) -> int:
    """Scales a channel count to the nearest multiple of 8, at least 8; exact at width 1."""
    return channels if width == 1 else max(8, round(channels * width / 8) * 8)


class Initializers:
    """Initializers whose values depend on the seed and on the layer's name only.

    So a branch starts from the same values in every network it is built into, whatever
    its neighbors are, and building a pruned hierarchy equals cutting a full network.

    Args:
        seed: an integer, or `None` for values that differ at every build.
    """

    def __init__(self, seed: int | None):
        self.seed = seed

    def seed_of(self, name: str) -> int | None:
        """The seed of the layer `name`, or `None` without a seed."""
        if self.seed is None:
            return None
        return zlib.crc32(f"{self.seed}/{name}".encode()) >> 1  # torch takes 31 bits

    def he(self, name: str):
        """He's normal initialization by fan-out (torchvision and timm use it for ResNet)."""
        return keras.initializers.VarianceScaling(
            2.0, "fan_out", "untruncated_normal", seed=self.seed_of(name)
        )

    def truncated(self, name: str):
        """A truncated normal of deviation 0.02 (ConvNeXt V2, and the logits of all families)."""
        return keras.initializers.TruncatedNormal(stddev=0.02, seed=self.seed_of(name))
