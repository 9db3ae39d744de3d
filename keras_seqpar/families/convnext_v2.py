"""ConvNeXt V2: stages, stem, head, plans and the names of timm's weights.

Woo et al., arXiv 2301.00808, in the arithmetic of timm's `convnext.py` (`convnextv2_*`): a
block is depthwise 7x7 convolution, layer normalization, 1x1 convolution to four times the
channels, GELU (exact, not the tanh approximation), global response normalization, 1x1
convolution back, residual. Every convolution has a bias, normalizations have epsilon 1e-6,
nothing is padded but the 7x7, and the head normalizes after pooling. Kernels start from a
truncated normal of deviation 0.02.

Deviations: `stem="small"` is a 3x3 convolution of stride 1 instead of 4x4 of stride 4, for
images of 32 to 64 pixels. A stage that changes the channels without a stride does so with
a 1x1 convolution (timm's rule as well; the published networks have no such stage). The
top-down gain is placed after the layer normalization that follows the first block's depthwise
convolution: before it, the normalization would divide the gain out again.

The plans' widths are this package's own. They are written for `tiny` and scale with the family's
first stage. `keras_seqpar.families.resnet` says what their names mean.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import keras
from keras import layers

from keras_seqpar.families import base
from keras_seqpar.families.base import (
    Family,
    Initializers,
    LayerNames,
    Plan,
    scale_channels,
)
from keras_seqpar.families.layers import GlobalResponseNorm, TopDownGain, add_residual

_FORMAT = "channels_last"
_TINY = 96  # channels of the first stage of ConvNeXt V2 tiny


@dataclasses.dataclass(frozen=True)
class Stage(base.Stage):
    """A run of ConvNeXt V2 blocks.

    Args:
        channels: output channels of every block.
        repeats: number of blocks.
        stride: stride of the convolution in front of the blocks.
        kernel: side of the depthwise kernels.
        expansion: how many times the channels the middle of a block has.
    """

    kernel: int = 7
    expansion: int = 4


@dataclasses.dataclass(frozen=True)
class ConvNeXtV2(Family):
    """A ConvNeXt V2 family.

    Args:
        stages: of the plain network.
        timm: names of timm's weights.
    """

    stages: tuple[Stage, ...]
    timm: LayerNames | None = None
    stage_type: ClassVar[type[base.Stage]] = Stage
    stems: ClassVar[Mapping[str, int]] = {"standard": 4, "small": 1}

    @classmethod
    def make(
        cls, channels: int, repeats: tuple[int, ...], timm: LayerNames | None = None
    ) -> "ConvNeXtV2":
        """The four stages, each twice as wide as the one before, given the first's channels."""
        stages = [Stage(channels * 2**i, n, 1 if i == 0 else 2) for i, n in enumerate(repeats)]
        return cls(tuple(stages), timm)

    @property
    def scale(self) -> float:
        """How wide the family is beside `tiny`, which the plans are written for."""
        return self.stages[0].channels / _TINY

    @property
    def plans(self) -> Mapping[str, Sequence[Plan]]:
        """Name -> plans with 1, 2, ... split-points, of the family's width."""
        return {name: [p.scaled(self.scale) for p in plans] for name, plans in PLANS.items()}

    def stem(self, x, kind: str, width: float, init: Initializers):
        """The layers before the first stage."""
        channels = scale_channels(self.stages[0].channels, width)
        size, stride = (3, 1) if kind == "small" else (4, 4)
        x = _conv(x, channels, size, "stem_conv", init, stride=stride)
        return _norm(x, "stem_conv_norm")

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
        """A run of blocks, after a convolution where stride or channels change."""
        if stage.stride != 1 or x.shape[-1] != stage.channels:
            x = _norm(x, f"{name}_down_norm")
            x = _conv(x, stage.channels, stage.stride, f"{name}_down", init, stride=stage.stride)
        for i in range(stage.repeats):
            x = _block(
                x,
                stage,
                f"{name}_block{i + 1}",
                init,
                drop_path_rate=drop_path_rates[i] if drop_path_rates else 0.0,
                gain=gain if i == 0 else None,
            )
        return x

    def head(self, x, prefix: str, width: float, init: Initializers):
        """Global average pooling, then layer normalization: `(batch, channels)`."""
        x = layers.GlobalAveragePooling2D(data_format=_FORMAT, name=f"{prefix}pool")(x)
        return _norm(x, f"{prefix}pool_norm")

    def recognizes(self, trunk: keras.Model) -> bool:
        """Whether a trunk has blocks of this kind."""
        return any(isinstance(layer, GlobalResponseNorm) for layer in trunk.layers)


def _block(x, stage, name: str, init: Initializers, *, drop_path_rate: float, gain: str | None):
    y = layers.DepthwiseConv2D(
        stage.kernel,
        padding="same",
        data_format=_FORMAT,
        depthwise_initializer=init.truncated(f"{name}_depthwise"),
        name=f"{name}_depthwise",
    )(x)
    y = _norm(y, f"{name}_norm")
    if gain:
        y = TopDownGain(name=gain)(y)
    # Dense layers would do the same. Measured on two cores, three blocks, batch 1 and 8:
    # inference in TensorFlow and LiteRT (float32 and int8) is equal; a training step with
    # convolutions is 1.15 to 1.3 times slower in TensorFlow and JAX, 1.3 times faster in torch.
    # Convolutions export without shape arithmetic and quantize per channel.
    y = _conv(y, stage.expansion * stage.channels, 1, f"{name}_conv1", init)
    y = layers.Activation("gelu", name=f"{name}_gelu")(y)
    y = GlobalResponseNorm(name=f"{name}_grn")(y)
    y = _conv(y, stage.channels, 1, f"{name}_conv2", init)
    return add_residual(x, y, name, rate=drop_path_rate, seed=init.seed_of(name))


def _conv(x, channels: int, kernel: int, name: str, init: Initializers, *, stride: int = 1):
    return layers.Conv2D(
        channels,
        kernel,
        stride,
        padding="same" if kernel == 3 else "valid",
        data_format=_FORMAT,
        kernel_initializer=init.truncated(name),
        name=name,
    )(x)


def _norm(x, name: str):
    return layers.LayerNormalization(epsilon=1e-6, name=name)(x)


_LATE = (None, None, None)
_EARLY = (None, None)

PLANS: dict[str, tuple[Plan, ...]] = {
    "late_sp": (
        Plan(_LATE, ((Stage(96, 3, 2),),)),
        Plan(_LATE, ((Stage(96, 1, 2),), (Stage(96, 1),))),
        Plan(_LATE, ((Stage(96, 1, 2),), (Stage(96, 1),), (Stage(96, 1),))),
        Plan(
            _LATE,
            (
                (Stage(96, 1, 2),),
                (Stage(96, 1),),
                (Stage(96, 1),),
                (Stage(96, 1),),
            ),
        ),
    ),
    "small": (Plan(_LATE, ((Stage(64, 2, 2),),)),),
    "big": (Plan(_LATE, ((Stage(192, 3, 2),),)),),
    "early": (
        Plan(_EARLY, ((Stage(96, 2, 2), Stage(192, 1, 2)),)),
        Plan(_EARLY, ((Stage(96, 2, 2),), (Stage(192, 1, 2),))),
        Plan(
            _EARLY,
            ((Stage(96, 1, 2),), (Stage(96, 1),), (Stage(192, 1, 2),)),
        ),
        Plan(
            _EARLY,
            (
                (Stage(96, 1, 2),),
                (Stage(96, 1),),
                (Stage(192, 1, 2),),
                (Stage(192, 1),),
            ),
        ),
    ),
}


def _timm(size: str) -> LayerNames:
    """Timm's names."""
    stage = r"stages\.(?P<stage>\d+)"
    block = rf"{stage}\.blocks\.(?P<block>\d+)"
    patterns = {
        r"stem\.0": "stem_conv",
        r"stem\.1": "stem_conv_norm",
        rf"{stage}\.downsample\.0": "stage{stage}_down_norm",
        rf"{stage}\.downsample\.1": "stage{stage}_down",
        rf"{block}\.conv_dw": "stage{stage}_block{block}_depthwise",
        rf"{block}\.norm": "stage{stage}_block{block}_norm",
        rf"{block}\.mlp\.fc(?P<part>[12])": "stage{stage}_block{block}_conv{part}",
        rf"{block}\.mlp\.grn": "stage{stage}_block{block}_grn",
        r"head\.norm": "pool_norm",
        r"head\.fc": "logits",
    }
    network, norms = f"convnextv2_{size}", ("_norm", "_grn")
    return LayerNames(network, patterns, first_stage=0, first_block=0, norms=norms)


FAMILIES: dict[str, Family] = {
    f"convnext_v2_{size}": ConvNeXtV2.make(channels, repeats, _timm(size))
    for size, channels, repeats in (
        ("atto", 40, (2, 2, 6, 2)),
        ("femto", 48, (2, 2, 6, 2)),
        ("pico", 64, (2, 2, 6, 2)),
        ("nano", 80, (2, 2, 8, 2)),
        ("tiny", 96, (3, 3, 9, 3)),
        ("base", 128, (3, 3, 27, 3)),
        ("large", 192, (3, 3, 27, 3)),
        ("huge", 352, (3, 3, 27, 3)),
    )
}
