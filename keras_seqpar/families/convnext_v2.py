"""ConvNeXt V2: blocks, trunk, branch and head.

Woo et al., arXiv 2301.00808, in the arithmetic of timm's `convnext.py` (`convnextv2_*`): a
block is depthwise 7x7 convolution, layer normalization, 1x1 convolution to four times the
channels, GELU (exact, not the tanh approximation), global response normalization, 1x1
convolution back, residual. Every convolution has a bias, normalizations have epsilon 1e-6,
nothing is padded but the 7x7, and the head normalizes after pooling. Kernels start from a
truncated normal of deviation 0.02.

Deviations: `stem="small"` is a 3x3 convolution of stride 1 instead of 4x4 of stride 4, for
images of 32 to 64 pixels. A stage that changes the channels without a stride does so with
a 1x1 convolution (timm's rule as well; the published networks have no such stage). The
top-down gain stands behind the layer normalization that follows the first block's depthwise
convolution: in front of it the normalization would divide it out again.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from keras import layers

from keras_seqpar.families.base import Initializers, Stage, scale_channels
from keras_seqpar.networks.layers import GlobalResponseNorm, StochasticDepth, TopDownGain

_FORMAT = "channels_last"
_TINY = 96  # channels of the first stage of ConvNeXt V2 tiny


@dataclasses.dataclass(frozen=True)
class ConvNeXtV2:
    """A ConvNeXt V2 family: the stages of the plain network."""

    stages: tuple[Stage, ...]
    stems: ClassVar[dict[str, int]] = {"standard": 4, "small": 1}  # name -> stride of the stem
    kind: ClassVar[str] = "convnext_v2"  # which plans of `keras_seqpar.networks.plans` fit

    @property
    def scale(self) -> float:
        """How wide the family is beside `tiny`, which the plans are written for."""
        return self.stages[0].channels / _TINY

    @classmethod
    def make(cls, channels: int, repeats: tuple[int, ...]) -> "ConvNeXtV2":
        """The four stages, each twice as wide as the one before, given the first's channels."""
        return cls(
            tuple(Stage(channels * 2**i, n, 1 if i == 0 else 2) for i, n in enumerate(repeats))
        )

    def stem(self, x, kind: str, width: float, init: Initializers):
        """The layers before the first stage."""
        channels = scale_channels(self.stages[0].channels, width)
        size, stride = (3, 1) if kind == "small" else (4, 4)
        x = _conv(x, channels, size, "stem_conv", init, stride=stride)
        return _norm(x, "stem_conv_norm")

    def stage(
        self,
        x,
        stage: Stage,
        name: str,
        init: Initializers,
        *,
        drop_path_rates: Sequence[float] = (),
        gain: str | None = None,
    ):
        """A run of blocks, after a convolution where stride or channels change.

        Args:
            x: features `(batch, height, width, channels)`.
            stage: what to build; `hidden` is not used, it is four times the channels.
            name: prefix of the layer names.
            init: initializers.
            drop_path_rates: rate of stochastic depth of each block; empty for none.
            gain: name of a `TopDownGain` to put into the first block, or `None`.

        Returns:
            The features after the stage.
        """
        if stage.stride != 1 or x.shape[-1] != stage.channels:
            x = _norm(x, f"{name}_down_norm")
            x = _conv(x, stage.channels, stage.stride, f"{name}_down", init, stride=stage.stride)
        for i in range(stage.repeats):
            x = _block(
                x,
                f"{name}_block{i + 1}",
                init,
                drop_path_rate=drop_path_rates[i] if drop_path_rates else 0.0,
                gain=gain if i == 0 else None,
            )
        return x

    def head(self, x, prefix: str):
        """Global average pooling, then layer normalization: `(batch, channels)`."""
        x = layers.GlobalAveragePooling2D(data_format=_FORMAT, name=f"{prefix}pool")(x)
        return _norm(x, f"{prefix}pool_norm")


FAMILIES = {
    "convnext_v2_atto": ConvNeXtV2.make(40, (2, 2, 6, 2)),
    "convnext_v2_femto": ConvNeXtV2.make(48, (2, 2, 6, 2)),
    "convnext_v2_pico": ConvNeXtV2.make(64, (2, 2, 6, 2)),
    "convnext_v2_nano": ConvNeXtV2.make(80, (2, 2, 8, 2)),
    "convnext_v2_tiny": ConvNeXtV2.make(96, (3, 3, 9, 3)),
    "convnext_v2_base": ConvNeXtV2.make(128, (3, 3, 27, 3)),
    "convnext_v2_large": ConvNeXtV2.make(192, (3, 3, 27, 3)),
    "convnext_v2_huge": ConvNeXtV2.make(352, (3, 3, 27, 3)),
}


def _block(x, name: str, init: Initializers, *, drop_path_rate: float, gain: str | None):
    channels = x.shape[-1]
    y = layers.DepthwiseConv2D(
        7,
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
    y = _conv(y, 4 * channels, 1, f"{name}_conv1", init)
    y = layers.Activation("gelu", name=f"{name}_gelu")(y)
    y = GlobalResponseNorm(name=f"{name}_grn")(y)
    y = _conv(y, channels, 1, f"{name}_conv2", init)
    if drop_path_rate:
        y = StochasticDepth(drop_path_rate, init.seed_of(name), name=f"{name}_drop")(y)
    return layers.Add(name=f"{name}_add")([y, x])


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
