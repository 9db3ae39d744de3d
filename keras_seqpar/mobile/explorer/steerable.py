"""Branches for the page: a gain goes in, and a map of the branch's activity comes out.

They are float32 files beside a pack, one per node, for the output of that pack's trunk. With a gain
of 1 they compute what the branches of a float32 pack compute; those of an int8 pack round.
"""

import json
from collections.abc import Iterator, Mapping

import keras

from keras_seqpar.mobile.export.converter import to_tflite
from keras_seqpar.networks.graph import build_model, one_at_a_time, replay
from keras_seqpar.networks.parts import Parts, find_parts
from keras_seqpar.surgery.attention import attention_input, feature_layers


def steerable_branches(
    model: keras.Model, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, bytes]]:
    """Converts every branch of a network with a gain and a map of its activity.

    The inputs of a file are `features`, the output of the branch above or of the trunk, and
    `gain`, `(1, 1)`. Its outputs are `logit`, `(1, 1)`, or a superclass's `features`; and
    `activity`, `(1, height, width)`: the mean over the channels of the absolute values of the
    branch's last features. This is the activation-based attention map of Zagoruyko & Komodakis,
    arXiv 1612.03928, section 3.1, divided by the number of channels.

    Args:
        model: a SeqPar network in float32, without a gains input.
        shapes: node id -> shape of what its branch takes, the batch of 1 included.

    Yields:
        Node id and content of its file, in `hierarchy.nodes` order.
    """
    from keras_seqpar.mobile.format.flatbuffer import rewrite  # these need the [mobile] extra
    from keras_seqpar.mobile.format.schema import pack, unpack

    parts = find_parts(attention_input(model))
    for node in parts.hierarchy.nodes:
        converted = unpack(to_tflite(_with_activity(parts, node.id), shapes[node.id], "float32"))
        for entry in converted.signatureDefs[0].inputs:
            entry.name = b"features" if entry.name == b"image" else b"gain"
        outputs = "logit" if node.is_category else "features", "activity"
        about = json.dumps({"node": node.id, "label": node.label, "quantization": "float32"})
        yield node.id, rewrite(pack(converted), outputs=outputs, description=about)[0]


@one_at_a_time
def _with_activity(parts: Parts, id_: str) -> keras.Model:
    """A branch that takes its gain and also returns the activity of its last features."""
    branch = parts.branches[id_]
    last = f"{id_}_{feature_layers(branch, id_, gain=True)[-1]}"
    seen = {}

    def call(layer, *args, **kwargs):
        seen[layer.name] = y = layer(*args, **kwargs)
        return y

    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in branch.inputs]
    output = replay(branch, inputs, call)
    activity = keras.ops.mean(keras.ops.absolute(seen[last]), axis=-1)
    return build_model(inputs, [output, activity], name=branch.name)
