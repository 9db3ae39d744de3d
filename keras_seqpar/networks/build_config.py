"""How a network was built, as data that is stored with it."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the layers of this package, which need this module, are registered with Keras
    from keras_seqpar.families.base import Plan

MERGED = "merged"


@dataclasses.dataclass(frozen=True)
class BuildConfig:
    """How a network was built. Cutouts and grown networks keep that of their source.

    It is stored in the configuration of the layer `categories`, and therefore in every file.

    Args:
        builder: `"phl"`, `"nhl"`, `"plain"` or `"one_branch"`; `MERGED` for a network that was
            merged from two that were built differently.
        family: name of the family; with a trunk of one's own, that of the branches.
        plan: name of the plan, or the configuration of a `Plan`; `None` for `"plain"`. A
            `Plan` is turned into its configuration.
        split_points: number of levels of the plan; `None` for `"plain"` and `"one_branch"`.
        width: what all channel counts were multiplied by.
        stem: name of the stem.
        drop_path_rate: rate of stochastic depth at the last block.
        include_preprocessing: whether the network takes pixels of 0 to 255.
        mean: what is subtracted from each channel, in pixels of 0 to 255: inside the network with
            `include_preprocessing`, before it otherwise; `None` if the caller decides.
        std: what each channel is divided by after that.
        weights: where pretrained weights came from that have a license of their own.
        license: their license, as an SPDX identifier.
        trunk: name of the model that the trunk is of; `None` for a trunk of the family.
    """

    builder: str
    family: str
    plan: "str | Plan | Mapping | None" = None
    split_points: int | None = None
    width: float = 1.0
    stem: str = "standard"
    drop_path_rate: float = 0.0
    include_preprocessing: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    weights: str | None = None
    license: str | None = None
    trunk: str | None = None

    def __post_init__(self):
        if self.plan is not None and not isinstance(self.plan, str | Mapping):
            object.__setattr__(self, "plan", self.plan.get_config())
        for name in ("mean", "std"):
            if getattr(self, name) is not None:  # JSON has lists
                object.__setattr__(self, name, tuple(getattr(self, name)))

    @classmethod
    def of(cls, config: "BuildConfig | Mapping | None") -> "BuildConfig | None":
        """The record itself, or the one that `get_config` described; `None` stays `None`."""
        return cls(**config) if isinstance(config, Mapping) else config

    def get_config(self) -> dict:
        """The record as JSON-ready data."""
        config = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}

    def arguments(self) -> dict:
        """The arguments of the builder, apart from categories, input shape and activation."""
        names = ["family", "width", "stem", "drop_path_rate", "include_preprocessing"]
        if self.plan is not None:
            names.append("plan")
        if self.builder == "nhl":
            names.append("split_points")
        return {name: getattr(self, name) for name in names}
