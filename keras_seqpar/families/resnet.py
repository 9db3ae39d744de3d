"""ResNet: stages, stem, head, plans and the names of others' weights.

He et al., arXiv 1512.03385, in the arithmetic of timm's `resnet.py` (its defaults): the
stride sits in the 3x3 convolution of a bottleneck ("v1.5"), convolutions have no bias,
batch normalization has epsilon 1e-5 and momentum 0.9, padding is symmetric.
Scales of the normalizations start at 1 as in torchvision; timm starts the last one of each
block at 0.

The families `resnet50_v1`, `resnet101_v1` and `resnet152_v1` have the stride in the first 1x1
convolution instead, as published and as in `keras.applications.ResNet50`, so that its weights
fit. Its other differences (biases in front of the normalizations, epsilon 1.001e-5) are another
way to write the same function: `keras_seqpar.weights.from_keras_applications` converts them.

Deviation: `stem="small"` is a 3x3 convolution of stride 1 without pooling, for images of
32 to 64 pixels (section 4.2 of the ResNet paper uses such a stem on CIFAR).

Of the plans, only totals are published (arXiv 2308.05128, tables 2 to 4): `late_sp` on ResNet-50
gives 19,986,506 parameters for 10 categories and 14,264,901 for 5 of them, to the digit. All other
widths are this package's own; their totals are at or under the published ones:

- `late_sp`: splits after the third stage.
- `small`: the same split, branches of a quarter to a third of the parameters.
- `big`: the same split; 10 branches and the trunk have as many parameters as ResNet-50.
- `early`: splits after the second stage (PHL on basic blocks: after its first block), so that
  a cutout saves MACs as well: on ResNet-50 and ResNet-18, 5 of 10 categories need less than
  60 % of the plain network's parameters and MACs.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import keras
from keras import layers

from keras_seqpar.families.base import (
    Family,
    Initializers,
    LayerNames,
    Plan,
    Stage,
    scale_channels,
)
from keras_seqpar.families.layers import TopDownGain, add_residual

_FORMAT = "channels_last"
_SIZES = (64, 128, 256, 512)  # of the 3x3 convolutions, by stage: table 1 of arXiv 1512.03385


@dataclasses.dataclass(frozen=True)
class Bottlenecks(Stage):
    """A stage of bottleneck blocks: 1x1, 3x3 and 1x1 convolutions.

    Args:
        channels: output channels of every block.
        repeats: number of blocks.
        stride: stride of the first block (the others have 1).
        hidden: channels of the 3x3 convolutions.
    """

    hidden: int = dataclasses.field(kw_only=True)

    def __post_init__(self):
        if isinstance(self.hidden, bool) or not isinstance(self.hidden, int) or self.hidden < 1:
            raise ValueError(
                "Bottlenecks need hidden channels, a whole number of 1 or more, "
                f"got {self.hidden!r}."
            )

    def scaled(self, width: float) -> "Bottlenecks":
        """Returns the stage with all channel counts multiplied by `width`."""
        return dataclasses.replace(
            self,
            channels=scale_channels(self.channels, width),
            hidden=scale_channels(self.hidden, width),
        )


class ResNet(Family):
    """What ResNets of both kinds of blocks share."""

    stems: ClassVar[Mapping[str, int]] = {"standard": 4, "small": 1}

    def stem(self, x, kind: str, width: float, init: Initializers):
        """The layers before the first stage."""
        channels = scale_channels(64, width)
        if kind == "small":
            return _conv_norm(x, channels, 3, 1, "stem_conv", init)
        x = _conv_norm(x, channels, 7, 2, "stem_conv", init)
        x = layers.ZeroPadding2D(1, data_format=_FORMAT, name="stem_maxpool_pad")(x)  # x >= 0 here
        return layers.MaxPooling2D(3, 2, data_format=_FORMAT, name="stem_maxpool")(x)

    def stage(
        self,
        x,
        stage,
        name: str,
        init: Initializers,
        *,
        drop_path_rates: Sequence[float] = (),
        gain: str | None = None,
    ):
        """A run of blocks; the gain comes after the first block's first 3x3 convolution."""
        for i in range(stage.repeats):
            stride, block = stage.stride if i == 0 else 1, f"{name}_block{i + 1}"
            y = self._residual(x, stage, stride, block, init, gain if i == 0 else None)
            if stride != 1 or x.shape[-1] != stage.channels:
                x = _conv_norm(x, stage.channels, 1, stride, f"{block}_shortcut", init, relu=False)
            rate = drop_path_rates[i] if drop_path_rates else 0.0
            y = add_residual(x, y, block, rate=rate, seed=init.seed_of(block))
            x = layers.ReLU(name=f"{block}_relu")(y)
        return x

    def head(self, x, prefix: str, width: float, init: Initializers):
        """Global average pooling: `(batch, channels)`."""
        return layers.GlobalAveragePooling2D(data_format=_FORMAT, name=f"{prefix}pool")(x)

    def _residual(self, x, stage, stride: int, name: str, init: Initializers, gain: str | None):
        """What a block adds to its input."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class BasicResNet(ResNet):
    """ResNets of two 3x3 convolutions per block.

    Args:
        stages: of the plain network.
        timm: names of timm's weights.
    """

    stages: tuple[Stage, ...]
    timm: LayerNames | None = None

    @classmethod
    def make(cls, repeats: tuple[int, ...], timm: str) -> "BasicResNet":
        """The four stages, given how often blocks repeat and timm's name."""
        stages = [
            Stage(size, n, 1 if i == 0 else 2)
            for i, (size, n) in enumerate(zip(_SIZES, repeats, strict=True))
        ]
        return cls(tuple(stages), _timm(timm))

    @property
    def plans(self) -> Mapping[str, Sequence[Plan]]:
        """Name -> plans with 1, 2, ... split-points."""
        return BASIC_PLANS

    def _residual(self, x, stage, stride, name, init, gain):
        y = _conv_norm(x, stage.channels, 3, stride, f"{name}_conv1", init, gain=gain)
        return _conv_norm(y, stage.channels, 3, 1, f"{name}_conv2", init, relu=False)

    def recognizes(self, trunk: keras.Model) -> bool:
        """Whether a trunk has blocks of this kind."""
        names = {layer.name for layer in trunk.layers}
        return {_FIRST_CONV, f"{_FIRST_BLOCK}_conv2_norm"} <= names and _THIRD_CONV not in names


@dataclasses.dataclass(frozen=True)
class BottleneckResNet(ResNet):
    """ResNets of bottleneck blocks.

    Args:
        stages: of the plain network.
        strided: which convolution of a block has the stride: 2, or 1 for "v1".
        timm: names of timm's weights.
        keras_applications: names of the weights of `keras.applications`.
    """

    stages: tuple[Bottlenecks, ...]
    strided: int = 2
    timm: LayerNames | None = None
    keras_applications: LayerNames | None = None
    stage_type: ClassVar[type[Stage]] = Bottlenecks

    @classmethod
    def make(cls, repeats: tuple[int, ...], **options) -> "BottleneckResNet":
        """The four stages, given how often blocks repeat."""
        stages = [
            Bottlenecks(4 * size, n, 1 if i == 0 else 2, hidden=size)
            for i, (size, n) in enumerate(zip(_SIZES, repeats, strict=True))
        ]
        return cls(tuple(stages), **options)

    @property
    def plans(self) -> Mapping[str, Sequence[Plan]]:
        """Name -> plans with 1, 2, ... split-points."""
        return BOTTLENECK_PLANS

    @property
    def misfits(self) -> Mapping[str, str]:
        """Whose weights would fit by shape but compute something else."""
        return {"timm": _NOT_TIMM} if self.strided == 1 else {"keras_applications": _NOT_KERAS}

    def _residual(self, x, stage, stride, name, init, gain):
        strides = (stride, 1) if self.strided == 1 else (1, stride)
        y = _conv_norm(x, stage.hidden, 1, strides[0], f"{name}_conv1", init)
        y = _conv_norm(y, stage.hidden, 3, strides[1], f"{name}_conv2", init, gain=gain)
        return _conv_norm(y, stage.channels, 1, 1, f"{name}_conv3", init, relu=False)

    def recognizes(self, trunk: keras.Model) -> bool:
        """Whether a trunk has blocks of this kind, with the stride in the same convolution."""
        found = {layer.name: layer for layer in trunk.layers}
        if _THIRD_CONV not in found:
            return False
        for stage in range(1, len(self.stages) + 1):
            strides = [
                getattr(found.get(f"stage{stage}_block1_conv{i}"), "strides", (1, 1))
                for i in (1, 2)
            ]
            if strides != [(1, 1), (1, 1)]:
                return strides[self.strided - 1] != (1, 1)
        return True  # no stage has a stride, so both kinds compute the same


def _conv_norm(x, channels, kernel, stride, name, init, *, gain=None, relu=True):
    """Convolution, optional top-down gain, batch normalization, optional ReLU."""
    uneven = kernel > 1 and stride > 1  # where Keras's "same" would pad more on one side
    if uneven:
        x = layers.ZeroPadding2D(kernel // 2, data_format=_FORMAT, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        channels,
        kernel,
        stride,
        padding="valid" if uneven else "same",
        data_format=_FORMAT,
        use_bias=False,
        kernel_initializer=init.he(name),
        name=name,
    )(x)
    if gain:
        x = TopDownGain(name=gain)(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


_LATE = (None, None, None)
_MIDDLE = (None, None, 1)
_EARLY = (None, None)

BOTTLENECK_PLANS: dict[str, tuple[Plan, ...]] = {
    "late_sp": (
        Plan(_LATE, ((Bottlenecks(96, 3, 2, hidden=64), Bottlenecks(512, 3, hidden=128)),)),
        Plan(_LATE, ((Bottlenecks(96, 2, 2, hidden=64),), (Bottlenecks(256, 3, hidden=48),))),
        Plan(
            _LATE,
            (
                (Bottlenecks(96, 1, 2, hidden=64),),
                (Bottlenecks(96, 2, hidden=48),),
                (Bottlenecks(256, 2, hidden=48),),
            ),
        ),
        Plan(
            _LATE,
            (
                (Bottlenecks(96, 1, 2, hidden=64),),
                (Bottlenecks(96, 1, hidden=48),),
                (Bottlenecks(96, 1, hidden=48),),
                (Bottlenecks(256, 2, hidden=48),),
            ),
        ),
    ),
    "small": (Plan(_LATE, ((Bottlenecks(96, 2, 2, hidden=32), Bottlenecks(384, 2, hidden=64)),)),),
    "big": (Plan(_LATE, ((Bottlenecks(96, 3, 2, hidden=80), Bottlenecks(512, 3, hidden=144)),)),),
    "early": (
        Plan(
            _EARLY,
            ((Bottlenecks(192, 2, 2, hidden=48), Bottlenecks(384, 2, 2, hidden=96)),),
        ),
        Plan(
            _MIDDLE,
            (
                (Bottlenecks(96, 1, hidden=64),),
                (Bottlenecks(96, 1, hidden=48), Bottlenecks(256, 2, 2, hidden=64)),
            ),
        ),
        Plan(
            _MIDDLE,
            (
                (Bottlenecks(96, 1, hidden=64),),
                (Bottlenecks(96, 1, hidden=48),),
                (Bottlenecks(96, 1, hidden=48), Bottlenecks(256, 2, 2, hidden=64)),
            ),
        ),
        Plan(
            _MIDDLE,
            (
                (Bottlenecks(96, 1, hidden=64),),
                (Bottlenecks(96, 1, hidden=48),),
                (Bottlenecks(96, 1, hidden=48),),
                (Bottlenecks(96, 1, hidden=48), Bottlenecks(256, 2, 2, hidden=64)),
            ),
        ),
    ),
}
BASIC_PLANS: dict[str, tuple[Plan, ...]] = {
    "late_sp": (
        Plan(_LATE, ((Stage(64, 1, 2), Stage(128, 1)),)),
        Plan(_LATE, ((Stage(64, 1, 2),), (Stage(96, 1),))),
        Plan(_LATE, ((Stage(64, 1, 2),), (Stage(64, 1),), (Stage(96, 1),))),
        Plan(_LATE, ((Stage(64, 1, 2),), (Stage(64, 1),), (Stage(64, 1),), (Stage(96, 1),))),
    ),
    "small": (Plan(_LATE, ((Stage(32, 1, 2), Stage(64, 1)),)),),
    "big": (Plan(_LATE, ((Stage(80, 2, 2), Stage(144, 1)),)),),
    "early": (
        Plan((None, 1), ((Stage(80, 1, 2), Stage(192, 1, 2)),)),
        Plan(_EARLY, ((Stage(48, 1, 2),), (Stage(96, 1, 2),))),
        Plan(_EARLY, ((Stage(48, 1, 2),), (Stage(64, 1),), (Stage(96, 1, 2),))),
        Plan(_EARLY, ((Stage(48, 1, 2),), (Stage(48, 1),), (Stage(64, 1, 2),), (Stage(96, 1),))),
    ),
}


_FIRST_BLOCK = "stage1_block1"
_FIRST_CONV, _THIRD_CONV = f"{_FIRST_BLOCK}_conv1", f"{_FIRST_BLOCK}_conv3"
_NOT_TIMM = (
    "has its strides in 1x1 convolutions, timm's ResNets in the 3x3: the weights would fit and "
    "compute something else. Build the family without _v1."
)
_NOT_KERAS = (
    "has its strides in 3x3 convolutions, the ResNets of keras.applications in the 1x1: the "
    "weights would fit and compute something else. Build the family resnet50_v1, resnet101_v1 or "
    "resnet152_v1."
)


def _timm(network: str) -> LayerNames:
    """Timm's names, which are torchvision's as well."""
    block = r"layer(?P<stage>\d+)\.(?P<block>\d+)"
    patterns = {
        r"conv1": "stem_conv",
        r"bn1": "stem_conv_norm",
        rf"{block}\.conv(?P<part>\d)": "stage{stage}_block{block}_conv{part}",
        rf"{block}\.bn(?P<part>\d)": "stage{stage}_block{block}_conv{part}_norm",
        rf"{block}\.downsample\.0": "stage{stage}_block{block}_shortcut",
        rf"{block}\.downsample\.1": "stage{stage}_block{block}_shortcut_norm",
        r"fc": "logits",
    }
    return LayerNames(network, patterns, first_block=0)


def _keras(network: str) -> LayerNames:
    """The names of keras.applications."""
    block = r"conv(?P<stage>\d)_block(?P<block>\d+)"
    patterns = {
        r"conv1_conv": "stem_conv",
        r"conv1_bn": "stem_conv_norm",
        rf"{block}_0_conv": "stage{stage}_block{block}_shortcut",
        rf"{block}_0_bn": "stage{stage}_block{block}_shortcut_norm",
        rf"{block}_(?P<part>\d)_conv": "stage{stage}_block{block}_conv{part}",
        rf"{block}_(?P<part>\d)_bn": "stage{stage}_block{block}_conv{part}_norm",
        r"predictions": "logits",
    }
    return LayerNames(network, patterns, first_stage=2)


FAMILIES: dict[str, Family] = {
    "resnet18": BasicResNet.make((2, 2, 2, 2), "resnet18"),
    "resnet34": BasicResNet.make((3, 4, 6, 3), "resnet34"),
    "resnet50": BottleneckResNet.make((3, 4, 6, 3), timm=_timm("resnet50")),
    "resnet101": BottleneckResNet.make((3, 4, 23, 3), timm=_timm("resnet101")),
    "resnet152": BottleneckResNet.make((3, 8, 36, 3), timm=_timm("resnet152")),
    "resnet200": BottleneckResNet.make((3, 24, 36, 3), timm=_timm("resnet200")),
    **{
        f"resnet{depth}_v1": BottleneckResNet.make(
            repeats, strided=1, keras_applications=_keras(f"ResNet{depth}")
        )
        for depth, repeats in ((50, (3, 4, 6, 3)), (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3)))
    },
}
