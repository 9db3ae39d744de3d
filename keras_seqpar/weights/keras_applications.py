"""Weights of keras.applications: ResNet-50, -101 and -152.

Their arithmetic differs from timm's in four points:

- The stride of a block is in its first 1x1 convolution, not in the 3x3. No weights can make up
  for that, so these weights fit only the families `resnet50_v1`, `resnet101_v1` and
  `resnet152_v1`. (With random weights at 64 pixels, the logits of `resnet50` are off by 38 %.)
- Convolutions have biases before the normalizations. Each bias is subtracted from the moving
  mean that follows, which gives the same function.
- Epsilon is 1.001e-5 instead of 1e-5. The difference is added to the moving variances, which
  gives the same function.
- The input is BGR in 0..255 minus the mean color, and is not divided by a deviation. The first
  kernel is permuted and scaled, and the difference of the means (half a gray level at most) goes
  into the first moving mean. This gives the same function except for the outermost pixels of the
  features, where padding with zeros stands for another color (logits off by 0.014 %, same
  setting).
"""

import keras
import numpy as np

from keras_seqpar.families.base import IMAGENET_MEAN, IMAGENET_STD, LayerNames
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.plans import FAMILIES
from keras_seqpar.utils.names import unknown_name
from keras_seqpar.weights.copies import named_weights
from keras_seqpar.weights.filling import fill, find_target
from keras_seqpar.weights.reports import Filled

NAMES = tuple(
    family.keras_applications.network for family in FAMILIES.values() if family.keras_applications
)
# What keras.applications.resnet.preprocess_input subtracts, in the order red, green, blue.
_MEAN_COLOR = (123.68, 116.779, 103.939)
_EPSILON = 1e-5  # of the families here


def from_keras_applications(
    model: keras.Model,
    source,
    *,
    classifier: bool = True,
    convert_input: bool = True,
    partial: bool = False,
) -> Filled:
    """Fills a plain network, or the trunk of a SeqPar network, with a ResNet of Keras.

    For the families `resnet50_v1`, `resnet101_v1` and `resnet152_v1`. Weights are matched by
    name, as in `from_timm`: all are filled or none. The result computes the same function as the
    source; the module's docstring lists how the weights are converted.

    Args:
        model: a network of this package, or its sub-model `trunk` alone.
        source: a `keras.applications.ResNet50`, `ResNet101` or `ResNet152`, fine-tuned or not,
            or one of these names, whose ImageNet weights Keras downloads.
        classifier: whether the layer `logits` of a plain network is filled; `False` for
            other categories than the source's.
        convert_input: convert the first layer to ImageNet-normalized input, which all networks
            of this package take. `False` keeps the source's input: BGR in 0..255 minus the mean
            color.
        partial: fill every layer that fits and leave the others as they are.

    Returns:
        What was filled, what was left, and what of the source was not needed.

    Raises:
        TypeError: `model` is no Keras model, or `source` neither a model nor a name.
        ValueError: the source does not fit (the message lists the weights that are missing, too
            many or of another shape), is another network, or cannot be downloaded.

    Example:

    >>> own = build_phl(["cat", "dog"], family="resnet50_v1")
    >>> resnet = keras.applications.ResNet50(weights=None)  # or "ResNet50", which downloads weights
    >>> print(from_keras_applications(own, resnet))
    Filled 215 weights from keras.applications:resnet50. ...
    """
    target = find_target(model)
    names = target.names("keras_applications")
    if isinstance(source, str):
        source = _download(source, with_classifier=target.plain and classifier)
    if not isinstance(source, keras.Model):
        raise TypeError(
            f"source must be a keras.Model or one of {', '.join(NAMES)}, got {source!r:.60}."
        )
    _refuse_others(source)
    arrays, original = _translate(source, names)
    if convert_input:
        _convert_input(arrays, source)
    name = f"keras.applications:{source.name}"
    return fill(target, arrays, name, classifier=classifier, original=original, partial=partial)


def _download(name: str, *, with_classifier: bool) -> keras.Model:
    _refuse_family(name)
    if name not in NAMES:
        raise ValueError(unknown_name("network of keras.applications", name, NAMES))
    try:
        return getattr(keras.applications, name)(include_top=with_classifier)
    except Exception as error:  # no network, an incomplete download, a wrong checksum, ...
        raise ValueError(f"Keras cannot load the ImageNet weights of {name}: {error}") from error


def _refuse_others(source: keras.Model) -> None:
    layers = {layer.name for layer in leaf_layers(source)}
    if {"conv1_conv", "conv1_bn", "conv2_block1_1_conv"} <= layers:
        return
    _refuse_family(source.name)
    raise ValueError(
        f"The model {source.name!r} is no ResNet of keras.applications: {', '.join(NAMES)} fit."
    )


def _refuse_family(name: str) -> None:
    lower = name.lower()
    if "convnext" in lower:
        raise ValueError(
            f"{name!r} is a ConvNeXt of the first version: it scales layers instead of "
            "normalizing global responses, so its weights fit no ConvNeXt V2. Use from_timm."
        )
    if "resnet" in lower and "v2" in lower:
        raise ValueError(
            f"{name!r} is a ResNet V2: it normalizes in front of the convolutions, so its "
            f"weights fit no ResNet here. Use {', '.join(NAMES)}."
        )


def _translate(
    source: keras.Model, names: LayerNames
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The source's weights under this package's names, and those names -> the source's."""
    arrays, original = {}, {}
    values = {
        key: np.array(keras.ops.convert_to_numpy(variable.value), "float32")
        for key, variable in named_weights(source).items()
    }
    epsilons = {x.name: x.epsilon for x in leaf_layers(source) if hasattr(x, "epsilon")}
    for key, value in values.items():
        layer, weight = key.split("/")
        if layer.endswith("_conv") and weight == "bias":
            continue  # goes into the moving mean
        if weight == "moving_mean":
            value = value - values[f"{layer.removesuffix('_bn')}_conv/bias"]
        if weight == "moving_variance":
            value = value + np.float32(epsilons[layer] - _EPSILON)
        ours = f"{names.find(layer) or layer}/{weight}"
        arrays[ours], original[ours] = value, key
    return arrays, original


def _convert_input(arrays: dict[str, np.ndarray], source: keras.Model) -> None:
    """Converts the first layer to the input that networks of this package take."""
    kernel = arrays["stem_conv/kernel"]
    if kernel.shape[2] != 3:
        raise ValueError(
            f"{source.name!r} takes {kernel.shape[2]} channels; only the input of color "
            "images can be converted. Give convert_input=False."
        )
    kernel = kernel[:, :, ::-1]  # blue, green, red -> red, green, blue
    # A normalized value z is 255 (z deviation + mean) - mean color in the source's input.
    scale = 255 * np.array(IMAGENET_STD)
    offset = 255 * np.array(IMAGENET_MEAN) - np.array(_MEAN_COLOR)
    bias = np.einsum("hwio,i->o", kernel, offset)
    arrays["stem_conv/kernel"] = (kernel * scale[:, None]).astype("float32")
    arrays["stem_conv_norm/moving_mean"] -= bias.astype("float32")
