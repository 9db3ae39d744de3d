"""What the mobile side asks of a Keras network: its precision, its inputs, its images."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_seqpar.mobile.images import check_array
from keras_seqpar.networks.assembly import IMAGENET_MEAN, IMAGENET_STD
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.parts import Parts, find_parts


def parts_of(model: keras.Model) -> Parts | None:
    """Returns the parts of a network of this package, plain ones included, or `None`.

    Raises:
        TypeError: `model` is no Keras model.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"Expected a keras.Model, got {model!r} of type {type(model).__name__}. Read a .keras "
            "file with keras.models.load_model first."
        )
    try:
        return find_parts(model, allow_plain=True)
    except ValueError:
        return None


def labels_of(model: keras.Model) -> tuple[str, ...] | None:
    """Returns the labels in the order of the logits, or `None` where the network has none."""
    parts = parts_of(model)
    return parts.hierarchy.categories if parts else None


def takes_pixels(model: keras.Model) -> bool | None:
    """Says what images a network takes.

    Returns:
        `True` for pixels of 0 to 255, `False` for ImageNet-normalized input, `None` where
        that cannot be known: a network from elsewhere.
    """
    parts = parts_of(model)
    if parts is None:
        return None
    if any(layer.name == "preprocessing" for layer in parts.trunk.layers):
        return True
    return False if model.inputs[0].shape[-1] == len(IMAGENET_MEAN) else None


def normalization(model: keras.Model) -> tuple[list[float], list[float]] | None:
    """Mean and deviation in pixels that turn pixels into the network's input, if known."""
    pixels = takes_pixels(model)
    if pixels is None:
        return None
    channels = model.inputs[0].shape[-1]
    if pixels:
        return [0.0] * channels, [1.0] * channels
    return [255 * m for m in IMAGENET_MEAN], [255 * s for s in IMAGENET_STD]


def from_pixels(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Turns pixels into what a network takes.

    Args:
        model: a network of this package.
        pixels: `(n, height, width, channels)` uint8.

    Returns:
        The pixels as they are, or normalized as float32.

    Raises:
        ValueError: the network is not of this package, so its input range is not known.
    """
    known = normalization(model)
    if known is None:
        raise ValueError(
            f"The model {model.name!r} is no network of this package: nothing says how its "
            "images are normalized."
        )
    if takes_pixels(model):
        return pixels
    mean, std = (np.array(values, "float32") for values in known)
    return (pixels - mean) / std


def check_images(
    model: keras.Model, images, size: Sequence[int | None], what: str = "images"
) -> np.ndarray:
    """Checks that images are what a network takes.

    Args:
        model: the network.
        images: what was given.
        size: `(height, width, channels)` wanted; `None` allows any.
        what: how to call them in a message.

    Returns:
        The images as an array `(n, height, width, channels)`, uint8 or floats.

    Raises:
        TypeError: no array of uint8 or floats.
        ValueError: another shape, no image, NaN, or a range that the network does not take.
    """
    return check_array(images, size, what, takes_pixels(model), f"the model {model.name!r}")


def in_float32(model: keras.Model) -> keras.Model:
    """Returns a network without half precision: itself, or a twin with copied weights.

    Mixed precision leaves casts to float16 in the graph, which no mobile kernel wants; its
    weights are float32 anyway.

    Args:
        model: a built network.

    Raises:
        ValueError: the network was quantized by Keras.
    """
    layers = list(leaf_layers(model))
    if any(getattr(layer.dtype_policy, "quantization_mode", None) for layer in layers):
        raise ValueError(
            f"The model {model.name!r} was quantized by Keras. Convert the original network."
        )
    used = {
        dtype
        for layer in layers
        for dtype in (layer.dtype_policy.compute_dtype, layer.dtype_policy.variable_dtype)
    }
    if used <= {"float32"}:
        return model
    config = keras.saving.serialize_keras_object(model)
    twin = keras.saving.deserialize_keras_object(_replace_dtypes(config))
    twin.set_weights([keras.ops.convert_to_numpy(weight) for weight in model.weights])
    return twin


def _replace_dtypes(config, key: str | None = None):
    """A copy of a serialized model in which everything that computes does so in float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return "float32"
        return {k: _replace_dtypes(v, k) for k, v in config.items() if k != "compile_config"}
    if isinstance(config, (list, tuple)):
        return type(config)(_replace_dtypes(v, key) for v in config)
    if key == "dtype" and isinstance(config, str) and "float" in config:
        return "float32"
    return config
