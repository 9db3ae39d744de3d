"""Fake quantization: training a network that already rounds as its int8 file will.

tensorflow-model-optimization (tfmot) puts fake quantization into a tf_keras model: every kernel
and every feature map is rounded to 8 bits in the forward pass, while gradients pass as if it were
not (Jacob et al., arXiv 1712.05877, section 3). Kernels of convolutions have a scale per output
channel and are symmetric. Kernels of dense layers and feature maps have one scale each: for dense
layers TensorFlow's converter takes no scales per output from fake quantization. Convolution, batch
normalization and ReLU count as one operation, as does an addition with its ReLU.

Where tfmot's own defaults would cost accuracy or time, this file differs:

- Ranges start at those of calibration images and of the kernels. tfmot's start at -6 to 6 and
  move by a thousandth a step: too slow for fine-tuning of a few hundred steps.
- Logits of branches have no scale of their own but share that of all categories, so that the file
  does not have to rescale them.
- Pixels keep the range 0 to 255: scale 1, zero point 0.
"""

import keras
import numpy as np

from keras_seqpar.mobile.images import batches
from keras_seqpar.mobile.quantization.calibration import check_calibration
from keras_seqpar.mobile.quantization.qat import compat
from keras_seqpar.mobile.quantization.qat.bridge import check_bridge, to_tf_keras

BATCH = 16  # calibration images per step
_LEAST = 1e-6  # half a range where all values are 0: a scale of 0 cannot be divided by
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
        `(batch, categories)`: train with `from_logits=True`. Networks from elsewhere keep their
        outputs.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: a network that tfmot cannot quantize, or images that do not fit it.
        RuntimeError: Keras does not run on TensorFlow.
        ImportError: tf_keras or tensorflow-model-optimization is not installed.

    Example:

    >>> import tf_keras
    >>> aware = quantize_aware(pets, images)
    >>> loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> aware.compile(tf_keras.optimizers.Adam(1e-4), loss)
    >>> history = aware.fit(images.astype("float32"), labels, epochs=1, verbose=0)
    """
    network = check_bridge(model)
    images = check_calibration(
        calibration, "int8", model.inputs[0].shape[1:], network.takes_pixels, network.who
    )
    tf_keras, tfmot = compat.need("tf_keras"), compat.need("tensorflow_model_optimization")
    twin = to_tf_keras(model, logits=True)
    for layer in twin.layers:
        _check_normalization(layer)
    annotated = tf_keras.models.clone_model(twin, clone_function=_annotate)
    with tfmot.quantization.keras.quantize_scope():
        aware = tfmot.quantization.keras.quantize_apply(annotated)
    for layer in twin.layers:
        if not layer.trainable:
            compat.freeze(aware, layer.name)
    _set_ranges(aware, twin, images, (0.0, 255.0) if network.takes_pixels else None)
    return aware


def _check_normalization(layer) -> None:
    """Refuses batch normalizations that TFLite cannot fold, and says what to do instead."""
    if type(layer).__name__ != "BatchNormalization":
        return
    before = compat.layer_before(layer)
    if type(before).__name__ not in _BEFORE_NORMALIZATION:
        raise ValueError(
            f"The batch normalization {layer.name!r} follows {before.name!r}, a "
            f"{type(before).__name__}. Only one directly after a convolution or a dense layer can "
            "be quantized in training. Take keras_seqpar.mobile.convert with calibration."
        )


def _annotate(layer):
    """Wraps a layer with the way in which it is quantized."""
    tfmot = compat.need("tensorflow_model_optimization")
    annotated = tfmot.quantization.keras.quantize_annotate_layer
    if type(layer).__name__ == "Dense" and compat.kinds_after(layer) == {"Concatenate"}:
        return annotated(layer, compat.kernel_only())  # a branch's logits have no own scale
    return annotated(layer)


def _set_ranges(aware, twin, calibration: np.ndarray, pixels: tuple[float, float] | None) -> None:
    """Sets all ranges: of kernels from their values, of features from calibration images.

    Args:
        aware: the network with fake quantization.
        twin: the same without; its layers have the same names without `quant_`.
        calibration: images.
        pixels: the range of the input; `None` for that of the images.
    """
    for kernel, least, largest in compat.kernel_ranges(aware):
        values = np.abs(kernel.numpy())
        per_channel = len(largest.shape) == 1
        most = values.max(axis=tuple(range(values.ndim - 1)) if per_channel else None)
        least.assign(-most.clip(_LEAST))
        largest.assign(most.clip(_LEAST))
    features = compat.feature_ranges(aware)
    ranges = _measure(twin, list(features), calibration)
    if pixels:
        ranges["image"] = pixels
    for name, (low, high) in ranges.items():
        least, largest = features[name]
        least.assign(min(low, 0.0))
        largest.assign(max(high, _LEAST))


def _measure(twin, names: list[str], calibration: np.ndarray) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of the outputs of layers, over all images."""
    import tensorflow as tf

    tf_keras = compat.need("tf_keras")
    watched = tf_keras.Model(twin.input, [twin.get_layer(name).output for name in names])

    @tf.function
    def extremes(images):
        outputs = tf.nest.flatten(watched(images, training=False))
        ends = [(tf.reduce_min(x), tf.reduce_max(x)) for x in outputs]
        return tf.convert_to_tensor(ends)

    found = np.stack([extremes(some).numpy() for some in batches(calibration, BATCH)])
    low, high = found[..., 0].min(axis=0), found[..., 1].max(axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}
