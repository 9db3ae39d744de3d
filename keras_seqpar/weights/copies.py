"""Strict copies of weights between networks, by name."""

import keras

from keras_seqpar.networks.bank.layers import Bank
from keras_seqpar.networks.graph import inner_layers, leaf_layers
from keras_seqpar.networks.layers import CategoryScores
from keras_seqpar.weights.differences import (
    build_differences,
    function_differences,
    function_layers,
    layer_differences,
    refuse_difference,
    shape_of,
)
from keras_seqpar.weights.reports import Filled

CLASSIFIER = "logits"  # the layer of a plain network that has one output per category


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """All weights of a model, nested models included, as `layer/weight` -> variable.

    Args:
        model: a network of this package; its layer names are unique over all sub-models.

    Returns:
        The variables in layer order. Those of a layer inside of a layer have its name in between,
        `layer/inner/weight`.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: two layers have the same name.

    Example:

    >>> list(named_weights(model))[:2]
    ['stem_conv/kernel', 'stem_conv_norm/gamma']
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, got {model!r} of type {type(model).__name__}.")
    named: dict[str, keras.Variable] = {}
    for layer in leaf_layers(model):
        for variable in layer.weights:
            key = _key(layer, variable)
            if key in named and named[key] is not variable:
                raise ValueError(f"Two weights of {model.name!r} are called {key!r}.")
            named[key] = variable
    return named


def copy_weights(source: keras.Model, target: keras.Model, *, partial: bool = False) -> Filled:
    """Copies all weights of one network to another of the same function, by name.

    The two must have weights of the same names and shapes, and layers that compute the same:
    equal strides, epsilons, activations and so on. Plain networks must also have the same
    categories in the same order, because all of them share one layer. What may differ are
    gains, the activation over the logits, the rate of stochastic depth, and whether the
    normalization of pixels is inside the network.

    Never use `load_weights` between networks with different categories: Keras matches layers by
    class and position there, and puts the weights of the wrong branch in without an error.

    Args:
        source: the network to take the weights from.
        target: the network to fill.
        partial: copy every layer that fits and leave the others as they are.

    Returns:
        What was copied; with `partial`, its `kept` lists the weights that were not filled.

    Raises:
        TypeError: one of the two is no Keras model.
        ValueError: the two differ (the message shows how), or, with `partial`, no layer fits; or
            one is fused and the other is not.

    Example:

    >>> bigger = add_category(model, "bus")
    >>> print(copy_weights(model, bigger, partial=True))
    Filled 171 weights from 'phl_resnet18'.
      Left as they are: bus_stage4_block1_conv1/kernel, ... and 29 more.
    """
    have, want = named_weights(source), named_weights(target)
    fused = [any(isinstance(x, Bank) for x in model.layers) for model in (source, target)]
    if fused[0] != fused[1]:
        one, other = (source, target) if fused[0] else (target, source)
        raise ValueError(
            f"{one.name!r} is fused and {other.name!r} is not. Bring them into one form first, "
            "with keras_seqpar.fuse or keras_seqpar.unfuse."
        )
    layers = function_layers(source), function_layers(target)
    names = fitting(source, target) if partial else list(want)
    if not names or not partial:
        functions = [*function_differences(*layers), *_other_categories(source, target)]
        title = f"The weights of {source.name!r} do not fit {target.name!r}."
        builds = build_differences(source, target)
        refuse_difference(have, want, title, builds=builds, functions=functions)
    assign(have, want, names)
    kept = tuple(key for key in want if key not in set(names))
    ignored = tuple(key for key in have if key not in set(names))
    return Filled(repr(source.name), tuple(names), kept, ignored)


def fitting(source: keras.Model, target: keras.Model) -> list[str]:
    """Names of the target's weights that the source has too, in layers of the same function.

    A layer fits with all of its weights or not at all.
    """
    have, names = {layer.name: layer for layer in leaf_layers(source)}, []
    for layer in leaf_layers(target):
        twin = have.get(layer.name)
        if twin is None or layer_differences(twin, layer):
            continue
        if layer.name == CLASSIFIER and _other_categories(source, target):
            continue
        shapes = [{_key(x, w): shape_of(w) for w in x.weights} for x in (twin, layer)]
        if shapes[0] == shapes[1]:
            names += [_key(layer, weight) for weight in layer.weights]
    return names


def _key(layer: keras.layers.Layer, weight: keras.Variable) -> str:
    """The name of a weight in `named_weights`."""
    if not inner_layers(layer):
        return f"{layer.name}/{weight.name}"
    path = weight.path.split("/")
    return "/".join(path[path.index(layer.name) if layer.name in path else 0 :])


def assign(have: dict[str, keras.Variable], want: dict[str, keras.Variable], names) -> None:
    """Copies named variables."""
    for key in names:
        want[key].assign(keras.ops.copy(have[key]))  # JAX would share, and `fit` frees, the array


def _other_categories(source: keras.Model, target: keras.Model) -> list[str]:
    """A line if the shared classifiers of two plain networks stand for other categories."""
    ids = []
    for model in (source, target):
        layers = {layer.name: layer for layer in model.layers}
        scores = [layer for layer in model.layers if isinstance(layer, CategoryScores)]
        if CLASSIFIER not in layers or not scores:
            return []  # branches have one logit each, and names of their own
        ids.append(scores[-1].hierarchy.category_ids)
    if ids[0] == ids[1]:
        return []
    shown = [", ".join(some[:5]) + (", ..." if len(some) > 5 else "") for some in ids]
    return [f"{CLASSIFIER}: for {shown[0]} in the source, for {shown[1]} in the target"]
