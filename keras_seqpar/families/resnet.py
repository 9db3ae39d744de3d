"""ResNet: blocks, trunk, branch and head.

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
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from keras import layers

from keras_seqpar.families.base import Initializers, Stage, scale_channels
from keras_seqpar.networks.layers import StochasticDepth, TopDownGain

_FORMAT = "channels_last"


@dataclasses.dataclass(frozen=True)
class ResNet:
    """A ResNet family: its kind of block and the stages of the plain network."""

    bottleneck: bool
    stages: tuple[Stage, ...]
    stride_in: int = 2  # which convolution of a bottleneck has the stride: 2, or 1 for "v1"
    stems: ClassVar[dict[str, int]] = {"standard": 4, "small": 1}  # name -> stride of the stem

    @property
    def kind(self) -> str:
        """Which plans fit: their widths differ by kind of block."""
        return "bottleneck" if self.bottleneck else "basic"

    @property
    def scale(self) -> float:
        """How wide the family is beside the one that the plans are written for."""
        return 1.0

    @classmethod
    def make(
        cls, repeats: tuple[int, ...], bottleneck: bool = True, stride_in: int = 2
    ) -> "ResNet":
        """The four stages of table 1 of arXiv 1512.03385, given how often blocks repeat."""
        sizes = (64, 128, 256, 512)
        return cls(
            bottleneck,
            tuple(
                Stage(4 * size if bottleneck else size, n, 1 if i == 0 else 2, hidden=size)
                for i, (size, n) in enumerate(zip(sizes, repeats, strict=True))
            ),
            stride_in,
        )

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
        stage: Stage,
        name: str,
        init: Initializers,
        *,
        drop_path_rates: Sequence[float] = (),
        gain: str | None = None,
    ):
        """A run of blocks.

        Args:
            x: features `(batch, height, width, channels)`.
            stage: what to build.
            name: prefix of the layer names.
            init: initializers.
            drop_path_rates: rate of stochastic depth of each block; empty for none.
            gain: name of a `TopDownGain` to put after the first block's first 3x3
                convolution, or `None`.

        Returns:
            The features after the stage.
        """
        for i in range(stage.repeats):
            x = self._block(
                x,
                stage,
                stride=stage.stride if i == 0 else 1,
                name=f"{name}_block{i + 1}",
                init=init,
                drop_path_rate=drop_path_rates[i] if drop_path_rates else 0.0,
                gain=gain if i == 0 else None,
            )
        return x

    def head(self, x, prefix: str):
        """Global average pooling: `(batch, channels)`."""
        return layers.GlobalAveragePooling2D(data_format=_FORMAT, name=f"{prefix}pool")(x)

    def _block(self, x, stage, stride, name, init, drop_path_rate, gain):
        if self.bottleneck:
            strides = (stride, 1) if self.stride_in == 1 else (1, stride)
            y = _conv_norm(x, stage.hidden, 1, strides[0], f"{name}_conv1", init)
            y = _conv_norm(y, stage.hidden, 3, strides[1], f"{name}_conv2", init, gain=gain)
            y = _conv_norm(y, stage.channels, 1, 1, f"{name}_conv3", init, relu=False)
        else:
            y = _conv_norm(x, stage.channels, 3, stride, f"{name}_conv1", init, gain=gain)
            y = _conv_norm(y, stage.channels, 3, 1, f"{name}_conv2", init, relu=False)
        if stride != 1 or x.shape[-1] != stage.channels:
            x = _conv_norm(x, stage.channels, 1, stride, f"{name}_shortcut", init, relu=False)
        if drop_path_rate:
            y = StochasticDepth(drop_path_rate, init.seed_of(name), name=f"{name}_drop")(y)
        y = layers.Add(name=f"{name}_add")([y, x])
        return layers.ReLU(name=f"{name}_relu")(y)


FAMILIES = {
    "resnet18": ResNet.make((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNet.make((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNet.make((3, 4, 6, 3)),
    "resnet101": ResNet.make((3, 4, 23, 3)),
    "resnet152": ResNet.make((3, 8, 36, 3)),
    "resnet200": ResNet.make((3, 24, 36, 3)),
    "resnet50_v1": ResNet.make((3, 4, 6, 3), stride_in=1),
    "resnet101_v1": ResNet.make((3, 4, 23, 3), stride_in=1),
    "resnet152_v1": ResNet.make((3, 8, 36, 3), stride_in=1),
}


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
