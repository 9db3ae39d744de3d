"""Fills a network, or its trunk, with named arrays that were read from another library."""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np

from keras_seqpar.families.base import Family, LayerNames, stage_and_block
from keras_seqpar.networks.bank.layers import Bank
from keras_seqpar.networks.build_config import BuildConfig
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.plans import FAMILIES
from keras_seqpar.weights.copies import named_weights
from keras_seqpar.weights.differences import refuse_difference, shape_of
from keras_seqpar.weights.reports import Filled


@dataclasses.dataclass(frozen=True)
class Target:
    """The part of a model that can be filled.

    Args:
        model: the model that was given.
        trunk: its trunk.
        plain: whether the model is a plain network, which can be filled as a whole.
        families: the family that the network was built with; if the network does not store it,
            all families that recognize the trunk.
    """

    model: keras.Model
    trunk: keras.Model
    plain: bool
    families: tuple[Family, ...]

    def names(self, package: str) -> LayerNames:
        """The layer names of a package that has a network of the same function.

        Args:
            package: `"timm"`, `"imagenet"`, `"keras_applications"` or `"keras_cv"`.

        Raises:
            ValueError: it has none.
        """
        for family in self.families:
            if names := getattr(family, package):
                return names
        why = [family.misfits[package] for family in self.families if package in family.misfits]
        fitting = [name for name, family in FAMILIES.items() if getattr(family, package)]
        reason = why[0] if why else f"has no weights in {package}. {', '.join(fitting)} have some."
        raise ValueError(f"{self.model.name!r} {reason}")


def find_target(model: keras.Model) -> Target:
    """Finds what can be filled in a network of this package, or in a trunk alone.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no network of this package.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, got {model!r} of type {type(model).__name__}.")
    if model.name == "trunk":
        return Target(model, model, False, _families(model, None))
    parts = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    for part in parts:
        if part.name == "trunk":
            build = getattr(model.layers[-1], "build_config", None)
            plain = len(parts) == 1 and not any(isinstance(x, Bank) for x in model.layers)
            return Target(model, part, plain, _families(part, build))
    raise ValueError(
        f"The model {model.name!r} is no network of this package: it has no sub-model `trunk`. "
        "Build one with keras_seqpar.build_phl, build_nhl or build_plain."
    )


def _families(trunk: keras.Model, build: BuildConfig | None) -> tuple[Family, ...]:
    """The families that a trunk may be of; none if it is of a family that is not registered."""
    if build is not None and build.trunk:
        return ()
    if build is not None:
        return (FAMILIES[build.family],) if build.family in FAMILIES else ()
    return tuple(family for family in FAMILIES.values() if family.recognizes(trunk))


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
    """Fills all of a network or, if the source differs, nothing.

    A trunk takes the beginning of the source. What the source has after the trunk's last block is
    ignored; before it, the source must have the same weights as the trunk.

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
    unfit = {
        key.partition("/")[0]
        for key in {**have, **want}
        if key not in have or key not in want or shape_of(have[key]) != shape_of(want[key])
    }
    return [key for key in want if key.partition("/")[0] not in unfit]


def _after_trunk(target: Target, arrays: Mapping[str, np.ndarray]) -> set[str]:
    """The names of the source's weights after the trunk's last block."""
    blocks: dict[int, int] = {}
    for layer in leaf_layers(target.trunk):
        stage, block = stage_and_block(layer.name)
        if stage:
            blocks[stage] = max(blocks.get(stage, 0), block)
    last = max(blocks, default=0)
    # If the trunk has all blocks of the family's stages, it ends with a stage: further blocks of
    # that stage then mean a deeper network. Otherwise it ends inside a stage.
    depths = [tuple(stage.repeats for stage in f.stages[:last]) for f in target.families]
    ends_with_stage = tuple(blocks.values()) in depths

    def is_after(key: str) -> bool:
        layer = key.split("/")[0]
        stage, block = stage_and_block(layer)
        if not stage:
            return layer == "logits" or layer.startswith("pool_")
        return stage > last or (stage == last and block > blocks[last] and not ends_with_stage)

    return {key for key in arrays if is_after(key)}
