"""How the outputs of a network correspond to its inputs along one axis. Imports no Keras.

`geometry.py` determines the `Axis` of a Keras model. Devices read it from the model file.
"""

import dataclasses
import math
from fractions import Fraction


@dataclasses.dataclass(frozen=True)
class Axis:
    """The rows, or the columns, of a frame and of a network's output.

    Output `i` reads only inputs from `i * scale - before` to `i * scale + after`, both included.

    Args:
        size: number of inputs.
        outputs: number of outputs.
        stride: a crop must begin at a multiple of this number of inputs.
        scale: inputs per output.
        before: how many inputs before `i * scale` output `i` can read.
        after: how many inputs after `i * scale` output `i` can read.
    """

    size: int
    outputs: int
    stride: int
    scale: Fraction
    before: int
    after: int

    def limited(self, pixels: int | str) -> "Axis":
        """The same axis with a smaller receptive field.

        Args:
            pixels: pixels that an output may read before and after its own, or
                `"receptive_field"` for no limit.
        """
        if isinstance(pixels, str):
            return self
        return dataclasses.replace(self, before=pixels, after=pixels + math.ceil(self.scale) - 1)

    def affected(self, first: int, last: int) -> tuple[int, int]:
        """The first and the last output that read any input from `first` to `last`.

        Where no output reads them, the first is larger than the last.
        """
        low = math.ceil((first - self.after) / self.scale)
        high = math.floor((last + self.before) / self.scale)
        return max(low, 0), min(high, self.outputs - 1)

    def needed(self, low: int, high: int) -> tuple[int, int]:
        """The inputs that outputs from `low` to `high` read, as `[first, end)`."""
        first = math.floor(low * self.scale) - self.before
        last = math.ceil(high * self.scale) + self.after
        return max(first, 0), min(last + 1, self.size)

    def known(self, start: int, end: int) -> tuple[int, int]:
        """The first and the last output for which a crop gives what the full frame gives.

        Args:
            start: first input of the crop.
            end: input after the crop's last.
        """
        low = 0 if start == 0 else math.ceil((start + self.before) / self.scale)
        high = math.floor((end - 1 - self.after) / self.scale)
        return low, self.outputs - 1 if end == self.size else high
