"""Top-down attention: gains on the branches of a SeqPar network.

Kelm et al., arXiv 2308.05128, section 3.3: knowing or wanting a category multiplies the
features of its branch by a scalar. 1 is neutral, above 1 enhances, below 1 inhibits.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import keras

from keras_seqpar.families.layers import TopDownGain, check_gain
from keras_seqpar.networks.graph import build_model, one_at_a_time, replay
from keras_seqpar.networks.parts import Parts, find_parts, rebuild
from keras_seqpar.utils.names import unknown_name


def attend(
    model: keras.Model, gains: Mapping[str, float], *, after: str | None = None
) -> keras.Model:
    """Sets constant gains on the branches that are named.

    Args:
        model: a SeqPar network.
        gains: label or node id of a category or superclass -> gain. Other nodes keep the gain
            they have. The gain of a superclass acts on its own branch only, not again on the
            branches below.
        after: the layer after which these gains act from now on: its name without the node's
            prefix, for example `"stage4_block1_conv1"`. The branch of each named node must
            have it, with features `(batch, height, width, channels)`. `None` leaves the gains
            where they are; in a new network the family decides where that is. Directly before
            a layer normalization a gain has no effect, because it is divided out again. In a
            fused network gains stay where they are.

    Returns:
        A new network that shares all weights; `model` stays as it is.

    Raises:
        TypeError: `gains` is no mapping, a gain no number, or `after` no name.
        ValueError: no SeqPar network; no gain; an unknown node; a gain that is negative,
            infinite or NaN; a layer that is not in every branch named.

    Example:

    >>> attended = attend(model, {"cat": 1.3, "car": 0.8})
    >>> earlier = attend(model, {"cat": 1.3}, after="stage4_block1_conv1")
    """
    parts = find_parts(model, allow_fused=True)
    if not isinstance(gains, Mapping):
        raise TypeError(f"gains must map names to numbers, got {gains!r}.")
    if not gains:
        raise ValueError(f"Name at least one node. Valid: {_labels(parts)}.")
    wanted = {parts.hierarchy.find(name).id: check_gain(gain, name) for name, gain in gains.items()}
    if len(wanted) < len(gains):
        raise ValueError(f"A node is named twice, by label and by id, in {list(gains)}.")
    if parts.banks:
        _refuse_after(model, after)
        banks = [bank.with_gains(wanted) for bank in parts.banks]
        return rebuild(parts, banks=banks, name=model.name)
    _check_after(parts, wanted, after)
    branches = dict(parts.branches)
    for id_, gain in wanted.items():
        branches[id_] = _with_gain(branches[id_], id_, gain, after)
    return rebuild(parts, branches=branches, name=model.name)


def attention_input(model: keras.Model, *, after: str | None = None) -> keras.Model:
    """Adds the gains as a second input, so that they can differ from image to image.

    Args:
        model: a SeqPar network.
        after: as for `attend`; every branch must have the layer. In a nested network the
            layers differ by level: move the gains with `attend` first, level by level. In a fused
            network gains stay where they are.

    Returns:
        A new network that shares all weights. Its inputs are the images and `gains`,
        `(batch, nodes)`: one column per node in the order of `gain_names(model)`, multiplied by
        the constant gains that are set. 1 is neutral.

    Raises:
        TypeError: `model` is no Keras model, or `after` no name.
        ValueError: no SeqPar network, it has a gains input already, or a layer that is not in
            every branch.

    Example:

    >>> steerable = attention_input(model)
    >>> gains = np.ones((len(images), len(gain_names(steerable))))
    >>> gains[:, 0] = 1.3
    >>> scores = steerable([images, gains])
    """
    parts = find_parts(model, allow_fused=True)
    if parts.gains:
        raise ValueError(f"The model {model.name!r} has a gains input already.")
    if parts.banks:
        _refuse_after(model, after)
        return rebuild(dataclasses.replace(parts, gains=True), name=model.name)
    _check_after(parts, parts.branches, after)
    branches = {
        id_: _with_gain(branch, id_, None, after, as_input=True)
        for id_, branch in parts.branches.items()
    }
    return rebuild(parts, branches=branches, name=model.name)


def gain_names(model: keras.Model) -> tuple[str, ...]:
    """Labels of the nodes in the column order of the gains input.

    Args:
        model: a SeqPar network.

    Returns:
        The labels: superclasses before what is below them.

    Example:

    >>> gain_names(model)
    ('cat', 'dog', 'car')
    """
    return tuple(node.label for node in find_parts(model, allow_fused=True).hierarchy.nodes)


@one_at_a_time
def _with_gain(
    branch: keras.Model, id_: str, gain: float | None, after: str | None, *, as_input: bool = False
) -> keras.Model:
    """A branch with another gain layer; all other layers are shared.

    Args:
        branch: the branch of the node `id_`.
        id_: the prefix of its layers.
        gain: the constant gain; `None` keeps the one it has.
        after: the layer after which the gain acts; `None` leaves it where it is.
        as_input: give the branch a second input that multiplies the constant gain.
    """
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in branch.inputs]
    if as_input:
        inputs.append(keras.Input((1,), name=f"{branch.name}_gain_input"))

    def call(layer, *args, **kwargs):
        if isinstance(layer, TopDownGain):
            return multiply(args[0]) if after is None else args[0]
        y = layer(*args, **kwargs)
        return multiply(y) if after is not None and layer.name == f"{id_}_{after}" else y

    def multiply(features):
        constant = old.gain if gain is None else gain
        return TopDownGain(constant, name=old.name, dtype=old.dtype_policy)(features, *inputs[1:])

    (old,) = (layer for layer in branch.layers if isinstance(layer, TopDownGain))
    outputs = replay(branch, inputs[: len(branch.inputs)], call)
    return build_model(inputs if len(inputs) > 1 else inputs[0], outputs, name=branch.name)


def _refuse_after(model: keras.Model, after: str | None) -> None:
    """Refuses to move gains in a bank, whose branches are all computed alike."""
    if after is not None:
        raise ValueError(
            f"The model {model.name!r} is fused, and the gains in its banks cannot be moved to "
            f"after={after!r}. Move them in keras_seqpar.unfuse(model), and fuse the result."
        )


def _check_after(parts: Parts, ids: Iterable[str], after: str | None) -> None:
    """Refuses a layer that one of these nodes' branches does not have."""
    if after is None:
        return
    if not isinstance(after, str):
        raise TypeError(f"after must be the name of a layer, got {after!r}.")
    names = [feature_layers(parts.branches[id_], id_) for id_ in ids]
    common = [name for name in names[0] if all(name in others for others in names)]
    if after not in common:
        extra = "" if common else "These branches have no layer in common: name fewer nodes."
        raise ValueError(unknown_name("layer to act after", after, common, extra))


def feature_layers(branch: keras.Model, id_: str, *, gain: bool = False) -> list[str]:
    """Names of the layers with features of a branch, without the prefix of their node.

    Args:
        branch: the branch of the node `id_`.
        id_: the prefix of its layers.
        gain: also name the layer of the gain.
    """
    others = keras.layers.InputLayer if gain else (keras.layers.InputLayer, TopDownGain)
    return [
        layer.name.removeprefix(f"{id_}_")
        for layer in branch.layers
        if len(layer.output.shape) == 4 and not isinstance(layer, others)
    ]


def _labels(parts: Parts) -> str:
    return ", ".join(node.label for node in parts.hierarchy.nodes)
