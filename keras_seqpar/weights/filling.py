"""Filling a network, or its trunk, with named arrays that another package's net was read into."""

import dataclasses
import re
from collections.abc import Mapping

import keras
import numpy as np

from keras_seqpar.families import convnext_v2, resnet
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.layers import GlobalResponseNorm
from keras_seqpar.weights.copies import named_weights, refuse_difference


@dataclasses.dataclass(frozen=True)
class Filled:
    """What was filled from where; `print` shows it as a sentence.

    Args:
        source: where the weights came from.
        names: the weights that were filled, as `layer/weight`.
        kept: the weights of the model that were left as they are: branches, or a classifier.
        ignored: what the source has beyond them, in its own names: later stages, a classifier.
        notes: what one should know about the source, its license for example.
    """

    source: str
    names: tuple[str, ...]
    kept: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"Filled {len(self.names)} weights from {self.source}."]
        if self.kept:
            lines.append(f"Left as they are: {_some(self.kept)}.")
        if self.ignored:
            lines.append(f"Not needed from the source: {_some(self.ignored)}.")
        return "\n  ".join([*lines, *self.notes])


@dataclasses.dataclass(frozen=True)
class Target:
    """The part of a model that can be filled.

    Args:
        model: the model that was given.
        trunk: its trunk.
        plain: the whole model is one conventional network and can be filled.
    """

    model: keras.Model
    trunk: keras.Model
    plain: bool

    @property
    def is_convnext(self) -> bool:
        """Whether the trunk is a ConvNeXt V2; otherwise it is a ResNet."""
        return any(isinstance(layer, GlobalResponseNorm) for layer in leaf_layers(self.trunk))

    @property
    def strided_kernel(self) -> int | None:
        """Size of the kernels with the strides of a ResNet's blocks; `None` without strides."""
        for layer in leaf_layers(self.trunk):
            if re.fullmatch(r"stage\d+_block1_conv\d", layer.name) and layer.strides != (1, 1):
                return layer.kernel_size[0]
        return None


def find_target(model: keras.Model) -> Target:
    """Finds what can be filled in a network of this package, or in a trunk alone.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no network of this package.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, got {model!r} of type {type(model).__name__}.")
    if model.name == "trunk":
        return Target(model, model, plain=False)
    parts = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    for part in parts:
        if part.name == "trunk":
            return Target(model, part, plain=len(parts) == 1)
    raise ValueError(
        f"The model {model.name!r} is no network of this package: it has no sub-model `trunk`. "
        "Build one with keras_seqpar.build_phl, build_nhl or build_plain."
    )


def fill(
    target: Target,
    arrays: Mapping[str, np.ndarray],
    source: str,
    *,
    classifier: bool,
    original: Mapping[str, str],
    notes: tuple[str, ...] = (),
) -> Filled:
    """Fills a network strictly: all of it or, on a difference, nothing.

    A trunk takes the beginning of the source and needs all of what that has: what comes after
    the trunk's last block is ignored.

    Args:
        target: what to fill.
        arrays: the source's weights under this package's names, in Keras's layouts.
        source: what to call the source.
        classifier: whether a plain network's layer `logits` is filled as well.
        original: this package's name -> the source's.
        notes: passed on.

    Raises:
        ValueError: the source is of another architecture; the message shows the difference.
    """
    want = named_weights(target.model if target.plain else target.trunk)
    if not classifier:
        want = {key: value for key, value in want.items() if not key.startswith("logits/")}
    after = _after_trunk(target, arrays) if not target.plain else set()
    if not classifier:
        after |= {key for key in arrays if key.startswith("logits/")}
    have = {key: value for key, value in arrays.items() if key not in after}
    refuse_difference(
        {key if key in want else original.get(key, key): have[key] for key in have},
        want,
        f"The weights of {source} do not fit {target.model.name!r}.",
    )
    for key, value in have.items():
        want[key].assign(value)
    kept = [key for key in named_weights(target.model) if key not in have]
    ignored = [original.get(key, key) for key in arrays if key in after]
    return Filled(source, tuple(want), tuple(kept), tuple(ignored), notes)


def _after_trunk(target: Target, arrays: Mapping[str, np.ndarray]) -> set[str]:
    """The names of what the source computes after the trunk's last block."""
    blocks: dict[int, int] = {}
    for layer in leaf_layers(target.trunk):
        stage, block = _place(layer.name)
        if stage:
            blocks[stage] = max(blocks.get(stage, 0), block)
    last = max(blocks, default=0)
    # A trunk may end inside a stage. One that has all blocks of a family's stage does not: there
    # more blocks mean a deeper net.
    families = convnext_v2.FAMILIES if target.is_convnext else resnet.FAMILIES
    depths = [tuple(stage.repeats for stage in f.stages[:last]) for f in families.values()]
    whole = tuple(blocks.values()) in depths

    def is_after(key: str) -> bool:
        layer = key.split("/")[0]
        stage, block = _place(layer)
        if not stage:
            return layer in ("logits", "pool_norm")
        return stage > last or (stage == last and block > blocks[last] and not whole)

    return {key for key in arrays if is_after(key)}


def _place(name: str) -> tuple[int, int]:
    """The numbers of a trunk layer's stage and block, 0 where it has none."""
    found = re.match(r"stage(\d+)_(?:block(\d+)_)?", name)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _some(names: tuple[str, ...], most: int = 3) -> str:
    """The first names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
