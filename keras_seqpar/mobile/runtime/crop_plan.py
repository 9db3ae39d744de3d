"""Chooses sizes and positions of crops that cover a change. Needs NumPy only."""

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from keras_seqpar.selective.regions.axis import Axis
from keras_seqpar.selective.regions.crops import Box, Crop, make_crop, merged_boxes, needed_spans

Size = tuple[int, int]  # height, width
FULL = "full"  # the signature of full frames
_HALVINGS = 4  # at most; a region that needs more than 16 crops is left to the full frame


def signature_of(size: Size) -> str:
    """The signature of crops of a size."""
    return f"crop_{size[0]}x{size[1]}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Frames and crops of a file, and how its outputs follow from its inputs.

    Args:
        frame: `(height, width, channels)` of a frame.
        rows: geometry of the rows.
        cols: geometry of the columns.
        sizes: sizes of the crops.
        barrier: why no crop gives the same classes as the full frame; `""` if crops do.
    """

    frame: tuple[int, int, int]
    rows: Axis
    cols: Axis
    sizes: tuple[Size, ...]
    barrier: str

    def get_config(self) -> dict:
        """The layout as JSON-ready data, which is stored in the file."""
        sizes = [list(size) for size in self.sizes]
        found = {"frame": list(self.frame), "sizes": sizes, "barrier": self.barrier}
        for name, axis in (("rows", self.rows), ("cols", self.cols)):
            scale = [axis.scale.numerator, axis.scale.denominator]
            found[name] = {**dataclasses.asdict(axis), "scale": scale}
        return found

    @classmethod
    def from_config(cls, config: Mapping) -> "Layout":
        """Rebuilds a layout from `get_config`'s data."""
        rows, cols = (
            Axis(**{**config[name], "scale": Fraction(*config[name]["scale"])})
            for name in ("rows", "cols")
        )
        height, width, channels = config["frame"]
        sizes = tuple((int(size[0]), int(size[1])) for size in config["sizes"])
        return cls((height, width, channels), rows, cols, sizes, config["barrier"])


@dataclasses.dataclass(frozen=True)
class FixedPlanner:
    """Turns changes into crops of fixed sizes.

    Args:
        rows: geometry of the rows, with the context that crops have.
        cols: the same of the columns.
        reach_rows: geometry of the rows, with how far from a change outputs are renewed.
        reach_cols: the same of the columns.
        prices: size of a crop -> its cost, in pixels of a full frame.
    """

    rows: Axis
    cols: Axis
    reach_rows: Axis
    reach_cols: Axis
    prices: Mapping[Size, float]

    @property
    def frame_price(self) -> float:
        """The cost of a full frame: its pixels."""
        return float(self.rows.size * self.cols.size)

    def plan(self, changed: np.ndarray, least: int = 1, most: float = 1.0) -> list[Crop] | None:
        """Plans the crops for a change. Crops with equal boxes are to be computed once.

        Args:
            changed: boolean `(height, width)`.
            least: changed positions that a region must have.
            most: largest cost of all crops, as a share of a full frame's.

        Returns:
            The crops; `None` if a full frame costs less or no crop is large enough.
        """
        found: list[Crop] = []
        for box in merged_boxes(changed, self.price, least):
            crops = self.crops(box, cheapest=True)
            if crops is None:
                return None
            found += crops
        return found if self._cost(found) < most * self.frame_price else None

    def price(self, box: Box) -> float:
        """The cost of a changed box's crops, at most that of a full frame."""
        crops = self.crops(box)
        return self.frame_price if crops is None else min(self._cost(crops), self.frame_price)

    def crops(
        self, box: Box, halvings: int = _HALVINGS, cheapest: bool = False
    ) -> list[Crop] | None:
        """The crops of a changed box: the cheapest that holds it, or those of its halves.

        Args:
            box: the changed box.
            halvings: how often it may be halved if no crop holds it.
            cheapest: also halve a box that a crop holds, twice at most, if that costs less.

        Returns:
            The crops, none if no output reads the box; `None` if no crop is large enough.
        """
        needed = self._needed(box)
        if needed is None:
            return []
        one = self._holding(box, needed)
        if one is not None:
            halvings = min(halvings, 2) if cheapest else 0
            if self._cost([one]) <= 2 * min(self.prices.values()):
                halvings = 0
        halves = self._halves(box, needed, halvings, cheapest) if halvings else None
        if one is None or (halves is not None and self._cost(halves) < self._cost([one])):
            return halves
        return [one]

    def _cost(self, crops: Sequence[Crop]) -> float:
        return sum(self.prices[size_of(crop)] for crop in distinct_boxes(crops))

    def _holding(self, box: Box, needed: Sequence[tuple[int, int]]) -> Crop | None:
        """The cheapest crop that contains all that a changed box needs."""
        (top, bottom), (left, right) = needed
        sizes = [s for s in self.prices if s[0] >= bottom - top and s[1] >= right - left]
        if not sizes:
            return None
        size = min(sizes, key=lambda size: (self.prices[size], size))
        (top, bottom), (left, right) = (
            _placed(axis, *span, side)
            for axis, span, side in zip((self.rows, self.cols), needed, size, strict=True)
        )
        return make_crop(box, (top, left, bottom, right), self.rows, self.cols)

    def _halves(self, box: Box, needed, halvings: int, cheapest: bool) -> list[Crop] | None:
        """The crops of both halves of a box; the side that needs more crops is halved."""
        shares = [
            (end - start) / max(size[i] for size in self.prices)
            for i, (start, end) in enumerate(needed)
        ]
        axis = 0 if shares[0] >= shares[1] else 1
        middle = (box[axis] + box[axis + 2]) // 2
        if middle == box[axis]:
            return None
        found: list[Crop] = []
        for start, end in ((box[axis], middle), (middle, box[axis + 2])):
            half = (start, box[1], end, box[3]) if axis == 0 else (box[0], start, box[2], end)
            crops = self.crops(half, halvings - 1, cheapest)
            if crops is None:
                return None
            found += crops
        return found

    def _needed(self, box: Box) -> list[tuple[int, int]] | None:
        """The rows and columns that a changed box needs, rounded to the stride."""
        axes = self.rows, self.cols
        spans = needed_spans(box, axes, (self.reach_rows, self.reach_cols))
        if spans is None:
            return None
        found = []
        for axis, (start, end) in zip(axes, spans, strict=True):
            stride = axis.stride
            found.append((start // stride * stride, min(-(-end // stride) * stride, axis.size)))
        return found


def distinct_boxes(crops: Sequence[Crop]) -> tuple[Crop, ...]:
    """The crops without repeated boxes."""
    return tuple({crop.box: crop for crop in crops}.values())


def size_of(crop: Crop) -> Size:
    """Height and width of a crop."""
    return crop.box[2] - crop.box[0], crop.box[3] - crop.box[1]


def _placed(axis: Axis, start: int, end: int, side: int) -> tuple[int, int]:
    """A crop around `[start, end)`, inside the frame, that starts at a multiple of the stride."""
    spare = (side - (end - start)) // 2 // axis.stride * axis.stride
    start = max(0, min(start - spare, axis.size - side))
    return start, start + side
