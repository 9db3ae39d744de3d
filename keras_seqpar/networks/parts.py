"""What a network of this package is made of, and putting parts together again."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.assembly import assemble
from keras_seqpar.networks.bank.joining import assemble_banks
from keras_seqpar.networks.bank.layers import Bank
from keras_seqpar.networks.build_config import BuildConfig
from keras_seqpar.networks.graph import hold_weakly, one_at_a_time
from keras_seqpar.networks.layers import CategoryScores, make_scores
from keras_seqpar.networks.thresholds import Threshold

SAME = "same"  # keep the source's classifier activation


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a SeqPar network is made of.

    Args:
        trunk: the sub-model before the first split-point.
        branches: node id -> sub-model, in `hierarchy.nodes` order; empty for a plain or fused
            network.
        hierarchy: the hierarchy.
        classifier_activation: the activation over the logits.
        threshold: where "none of these" begins, if the network stores it.
        build: how the network was built; `None` for networks saved before they stored it.
        banks: of a fused network the banks, each after the one that feeds it.
        gains: whether the network has a gains input.
    """

    trunk: keras.Model
    branches: Mapping[str, keras.Model]
    hierarchy: Hierarchy
    classifier_activation: str | None
    threshold: Threshold | None = None
    build: BuildConfig | None = None
    banks: tuple[Bank, ...] = ()
    gains: bool = False

    def require_build(self, name: str) -> BuildConfig:
        """How the network was built.

        Args:
            name: the network's, for the message.

        Raises:
            ValueError: the network does not store it.
        """
        if self.build is None:
            raise ValueError(
                f"The network {name!r} does not say how it was built: it was saved by an earlier "
                "version. Build it again with the same arguments, fill the new one with "
                "keras_seqpar.copy_weights(old, new), and save that."
            )
        return self.build


def find_parts(
    model: keras.Model, *, allow_plain: bool = False, allow_fused: bool | None = None
) -> Parts:
    """Finds trunk, branches and hierarchy in a network of this package.

    Args:
        model: a network from `build_phl`, a cutout, or such a network reloaded.
        allow_plain: also accept a network from `build_plain`.
        allow_fused: also accept one whose branches are computed together; by default as
            `allow_plain`.

    Returns:
        The parts.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no SeqPar network.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, got {model!r} of type {type(model).__name__}.")
    scores = model.layers[-1] if model.layers else None
    if not isinstance(scores, CategoryScores):
        raise ValueError(
            f"The model {model.name!r} is no SeqPar network: it does not end in a `categories` "
            "layer. Build one with keras_seqpar.build_phl, or load a file that holds one."
        )
    layers = {layer.name: layer for layer in model.layers}
    if "trunk" not in layers:
        raise ValueError(f"The model {model.name!r} is no SeqPar network: it has no `trunk`.")
    nodes = scores.hierarchy.nodes
    branches = {n.id: layers[f"branch_{n.id}"] for n in nodes if f"branch_{n.id}" in layers}
    banks = tuple(layer for layer in model.layers if isinstance(layer, Bank))
    if banks and not (allow_plain if allow_fused is None else allow_fused):
        raise ValueError(
            f"The model {model.name!r} is fused: its branches are computed together, and this "
            "needs them one by one. Take keras_seqpar.unfuse(model), of a large network "
            "keras_seqpar.cutout(model, categories, fused=False)."
        )
    if not banks and len(branches) < len(nodes) and (branches or not allow_plain):
        raise ValueError(
            f"The model {model.name!r} is a plain network: its categories share all layers, so "
            "it has no branches. Build a SeqPar network with keras_seqpar.build_phl."
        )
    return Parts(
        layers["trunk"],
        branches,
        scores.hierarchy,
        scores.classifier_activation,
        scores.threshold,
        scores.build_config,
        banks,
        len(model.inputs) > 1,
    )


def rebuild(
    parts: Parts,
    *,
    hierarchy: Hierarchy | None = None,
    branches: Mapping[str, keras.Model] | None = None,
    banks: Sequence[Bank] | None = None,
    classifier_activation: str | None = SAME,
    name: str,
) -> keras.Model:
    """Assembles parts again, with some of them replaced; weights are shared.

    A network of branches becomes one of banks where `banks` are given, and the other way round.

    A stored threshold is kept only where all logits stay what they were: it was fitted on them.
    """
    activation = classifier_activation
    tree = parts.hierarchy if hierarchy is None else hierarchy
    # Banks without a hierarchy have other gains, those with one are slices.
    same = branches is None and (banks is None or hierarchy is not None)
    same = same and sorted(tree.category_ids) == sorted(parts.hierarchy.category_ids)
    options: dict = {
        "hierarchy": tree,
        "classifier_activation": parts.classifier_activation if activation == SAME else activation,
        "threshold": parts.threshold if same else None,
        "build": parts.build,
        "name": name,
    }
    if banks or (parts.banks and branches is None):
        return assemble_banks(parts.trunk, banks or parts.banks, gains=parts.gains, **options)
    return assemble(parts.trunk, parts.branches if branches is None else branches, **options)


def with_activation(model: keras.Model, classifier_activation: str | None) -> keras.Model:
    """Returns the same network with another activation over its logits.

    Args:
        model: a network of this package, plain ones included.
        classifier_activation: a Keras activation, or `None` for logits.

    Returns:
        A network that shares all weights with `model`.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no network of this package.

    Example:

    >>> logits = with_activation(model, None)(images)
    >>> tuple(logits.shape)
    (60, 3)
    """
    return with_scores(model, classifier_activation, find_parts(model, allow_plain=True).threshold)


@one_at_a_time
def with_scores(
    model: keras.Model, classifier_activation: str | None, threshold: Threshold | None
) -> keras.Model:
    """The same network, plain ones included, with another activation and threshold."""
    parts = find_parts(model, allow_plain=True)
    if parts.branches or parts.banks:
        changed = dataclasses.replace(
            parts, classifier_activation=classifier_activation, threshold=threshold
        )
        return rebuild(changed, name=model.name)
    scores = make_scores(parts.hierarchy, classifier_activation, threshold, build=parts.build)
    outputs = scores(model.layers[-1].input)
    return hold_weakly(keras.Model(model.inputs[0], outputs, name=model.name))


def traits(layer: keras.layers.Layer) -> list[str]:
    """Four settings of a layer, as text for the hashes in packs of earlier versions."""
    return [str(getattr(layer, key, None)) for key in ("strides", "gain", "scale", "offset")]
