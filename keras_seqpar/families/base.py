"""What the network families share: the stage record, width scaling, seeded initializers."""

import dataclasses
import zlib

import keras


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of equal residual blocks.

    Args:
        channels: output channels of every block.
        repeats: number of blocks.
        stride: stride of the first block (the others have 1).
        hidden: channels inside a block (ResNet bottleneck width); 0 where the block kind
            has none of its own.
    """

    channels: int
    repeats: int
    stride: int = 1
    hidden: int = 0

    def scaled(self, width: float) -> "Stage":
        """Returns the stage with all channel counts multiplied by `width`."""
        return dataclasses.replace(
            self,
            channels=scale_channels(self.channels, width),
            hidden=scale_channels(self.hidden, width) if self.hidden else 0,
        )


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
        """A truncated normal of deviation 0.02 (ConvNeXt V2, and the logits of both families)."""
        return keras.initializers.TruncatedNormal(stddev=0.02, seed=self.seed_of(name))
