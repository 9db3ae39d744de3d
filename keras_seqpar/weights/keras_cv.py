"""Weights of KerasCV: the backbones EfficientNetLiteB0 to B4.

They compute what the families `efficientnet_lite0` to `efficientnet_lite4` compute, up to the last
map before pooling; KerasCV's backbones have no classifier. Two differences are no matter of
weights:

- With `include_rescaling=True`, as KerasCV's presets have it, a backbone takes pixels and divides
  them by 255; networks of this package take (pixels - 127) / 128. The first kernel and the first
  moving mean are converted. This gives the same function except for the outermost pixels of the
  features, where padding with zeros stands for another color.
- A backbone of unknown size pads as if every size were even; here odd sizes are padded as
  TensorFlow pads them. At even sizes, and where KerasCV knows the size, the two are equal.

No other backbone of KerasCV 0.9 computes what a family here computes. Its ResNets pad their stem
on one side only ("same" with stride 2), ResNets here on both. Any of them can be the trunk of a
network, with its own weights: `build_phl(..., trunk=backbone)`.
"""

import keras
import numpy as np

from keras_seqpar.families.base import LayerNames
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.plans import FAMILIES
from keras_seqpar.utils.names import unknown_name
from keras_seqpar.weights.copies import named_weights
from keras_seqpar.weights.filling import fill, find_target
from keras_seqpar.weights.reports import Filled

_ACTIVATION = keras.layers.Activation
# Names of KerasCV's presets.
NAMES = tuple(family.keras_cv.network for family in FAMILIES.values() if family.keras_cv)


def from_keras_cv(
    model: keras.Model, source, *, convert_input: bool = True, partial: bool = False
) -> Filled:
    """Fills a network with an EfficientNet-Lite backbone of KerasCV.

    Weights are matched by name, as in `from_timm`. The classifier of a plain network stays as it
    is. The module's docstring says how the input is converted.

    Args:
        model: a network of this package, or its sub-model `trunk` alone.
        source: a `keras_cv.models.EfficientNetLiteBackbone`, trained or not, or the name of a
            preset (`"efficientnetlite_b0"`), or the path of a preset that was saved.
        convert_input: convert the first layer of a backbone that divides pixels by 255 to the
            input that networks of this package take. `False` keeps it: pixels divided by 255.
            A backbone without rescaling is taken as it is.
        partial: fill every layer that fits and leave the others as they are.

    Returns:
        What was filled, what was left, and what of the source was not needed.

    Raises:
        TypeError: `model` is no Keras model, or `source` neither a model nor a name.
        ValueError: the source does not fit (the message lists how), is another backbone, or
            cannot be loaded.
        ImportError: KerasCV is needed and not installed.

    Example:

    KerasCV's `EfficientNetLiteB0Backbone()` is this one; it reads its numbers from the network.

    >>> from keras_cv.models import EfficientNetLiteBackbone
    >>> backbone = EfficientNetLiteBackbone(
    ...     width_coefficient=1.0,
    ...     depth_coefficient=1.0,
    ...     stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
    ...     stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
    ...     stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
    ...     stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
    ...     stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
    ...     stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
    ...     stackwise_squeeze_and_excite_ratios=[0] * 7,
    ...     include_rescaling=True,
    ... )
    >>> model = build_phl(["cat", "dog"], family="efficientnet_lite0")
    >>> print(from_keras_cv(model, backbone))
    """
    target = find_target(model)
    names = target.names("keras_cv")
    if isinstance(source, str):
        source = _load(source)
    if not isinstance(source, keras.Model):
        raise TypeError(
            f"source must be a keras.Model or one of {', '.join(NAMES)}, got {source!r:.60}."
        )
    layers = {layer.name for layer in leaf_layers(source)}
    if not {"stem_conv", "stem_bn", "block1a_dwconv", "block1a_project_conv"} <= layers:
        _refuse(source.name)
    used = {x.get_config()["activation"] for x in leaf_layers(source) if type(x) is _ACTIVATION}
    if used != {"relu6"}:
        raise ValueError(
            f"The backbone {source.name!r} was built with activation={sorted(map(str, used))}: the "
            "weights would fit and compute something else. EfficientNet-Lite has 'relu6'."
        )
    arrays, original = _translate(source, names)
    if convert_input and any(isinstance(x, keras.layers.Rescaling) for x in leaf_layers(source)):
        _convert_input(arrays)
    return fill(
        target,
        arrays,
        f"keras_cv:{source.name}",
        classifier=False,
        original=original,
        partial=partial,
    )


def _load(name: str) -> keras.Model:
    if "efficientnetlite" not in name.lower() and "/" not in name:
        _refuse(name)
    try:
        from keras_cv.models import EfficientNetLiteBackbone
    except ImportError as error:
        raise ImportError(
            f"Weights by name ({name!r}) need KerasCV: pip install keras-cv. Or give the backbone."
        ) from error
    if "/" not in name and name not in NAMES:
        raise ValueError(unknown_name("preset of KerasCV", name, NAMES))
    try:
        return EfficientNetLiteBackbone.from_preset(name)
    except Exception as error:  # no network, an incomplete download, another backbone, ...
        raise ValueError(f"KerasCV cannot load the preset {name!r}: {error}") from error


def _refuse(name: str) -> None:
    raise ValueError(
        f"{name!r} is no EfficientNet-Lite of KerasCV, and its other backbones compute something "
        f"else than the families here: {', '.join(NAMES)} fit. Any backbone can be the trunk with "
        "its own weights: build_phl(..., trunk=backbone)."
    )


def _translate(
    source: keras.Model, names: LayerNames
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The source's weights under this package's names, and those names -> the source's."""
    arrays, original = {}, {}
    for key, variable in named_weights(source).items():
        layer, _, weight = key.partition("/")
        ours = f"{names.find(layer) or layer}/{weight}"
        arrays[ours] = np.array(keras.ops.convert_to_numpy(variable.value), "float32")
        original[ours] = key
    return arrays, original


def _convert_input(arrays: dict[str, np.ndarray]) -> None:
    """Converts the first layer: with z = (pixel - 127) / 128, pixel / 255 = (128 z + 127) / 255."""
    kernel = arrays["stem_conv/kernel"]
    arrays["stem_conv/kernel"] = kernel * np.float32(128 / 255)
    arrays["stem_conv_norm/moving_mean"] -= kernel.sum((0, 1, 2)) * np.float32(127 / 255)
