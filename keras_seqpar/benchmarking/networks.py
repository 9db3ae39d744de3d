"""Networks that streams are measured on: made with random weights, or trained, and their files."""

import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.mobile.export.converting import convert
from keras_seqpar.mobile.network import read_network
from keras_seqpar.networks.builders import build_plain
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.presets.sources import PRESET, load_source
from keras_seqpar.selective import open_sizes

APPLICATIONS = {"mobilenet_v2": "MobileNetV2", "vgg16": "VGG16"}  # of keras.applications
NOISE = 8  # random images to calibrate on


def make_network(name: str, size: int) -> keras.Model:
    """Makes or loads a network for frames of one size.

    Args:
        name: a family of this package, such as `"resnet50"`: its plain network of ten categories;
            a key of `APPLICATIONS`; `"preset:NAME"`; or a `.keras` file. Networks that are not
            trained have random weights, always the same.
        size: side of the frames in pixels.

    Returns:
        The network; where its own size is another one, for frames of any size.

    Raises:
        ValueError: there is no such family, preset or file.

    Example:

    >>> model = make_network("mobilenet_v2", 224)
    """
    return at_size(load(name, size), size)


def at_size(model: keras.Model, size: int | tuple[int, int]) -> keras.Model:
    """The network itself if it takes frames of a size, else one that takes any."""
    return model if model.input_shape[1:3] == _sides(size) else open_sizes(model)


def convert_quietly(
    model: keras.Model,
    path: Path,
    quantization: str,
    size: int | tuple[int, int],
    calibration: Callable[[], np.ndarray] | None = None,
) -> Path:
    """Converts a network for timing, without warnings about few images and missing labels.

    Int8 files take uint8 pixels if the network takes pixels, else int8.

    Args:
        model: the network, of any size.
        path: the file to write.
        quantization: as for `convert`.
        size: side of the frames in pixels, or `(height, width)`.
        calibration: returns images for int8; by default noise.

    Returns:
        The path.
    """
    sides, pixels, images = _sides(size), read_network(model).takes_pixels, None
    if quantization == "int8" and calibration:
        images = calibration()
    elif quantization == "int8":
        images = np.random.default_rng(0).random((NOISE, *sides, model.input_shape[-1]))
        images = (255 * images).astype("uint8") if pixels else (2 * images).astype("float32")
    model = at_size(model, sides)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        convert(
            model,
            path,
            quantization=quantization,
            calibration=images,
            input_dtype="float32" if images is None else "uint8" if pixels else "int8",
            image_size=None if model.input_shape[1] else sides,
            labels=False,
        )
    return path


def load(name: str, size: int) -> keras.Model:
    """The network in its own size, or in the given one where it has none."""
    if name.startswith(PRESET) or name.endswith(".keras"):
        return load_source(name)
    shape = (size, size, 3)
    keras.utils.set_random_seed(0)
    if name in APPLICATIONS:
        model = getattr(keras.applications, APPLICATIONS[name])(weights=None, input_shape=shape)
    else:
        model = build_plain(10, family=name, input_shape=shape, seed=0)
    rng = np.random.default_rng(0)
    for layer in leaf_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):  # zeros would be optimized away
            weights = dict(zip((x.name for x in layer.weights), layer.weights, strict=True))
            weights["beta"].assign(0.1 * rng.normal(size=weights["beta"].shape))
    return model


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
