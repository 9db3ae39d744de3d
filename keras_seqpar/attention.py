"""Top-down attention: gains on the branches of a SeqPar network.

Kelm et al., arXiv 2308.05128, section 3.3: knowing or wanting a category multiplies the
features of its branch by a scalar. 1 is neutral, above 1 enhances, below 1 inhibits.
"""

from collections.abc import Mapping

import keras

from keras_seqpar.cutout import Parts, find_parts, rebuild
from keras_seqpar.graph import replay
from keras_seqpar.layers import TopDownGain, check_gain


def attend(model: keras.Model, gains: Mapping[str, float]) -> keras.Model:
    """Sets constant gains on chosen branches.

    Args:
        model: a SeqPar network.
        gains: label or node id of a category or superclass -> gain. Nodes not named keep
            the gain they have; a superclass's gain acts on its own branch, not a second time
            on those below it.

    Returns:
        A new network that shares all weights; `model` stays as it is.

    Raises:
        TypeError: `gains` is no mapping, or a gain no number.
        ValueError: no SeqPar network; no gain; an unknown node; a gain that is negative,
            infinite or NaN.

    Example:

    >>> keen_on_cats = attend(model, {"cat": 1.3, "car": 0.8})
    """
    parts = find_parts(model)
    if not isinstance(gains, Mapping):
        raise TypeError(f"gains must map names to numbers, got {gains!r}.")
    if not gains:
        raise ValueError(f"Name at least one node. Valid: {_labels(parts)}.")
    wanted = {parts.hierarchy.find(name).id: check_gain(gain, name) for name, gain in gains.items()}
    if len(wanted) < len(gains):
        raise ValueError(f"A node is named twice, by label and by id, in {list(gains)}.")
    branches = {
        id_: _with_gain(branch, wanted[id_]) if id_ in wanted else branch
        for id_, branch in parts.branches.items()
    }
    return rebuild(parts, branches=branches, name=model.name)


def attention_input(model: keras.Model) -> keras.Model:
    """Adds the gains as a second input, so that they can differ from picture to picture.

    Args:
        model: a SeqPar network.

    Returns:
        A new network that shares all weights. Its inputs are the pictures and `gains`,
        `(batch, nodes)`: one column per node in the order of `gain_names(model)`. Constant
        gains already set multiply them. Feed ones for neutral.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: no SeqPar network, or it has a gains input already.

    Example:

    >>> steerable = attention_input(build_phl(["cat", "dog"], family="resnet18"))
    >>> scores = steerable([pictures, np.array([[1.3, 1.0]])])
    """
    parts = find_parts(model)
    if len(model.inputs) > 1:
        raise ValueError(f"The model {model.name!r} has a gains input already.")
    branches = {id_: _with_gain_input(branch) for id_, branch in parts.branches.items()}
    return rebuild(parts, branches=branches, name=model.name)


def gain_names(model: keras.Model) -> tuple[str, ...]:
    """Labels of the nodes in the column order of the gains input.

    Args:
        model: a SeqPar network.

    Returns:
        The labels: superclasses before what is below them.
    """
    return tuple(node.label for node in find_parts(model).hierarchy.nodes)


def _with_gain(branch: keras.Model, gain: float) -> keras.Model:
    """A branch with another constant gain; all other layers are shared."""

    def call(layer, *args, **kwargs):
        if isinstance(layer, TopDownGain):
            layer = TopDownGain(gain, name=layer.name, dtype=layer.dtype_policy)
        return layer(*args, **kwargs)

    inputs = _inputs_like(branch)
    return keras.Model(inputs, replay(branch, inputs, call), name=branch.name)


def _with_gain_input(branch: keras.Model) -> keras.Model:
    features = _inputs_like(branch)
    gain = keras.Input((1,), name=f"{branch.name}_gain_input")

    def call(layer, *args, **kwargs):
        if isinstance(layer, TopDownGain):
            return layer(args[0], gain)
        return layer(*args, **kwargs)

    return keras.Model([features, gain], replay(branch, features, call), name=branch.name)


def _inputs_like(branch: keras.Model):
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in branch.inputs]
    return inputs if len(inputs) > 1 else inputs[0]


def _labels(parts: Parts) -> str:
    return ", ".join(node.label for node in parts.hierarchy.nodes)
