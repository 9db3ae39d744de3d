"""Quantization-aware training: a network that computes as its int8 file will, and learns so.

tensorflow-model-optimization (tfmot) puts fake quantization into a tf_keras model: every kernel
and every feature map is rounded to 8 bits in the forward pass, while gradients pass as if it were
not (Jacob et al., arXiv 1712.05877, section 3). Kernels of convolutions have a scale per output
channel, symmetric; those of dense layers, whose scales per output TensorFlow's converter does not
take from fake quantization, and feature maps have one scale each. Convolution, batch normalization
and ReLU count as one operation, as does an addition with its ReLU.

Where tfmot's own defaults would cost accuracy or time, this file differs:

- Ranges start at those of calibration images and of the kernels. tfmot's start at -6 to 6 and
  move by a thousandth a step: too slow for fine-tuning of a few hundred steps.
- Logits of branches have no scale of their own; that of all categories holds for them, so that
  the file need not rescale them.
- Pixels keep the range 0 to 255: scale 1, zero point 0.
"""

import json
import os
from collections.abc import Sequence

import keras
import numpy as np

from keras_seqpar.mobile.export.compat import to_tflite
from keras_seqpar.mobile.export.converting import (
    _check_labels,
    _check_meaning,
    _check_options,
    _image_shape,
    facts,
)
from keras_seqpar.mobile.format.files import Converted, check_path, write
from keras_seqpar.mobile.images import batches, check_spread
from keras_seqpar.mobile.network import check_images, normalization, parts_of, takes_pixels
from keras_seqpar.mobile.quantization.post_training import no_calibration, say_few
from keras_seqpar.mobile.quantization.qat.bridge import check_bridge, need, to_tf_keras
from keras_seqpar.networks.parts import Parts

BATCH = 16  # calibration images per step
_LEAST = 1e-6  # half a range, where all values are 0: a scale of 0 would not do
_BEFORE_NORMALIZATION = ("Conv2D", "DepthwiseConv2D", "Dense")


def quantize_aware(model: keras.Model, calibration: np.ndarray):
    """Writes a network as a tf_keras model with fake quantization, ready to be trained.

    Compile and fit it as any tf_keras model, at a low learning rate. Then
    `convert_aware(aware, model, path)` makes the int8 file, and `from_tf_keras(aware, model)` the
    Keras network with the same weights before rounding. Without any training the file is much
    like that of post-training quantization.

    Needs Keras on the TensorFlow backend and the [qat] extra.

    Args:
        model: a network as for `to_tf_keras`: ResNets, but not ConvNeXt V2.
        calibration: real images `(n, height, width, channels)` as the network takes them, uint8
            or floats; 100 to 500 are enough. The ranges start from them.

    Returns:
        A `tf_keras.Model` of float32 images. Networks of this package give logits
        `(batch, categories)`: train with `from_logits=True`; others what they gave.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: a network that tfmot cannot quantize, or images that do not fit it.
        RuntimeError: Keras does not run on TensorFlow.
        ImportError: tf_keras or tensorflow-model-optimization is not installed.

    Example:

    >>> aware = quantize_aware(model, images[:300])
    >>> loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> aware.compile(tf_keras.optimizers.Adam(1e-4), loss)
    >>> aware.fit(images.astype("float32"), labels, epochs=2)
    """
    check_bridge(model)
    if calibration is None:
        raise no_calibration("int8")
    shape = model.inputs[0].shape[1:]
    calibration = check_images(model, calibration, shape, "calibration images")
    check_spread(calibration)
    say_few(calibration)
    tf_keras, tfmot = need("tf_keras"), need("tensorflow_model_optimization")
    twin = to_tf_keras(model, logits=True)
    for layer in twin.layers:
        _check_normalization(layer)
    annotated = tf_keras.models.clone_model(twin, clone_function=_annotate(tfmot))
    with tfmot.quantization.keras.quantize_scope():
        aware = tfmot.quantization.keras.quantize_apply(annotated)
    for layer in twin.layers:
        if not layer.trainable:
            wrapper = aware.get_layer(f"quant_{layer.name}")
            wrapper.trainable = False
            # The wrapper lists its kernel here, and trains what is listed even so.
            wrapper._non_trainable_weights += wrapper._trainable_weights
            wrapper._trainable_weights = []
    _set_ranges(aware, twin, calibration, (0.0, 255.0) if takes_pixels(model) else None)
    return aware


def convert_aware(
    aware,
    model: keras.Model,
    path: str | os.PathLike,
    *,
    input_dtype: str = "float32",
    output_dtype: str = "float32",
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

    >>> made = convert_aware(aware, model, "pets.tflite", input_dtype="uint8")
    >>> print(verify(made.path, from_tf_keras(aware, model), images, labels).check())
    """
    parts = parts_of(model)
    path = check_path(path)
    _check_options("int8", input_dtype, output_dtype, batch_size)
    network = _with_scores(aware, model, parts)
    shape = (batch_size, *_image_shape(model, image_size))
    _check_meaning(model, parts, "int8", input_dtype)
    names = _check_labels(model, labels)

    # These need the [mobile] extra, as TensorFlow.
    import tensorflow as tf
    from tensorflow.lite.python.util import modify_model_io_type  # what its converter uses

    from keras_seqpar.mobile.format.flatbuffer import rewrite
    from keras_seqpar.mobile.format.metadata import append, associated_files, metadata

    # With fake quantization in the graph, the converter's dynamic kind is int8 throughout.
    content = to_tflite(network, shape, "dynamic", lambda: iter(()), "float32", "float32")
    content = modify_model_io_type(content, tf.as_dtype(input_dtype), tf.as_dtype(output_dtype))
    known = normalization(model)
    about = facts(model, parts, known, "int8") | {"quantizer": "aware"}
    files = associated_files(labels=names, hierarchy=parts.hierarchy if parts and names else None)
    content, operations = rewrite(
        bytes(content),
        outputs=["scores"],
        description=json.dumps(about),
        metadata=metadata(
            files,
            name=model.name,
            description=description or f"Scores {model.outputs[0].shape[-1]} categories.",
            author=author,
            license=license,
            channels=shape[-1],
            normalization=known,
            graphs={"": []},
        ),
    )
    content = append(content, files)
    text = "".join(f"{name}\n" for name in names).encode() if names else None
    return Converted(path, write(path, content, text), "int8", len(content), operations)


def _with_scores(aware, model: keras.Model, parts: Parts | None):
    """The network to convert: with the activation that `model` has over its categories."""
    tf_keras = need("tf_keras")
    if not isinstance(aware, tf_keras.Model):
        raise TypeError(
            f"aware must be what keras_seqpar.mobile.quantize_aware returned, got {aware!r:.80}."
        )
    if not any(layer.name.startswith("quant_") for layer in aware.layers):
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
    if parts and parts.threshold:
        raise ValueError(
            f"The model {model.name!r} stores a threshold for none of these, which was fitted on "
            "the logits before training. Remove it: keras_seqpar.with_threshold(model, None)."
        )
    if parts is None or parts.classifier_activation in (None, "linear"):
        return aware
    score = tf_keras.layers.Activation(parts.classifier_activation, name="scores")
    return tf_keras.Model(aware.inputs, score(aware.output), name=aware.name)


def _check_normalization(layer) -> None:
    """Refuses batch normalizations that TFLite cannot fold; tfmot's message names no way out."""
    if type(layer).__name__ != "BatchNormalization":
        return
    (before,) = [node.inbound_layers for node in layer.inbound_nodes]
    if type(before).__name__ not in _BEFORE_NORMALIZATION:
        raise ValueError(
            f"The batch normalization {layer.name!r} stands behind {before.name!r}, a "
            f"{type(before).__name__}. Only one directly behind a convolution or a dense layer can "
            "be quantized in training. Take keras_seqpar.mobile.convert with calibration."
        )


def _annotate(tfmot):
    """A function that says of each layer how it is quantized."""
    # Without a public name, but what tfmot itself uses for dense layers.
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )

    annotated = tfmot.quantization.keras.quantize_annotate_layer

    def annotate(layer):
        after = {type(node.outbound_layer).__name__ for node in layer.outbound_nodes}
        if type(layer).__name__ == "Dense" and after == {"Concatenate"}:
            return annotated(layer, registry.Default8BitQuantizeConfig(["kernel"], [], False))
        return annotated(layer)

    return annotate


def _set_ranges(aware, twin, calibration: np.ndarray, pixels: tuple[float, float] | None) -> None:
    """Sets all ranges: of kernels from their values, of features from calibration images.

    Args:
        aware: the network with fake quantization.
        twin: the same without; its layers have the same names without `quant_`.
        calibration: images.
        pixels: the range of the input; `None` for that of the images.
    """
    wanted = {}  # name of a layer of the twin -> its two variables of the range
    for layer in aware.layers:
        variables = {v.name.split("/")[-1].partition(":")[0]: v for v in layer.weights}
        for kernel in ("kernel", "depthwise_kernel"):
            if f"{kernel}_min" in variables:
                values = np.abs(variables[kernel].numpy())
                per_channel = len(variables[f"{kernel}_max"].shape) == 1
                axes = tuple(range(values.ndim - 1)) if per_channel else None
                most = values.max(axis=axes).clip(_LEAST)
                variables[f"{kernel}_min"].assign(-most)
                variables[f"{kernel}_max"].assign(most)
        for kind in ("output", "post_activation", layer.name):  # the last: of the input
            if f"{kind}_min" in variables:
                name = "image" if kind == layer.name else layer.name.removeprefix("quant_")
                wanted[name] = [variables[f"{kind}_{end}"] for end in ("min", "max")]
    ranges = _measure(twin, list(wanted), calibration)
    if pixels:
        ranges["image"] = pixels
    for name, (low, high) in ranges.items():
        wanted[name][0].assign(min(low, 0.0))
        wanted[name][1].assign(max(high, _LEAST))


def _measure(twin, names: list[str], calibration: np.ndarray) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of the outputs of layers, over all images."""
    import tensorflow as tf

    tf_keras = need("tf_keras")
    watched = tf_keras.Model(twin.input, [twin.get_layer(name).output for name in names])

    @tf.function
    def extremes(images):
        outputs = tf.nest.flatten(watched(images, training=False))
        ends = [(tf.reduce_min(x), tf.reduce_max(x)) for x in outputs]
        return tf.convert_to_tensor(ends)

    found = np.stack([extremes(some).numpy() for some in batches(calibration, BATCH)])
    low, high = found[..., 0].min(axis=0), found[..., 1].max(axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}
