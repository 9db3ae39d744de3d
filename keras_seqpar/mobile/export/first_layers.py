"""Networks with their images laid out as phones compute quickest; only for conversion.

XNNPACK works in runs along the last axis, and of an image that has three values.
"""

import keras
import numpy as np
from keras import layers, ops

from keras_seqpar.networks.graph import functional, replay

_FEW = 4  # channels of an image; where there are more, a convolution's lanes are full enough


def rewrite_first_layers(model: keras.Model, size: tuple[int, int]) -> keras.Model:
    """Returns the network with its first layers rewritten; what they compute is the same.

    Pixels are normalized row by row instead of pixel by pixel. A first convolution that moves on
    by two columns reads pairs of columns as one with twice the channels, which is how they lie in
    memory, and moves on by one; likewise with larger strides.

    Args:
        model: any network.
        size: `(height, width)` of its images.

    Returns:
        A network that shares all other layers; the one given if it is not functional.
    """
    graph = functional(model)
    if graph is None:
        return model
    padded: dict[int, tuple] = {}  # id of a padded tensor -> it, what was padded, the padding

    def call(layer, *args, **kwargs):
        if len(args) == 1 and all(x is None for x in kwargs.values()):
            if (nested := functional(layer)) is not None:
                return replay(nested, args[0], call)
        if isinstance(layer, layers.Rescaling) and np.size(layer.scale) > 1:
            return _rescaled(layer, args[0])
        if type(layer) is layers.Conv2D:
            _, source, padding = padded.get(id(args[0]), (None, args[0], ((0, 0), (0, 0))))
            folded = _folded(layer, source, padding)
            if folded is not None:
                return folded
        made = layer(*args, **kwargs)
        if type(layer) is layers.ZeroPadding2D:
            padded[id(made)] = made, args[0], layer.padding
        return made

    image, *others = model.inputs
    inputs = [keras.Input((*size, image.shape[-1]), dtype=image.dtype, name=image.name)]
    inputs += [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in others]
    outputs = replay(graph, inputs if others else inputs[0], call)
    return keras.Model(inputs if others else inputs[0], outputs, name=model.name)


def _rescaled(layer: layers.Rescaling, images):
    """`Rescaling` of whole rows."""
    _, height, width, channels = images.shape
    scale, offset = (
        np.resize(np.ravel(x).astype("float32"), width * channels)
        for x in (layer.scale, layer.offset)
    )
    rows = ops.reshape(images, (-1, height, width * channels)) * scale + offset
    return ops.reshape(rows, (-1, height, width, channels))


def _folded(layer: layers.Conv2D, images, padding):
    """A convolution with its column stride folded into the channels.

    Args:
        layer: the convolution.
        images: what it reads, before padding.
        padding: `((top, bottom), (left, right))`.

    Returns:
        Its output; `None` where it is no such convolution.
    """
    _, height, width, channels = images.shape
    (top, bottom), (left, right) = padding
    stride, taps = layer.strides[1], layer.kernel_size[1]
    if (
        stride == 1
        or channels > _FEW
        or width % stride
        or (layer.padding, layer.groups, tuple(layer.dilation_rate)) != ("valid", 1, (1, 1))
        or layer.data_format != "channels_last"
    ):
        return None
    before = -(-left // stride)  # columns of border, folded
    lead = before * stride - left  # columns that the kernel gets on its left
    wide = -(-(lead + taps) // stride)
    count = (left + width + right - taps) // stride + 1
    after = count - 1 + wide - width // stride - before
    if after < 0:
        return None
    kernel = ops.convert_to_numpy(layer.kernel)
    kernel = np.pad(kernel, ((0, 0), (lead, wide * stride - lead - taps), (0, 0), (0, 0)))
    kernel = kernel.reshape(kernel.shape[0], wide, stride * channels, -1)
    x = ops.reshape(images, (-1, height, width // stride, stride * channels))
    if top or bottom or before or after:
        x = layers.ZeroPadding2D(((top, bottom), (before, after)), data_format="channels_last")(x)
    convolution = layers.Conv2D(
        layer.filters,
        kernel.shape[:2],
        strides=(layer.strides[0], 1),
        activation=layer.activation,
        use_bias=layer.use_bias,
        data_format="channels_last",
        dtype="float32",
    )
    made = convolution(x)
    bias = [ops.convert_to_numpy(layer.bias)] if layer.use_bias else []
    convolution.set_weights([kernel, *bias])
    return made
