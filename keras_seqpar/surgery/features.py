"""The features inside a branch, and the network as a function of them (for Grad-CAM)."""

import keras

from keras_seqpar.networks.graph import build_model, one_at_a_time, replay
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.attention import feature_layers
from keras_seqpar.utils.names import unknown_name


@one_at_a_time
def split_branch(
    model: keras.Model, node: str, *, after: str | None = None
) -> tuple[keras.Model, keras.Model]:
    """Splits a network at a layer inside one of its branches.

    `keras.Model(model.inputs, layer.output)` cannot do this: a layer inside a branch belongs to
    the branch's own graph. The two networks give the layer's features, and the gradients of the
    scores with respect to them, as Grad-CAM (arXiv 1610.02391) needs them:

    - TensorFlow: `tape.watch(features)`, then `tape.gradient` of a score.
    - JAX: `jax.grad` of `lambda f: rest([f, images])[0, column]` at `features`.
    - torch: `features.detach().requires_grad_()`, then `backward()` of a score.

    Softmax scores depend on all branches. For the logits give `with_activation(model, None)`.

    Args:
        model: a SeqPar network.
        node: label or node id of a category or superclass.
        after: the layer whose output is wanted, for example `"stage5_block1_relu"`: its name with
            or without the prefix of its node. It must have features `(batch, height, width,
            channels)`. By default the last such layer of the branch, or its gain if that comes
            later.

    Returns:
        Two networks that share all weights with `model`. The first one takes what `model` takes
        and returns the features. The second one takes a list of the features and all inputs of
        `model`, and returns what `model` returns: it computes everything but these features.

    Raises:
        TypeError: `model` is no Keras model, or `after` no name.
        ValueError: no SeqPar network, an unknown node, or a layer that the branch does not have.

    Example:

    >>> before, rest = split_branch(model, "dog")
    >>> tensors = keras.ops.convert_to_tensor(images)  # Keras takes no mixture with arrays
    >>> features = before(tensors)
    >>> scores = rest([features, tensors])  # equals model(images)
    """
    parts = find_parts(model)
    if after is not None and not isinstance(after, str):
        raise TypeError(f"after must be the name of a layer, got {after!r}.")
    id_ = parts.hierarchy.find(node).id
    branch = parts.branches[id_]
    names = feature_layers(branch, id_, gain=True)
    wanted = names[-1] if after is None else after.removeprefix(f"{id_}_")
    if wanted not in names:
        raise ValueError(unknown_name(f"layer of the branch of {node!r}", after, names))
    layer = branch.get_layer(f"{id_}_{wanted}")

    def run(inputs, features=None):
        """The network's outputs, and what `layer` and others of the branch returned."""
        seen = {}

        def inside(each, *args, **kwargs):
            seen[each.name] = y = each(*args, **kwargs)
            return features if each is layer and features is not None else y

        def call(each, *args, **kwargs):
            return replay(each, args[0], inside) if each is branch else each(*args, **kwargs)

        return replay(model, inputs if inputs[1:] else inputs[0], call), seen

    inputs = _new_inputs(model)
    outputs, seen = run(inputs)
    made = seen[layer.name]
    before = build_model(
        inputs if inputs[1:] else inputs[0], made, name=f"{id_}_features", unused=outputs
    )
    inputs = _new_inputs(model)
    features = keras.Input(made.shape[1:], dtype=made.dtype, name="features")
    outputs, seen = run(inputs, features)
    rest = build_model([features, *inputs], outputs, name=f"{id_}_rest", unused=[*seen.values()])
    return before, rest


def _new_inputs(model: keras.Model) -> list:
    return [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in model.inputs]
