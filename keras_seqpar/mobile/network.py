"""What the mobile side has to know of a Keras network, read once."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from keras_seqpar.mobile.images import check_array
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.inputs import from_pixels, normalization_of
from keras_seqpar.networks.parts import Parts, find_parts
from keras_seqpar.networks.quantized import refuse_quantized
from keras_seqpar.networks.thresholds import Threshold
from keras_seqpar.surgery.fusing import unfuse

__all__ = ["NetworkFacts", "from_pixels", "in_float32", "labels_of", "read_network"]


@dataclasses.dataclass(frozen=True)
class NetworkFacts:
    """A network and what is known about it. `read_network` makes one.

    Args:
        model: the network.
        parts: what it is made of; `None` for a network that is not of this package.
        takes_pixels: `True` for images of 0 to 255, `False` for ImageNet-normalized images, `None`
            where that is unknown: for networks from elsewhere.
        normalization: mean and standard deviation per channel, in pixels, that turn pixels into
            the network's input; `None` where that is unknown.
    """

    model: keras.Model
    parts: Parts | None
    takes_pixels: bool | None
    normalization: tuple[list[float], list[float]] | None

    @property
    def name(self) -> str:
        """The network's name."""
        return self.model.name

    @property
    def who(self) -> str:
        """How messages call the network."""
        return f"the model {self.name!r}"

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels in the order of the logits; `None` for networks from elsewhere."""
        return self.parts.hierarchy.categories if self.parts else None

    @property
    def threshold(self) -> Threshold | None:
        """The stored threshold for none of these, if any."""
        return self.parts.threshold if self.parts else None

    @property
    def activation(self) -> str | None:
        """The activation over the logits; of a network from elsewhere, that of its last layer."""
        if self.parts:
            return self.parts.classifier_activation
        last = getattr(self.model.layers[-1], "activation", None)
        return getattr(last, "__name__", None)

    @property
    def gains(self) -> int | None:
        """The number of gains that a second input takes; `None` without such an input."""
        return self.model.inputs[1].shape[-1] if len(self.model.inputs) > 1 else None

    @property
    def outputs(self) -> int:
        """The number of scores: the last dimension of the first output."""
        return self.model.outputs[0].shape[-1]

    def check_images(self, images, size: Sequence[int | None], what: str = "images") -> np.ndarray:
        """Checks that images are what the network takes.

        Args:
            images: what was given.
            size: `(height, width, channels)` wanted; `None` allows any.
            what: how to call the images in a message.

        Returns:
            The images as an array `(n, height, width, channels)`, uint8 or floats.

        Raises:
            TypeError: no array of uint8 or floats.
            ValueError: another shape, no image, NaN, or a range that the network does not take.
        """
        return check_array(images, size, what, self.takes_pixels, self.who)


def read_network(model: keras.Model) -> NetworkFacts:
    """Reads what the mobile side has to know of a network, from this package or not.

    Of a fused network the model there has named branches, which is what interpreters are fast at.

    Raises:
        TypeError: `model` is no Keras model.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"Expected a keras.Model, got {model!r} of type {type(model).__name__}. Read a .keras "
            "file with keras.models.load_model first."
        )
    try:
        parts = find_parts(model, allow_plain=True)
    except ValueError:
        return NetworkFacts(model, None, None, None)
    if parts.banks:
        model = unfuse(model)
        parts = find_parts(model)
    pixels, known = normalization_of(parts, model.inputs[0].shape[-1])
    return NetworkFacts(model, parts, pixels, known)


def labels_of(model: keras.Model) -> tuple[str, ...] | None:
    """Returns the labels of a network in the order of its logits.

    Args:
        model: any Keras model.

    Returns:
        The labels; `None` for a network that is not of this package.

    Raises:
        TypeError: `model` is no Keras model.

    Example:

    >>> labels_of(pets)
    ('cat', 'dog')
    """
    return read_network(model).labels


def in_float32(model: keras.Model) -> keras.Model:
    """Returns a network without half precision: itself, or a twin with copied weights.

    Mixed precision leaves casts to float16 in the graph, for which mobile interpreters have no
    kernels; its weights are float32 already.

    Args:
        model: a built network.

    Raises:
        ValueError: the network was quantized by Keras.
    """
    refuse_quantized(model, "Convert the original network.")
    layers = list(leaf_layers(model))
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
    """A copy of a serialized model in which every layer computes in float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return "float32"
        return {k: _replace_dtypes(v, k) for k, v in config.items() if k != "compile_config"}
    if isinstance(config, (list, tuple)):
        return type(config)(_replace_dtypes(v, key) for v in config)
    if key == "dtype" and isinstance(config, str) and "float" in config:
        return "float32"
    return config
