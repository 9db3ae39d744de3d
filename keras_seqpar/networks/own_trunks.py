"""Trunks of one's own: a functional Keras model, up to a layer whose output is a map."""

import keras

from keras_seqpar.networks.graph import functional, inner_layers, leaf_layers, one_at_a_time
from keras_seqpar.utils.names import unknown_name


@one_at_a_time
def make_trunk(model: keras.Model, end: str | None) -> keras.Model:
    """The beginning of a model as the trunk of a network; it shares the model's weights.

    Args:
        model: a functional model of one image, channels last: of keras.applications, a backbone
            of KerasHub or KerasCV, or another.
        end: name of the layer at whose output it ends; by default the model's own output.

    Returns:
        A model named `trunk`.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is not functional, takes more than one image, has no such layer, has layers
            for channels first, or its output there is not one map of `(height, width, channels)`.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"trunk must be a keras.Model, got {model!r:.60} of type {type(model).__name__}."
        )
    graph = functional(model)
    if graph is None:
        raise ValueError(
            f"The trunk {model.name!r} is not a functional model, so its layers cannot be listed. "
            "Build it with keras.Model(inputs, outputs)."
        )
    inputs = keras.tree.flatten(graph.inputs)
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise ValueError(
            f"A trunk takes one image, (batch, height, width, channels), but {model.name!r} takes "
            f"{', '.join(str(x.shape) for x in inputs)}."
        )
    names = [layer.name for layer in graph.layers]
    if end is not None and end not in names:
        raise ValueError(unknown_name("layer", end, names))
    output = graph.output if end is None else graph.get_layer(end).output
    if not _is_map(output):
        maps = [layer.name for layer in graph.layers if _is_map(layer.output)]
        shapes = [x.shape for x in keras.tree.flatten(output)]
        last = f"the last layer with a map is {maps[-1]!r}" if maps else "no layer has a map"
        raise ValueError(
            f"The trunk {model.name!r} ends in {shapes[0] if len(shapes) == 1 else shapes}, but "
            "branches need a map, (batch, height, width, channels). Say with trunk_end at which "
            f"layer it ends; {last}."
        )
    trunk = keras.Model(inputs[0], output, name="trunk")
    for layer in (x for leaf in leaf_layers(trunk) for x in (leaf, *inner_layers(leaf))):
        if getattr(layer, "data_format", None) == "channels_first":
            raise ValueError(
                f"The layer {layer.name!r} of the trunk {model.name!r} has channels first, but "
                "branches take channels last. Build the trunk with data_format='channels_last'."
            )
    return trunk


def _is_map(output) -> bool:
    return isinstance(output, keras.KerasTensor) and len(output.shape) == 4
