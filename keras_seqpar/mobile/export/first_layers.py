"""The first layers of a network, rewritten so that phones compute them faster; for conversion only.

XNNPACK computes along the last axis, which has only three values in an image.
"""

import keras
import numpy as np
from keras import layers, ops

from keras_seqpar.networks.graph import build_model, functional, one_at_a_time, replay

_FEW = 4  # channels of an image; with more of them, XNNPACK's vectors are full enough


@one_at_a_time
def rewrite_first_layers(model: keras.Model, size: tuple[int, int]) -> keras.Model:
    """Returns the network with its first layers rewritten; what they compute is the same.

    Pixels are normalized row by row instead of pixel by pixel. A first convolution with a stride
    of two columns reads each pair of columns as one column with twice the channels, which needs no
    copy in memory, with a stride of one; likewise with larger strides.

    Args:
        model: any network.
        size: `(height, width)` of its images.

    Returns:
        A network that shares all other layers; the network itself if it is not functional.
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
    unused = [made for made, *_ in padded.values()]
    return build_model(inputs if others else inputs[0], outputs, name=model.name, unused=unused)


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
        Its output; `None` for a convolution to which this does not apply.
    """
    _, height, width, channels = images.shape
    (top, bottom), (left, right) = padding
    stride, kernel_width = layer.strides[1], layer.kernel_size[1]
    if (
        stride == 1
        or channels > _FEW
        or width % stride
        or (layer.padding, layer.groups, tuple(layer.dilation_rate)) != ("valid", 1, (1, 1))
        or layer.data_format != "channels_last"
    ):
        return None
    # All that follows counts groups of `stride` columns, apart from `missing`.
    before = -(-left // stride)  # padding on the left
    missing = before * stride - left  # columns by which the kernel begins too late
    folded_width = -(-(missing + kernel_width) // stride)  # of the kernel
    outputs = (left + width + right - kernel_width) // stride + 1
    after = outputs - 1 + folded_width - width // stride - before  # padding on the right
    if after < 0:
        return None
    kernel = ops.convert_to_numpy(layer.kernel)
    behind = folded_width * stride - missing - kernel_width
    kernel = np.pad(kernel, ((0, 0), (missing, behind), (0, 0), (0, 0)))
    kernel = kernel.reshape(kernel.shape[0], folded_width, stride * channels, -1)
    x = ops.reshape(images, (-1, height, width // stride, stride * channels))
    if top or bottom or before or after:
        x = layers.ZeroPadding2D(((top, bottom), (before, after)), data_format="channels_last")(x)
    return _convolved(layer, kernel, x)


def _convolved(layer: layers.Conv2D, kernel: np.ndarray, x):
    """The output of a convolution with another kernel, which moves on by one column."""
    convolution = layers.Conv2D(
        layer.filters,
        kernel.shape[:2],
        strides=(layer.strides[0], 1),
        activation=layer.activation,
        use_bias=layer.use_bias,
        data_format="channels_last",
        dtype="float32",
    )
    y = convolution(x)
    bias = [ops.convert_to_numpy(layer.bias)] if layer.use_bias else []
    convolution.set_weights([kernel, *bias])
    return y
