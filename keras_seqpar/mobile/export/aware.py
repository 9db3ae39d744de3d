"""A network trained with fake quantization -> an int8 .tflite file."""

import os
from collections.abc import Sequence

import keras

from keras_seqpar.mobile.export.compat import with_integer_ends
from keras_seqpar.mobile.export.converter import to_tflite
from keras_seqpar.mobile.export.file_content import describe
from keras_seqpar.mobile.export.options import FileOptions
from keras_seqpar.mobile.export.specification import specify
from keras_seqpar.mobile.format.files import Converted, check_path
from keras_seqpar.mobile.network import NetworkFacts, read_network
from keras_seqpar.mobile.quantization.qat.compat import has_fake_quantization, need
from keras_seqpar.mobile.runtime.runner import LOGITS


def convert_aware(
    aware,
    model: keras.Model,
    path: str | os.PathLike,
    *,
    input_dtype: str = "float32",
    output_dtype: str = "float32",
    outputs: str = "scores",
    batch_size: int = 1,
    image_size: tuple[int, int] | None = None,
    labels: bool | Sequence[str] = True,
    description: str | None = None,
    author: str | None = None,
    license: str | None = None,
) -> Converted:
    """Writes a network trained with fake quantization as an int8 .tflite file.

    The file is like one of `convert(..., quantization="int8")`: the same inputs and outputs, labels
    and metadata. It needs no calibration: ranges were learned. `verify` compares it with any Keras
    network: with `model` for what training and rounding changed together, with
    `from_tf_keras(aware, model)` for the rounding alone.

    Args:
        aware: from `quantize_aware(model, ...)`, trained.
        model: the network that it was made of; its labels and activation are written.
        path: where to write, ending in `.tflite`; the folder must exist.
        input_dtype: `"uint8"`, `"int8"` or `"float32"`, as for `convert`.
        output_dtype: likewise, of the scores.
        outputs: `"scores"` or `"logits"`, as for `convert`.
        batch_size: the fixed number of images per run.
        image_size: `(height, width)`, for a network that takes images of any size.
        labels: as for `convert`.
        description: for the metadata, as for `convert`.
        author: for the metadata.
        license: for the metadata.

    Returns:
        What was written.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an unknown dtype; `aware` is one of another network; the network stores a
            threshold for none of these; a path that cannot be written.
        ImportError: tf_keras is not installed.
        OSError: writing failed. Files that were there before are kept.

    Example:

    >>> aware = quantize_aware(pets, images)  # then compile and fit it
    >>> made = convert_aware(aware, pets, "aware.tflite", input_dtype="uint8")
    >>> made.quantization
    'int8'
    """
    network = read_network(model)
    path = check_path(path)
    options = FileOptions(
        quantization="int8",
        input_dtype=input_dtype,
        output_dtype=output_dtype,
        outputs=outputs,
        batch_size=batch_size,
        image_size=image_size,
        labels=labels,
        description=description,
        author=author,
        license=license,
    )
    scoring = _with_scores(aware, network, outputs)
    spec = specify(network, options, learned_ranges=True)
    # With fake quantization in the graph, the converter's dynamic kind is int8 throughout.
    content = to_tflite(scoring, spec.shape, "dynamic")
    content = with_integer_ends(content, (input_dtype, output_dtype))
    return describe(content, spec, {"quantizer": "aware"}).write(path)


def _with_scores(aware, network: NetworkFacts, outputs: str):
    """The network to convert: with the activation that `network` has, unless logits are wanted."""
    model, parts = network.model, network.parts
    tf_keras = need("tf_keras")
    if not isinstance(aware, tf_keras.Model):
        raise TypeError(
            f"aware must be what keras_seqpar.mobile.quantize_aware returned, got {aware!r:.80}."
        )
    if not has_fake_quantization(aware):
        raise ValueError(
            f"The tf_keras model {aware.name!r} has no fake quantization. Make it with "
            "keras_seqpar.mobile.quantize_aware."
        )
    mine, wanted = ([tuple(x.shape) for x in (*m.inputs, *m.outputs)] for m in (aware, model))
    if mine != wanted:
        raise ValueError(
            f"{aware.name!r} was not made of the network {model.name!r}: it takes and gives "
            f"{mine}, the network {wanted}."
        )
    if network.threshold:
        raise ValueError(
            f"The model {model.name!r} stores a threshold for none of these, which was fitted on "
            "the logits before training. Remove it: keras_seqpar.with_threshold(model, None)."
        )
    if outputs == LOGITS or parts is None or parts.classifier_activation in (None, "linear"):
        return aware
    score = tf_keras.layers.Activation(parts.classifier_activation, name="scores")
    return tf_keras.Model(aware.inputs, score(aware.output), name=aware.name)
