"""Fills a network, or its trunk, with named arrays that were read from another library."""

import dataclasses
import re
from collections.abc import Mapping

import keras
import numpy as np

from keras_seqpar.families import convnext_v2, resnet
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.layers import GlobalResponseNorm
from keras_seqpar.weights.copies import named_weights
from keras_seqpar.weights.differences import refuse_difference, shape_of
from keras_seqpar.weights.reports import Filled


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
    partial: bool = False,
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
        notes: for the report.
        partial: fill every layer that fits and leave the others as they are.

    Returns:
        What was filled, what was left, and what of the source was not needed.

    Raises:
        ValueError: the source is of another architecture; the message shows the difference.
            With `partial`: no layer fits.
    """
    want = named_weights(target.model if target.plain else target.trunk)
    if not classifier:
        want = {key: value for key, value in want.items() if not key.startswith("logits/")}
    after = _after_trunk(target, arrays) if not target.plain else set()
    if not classifier:
        after |= {key for key in arrays if key.startswith("logits/")}
    have = {key: value for key, value in arrays.items() if key not in after}
    names = _fitting(have, want) if partial else list(want)
    if not partial or not names:
        refuse_difference(
            {key if key in want else original.get(key, key): have[key] for key in have},
            want,
            f"The weights of {source} do not fit {target.model.name!r}.",
        )
    for key in names:
        want[key].assign(have[key])
    filled = set(names)
    return Filled(
        source,
        tuple(names),
        kept=tuple(key for key in named_weights(target.model) if key not in filled),
        ignored=tuple(original.get(key, key) for key in arrays if key not in filled),
        notes=notes,
        unfilled=tuple(key for key in want if key not in filled),
    )


def _fitting(have: Mapping, want: Mapping) -> list[str]:
    """The weights that both have with equal shapes, of layers of which all weights fit."""
    odd = {
        key.partition("/")[0]
        for key in {**have, **want}
        if key not in have or key not in want or shape_of(have[key]) != shape_of(want[key])
    }
    return [key for key in want if key.partition("/")[0] not in odd]


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
