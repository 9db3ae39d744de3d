"""Random small networks of all kinds of layers, and random sequences of frames."""

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers

from keras_seqpar.families.layers import GlobalResponseNorm, TopDownGain
from tests import harness

WINDOWS = ("conv", "depthwise", "separable", "max", "average")


def sizes(draw, shape, *, allow_dilation):
    """Random `(kernel, strides, dilation, padding)` that fit a map of this shape."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    strides = draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2)) if allow_dilation and strides == 1 else 1
    reach = [(k - 1) * dilation + 1 for k in kernel]
    fits = all(r <= n for r, n in zip(reach, shape, strict=True))
    return kernel, strides, dilation, draw(st.sampled_from(("same", "valid"))) if fits else "same"


def window(draw, kind, shape, channels, name=None):
    """A random convolution or pooling."""
    kernel, strides, dilation, padding = sizes(draw, shape, allow_dilation=kind in WINDOWS[:3])
    options = {"strides": strides, "padding": padding, "name": name}
    if kind == "max" or kind == "average":
        pool = [min(k, n) for k, n in zip(kernel, shape, strict=True)]
        # PyTorch pads pools by half their size at most.
        pool = [1 if n == 1 else k for k, n in zip(pool, shape, strict=True)]
        return {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}[kind](
            pool, **options
        )
    activation = draw(st.sampled_from((None, "relu")))
    options |= {"dilation_rate": dilation, "activation": activation}
    if kind == "conv":
        groups = draw(st.sampled_from([g for g in (1, 2) if channels % g == 0]))
        return layers.Conv2D(4, kernel, groups=groups, **options)
    if kind == "depthwise":
        return layers.DepthwiseConv2D(kernel, depth_multiplier=draw(st.integers(1, 2)), **options)
    return layers.SeparableConv2D(4, kernel, **options)


def other(draw, kind, shape, name=None):
    """A random layer of another kind with one input."""
    if kind == "pad":
        pads = [[draw(st.integers(0, 2)) for _ in range(2)] for _ in range(2)]
        return layers.ZeroPadding2D(pads, name=name)
    if kind == "crop":
        crops = [[draw(st.integers(0, (n - 1) // 2)) for _ in range(2)] for n in shape]
        return layers.Cropping2D(crops, name=name)
    if kind == "up":
        return layers.UpSampling2D(
            (draw(st.integers(1, 3)), 2),
            interpolation=draw(st.sampled_from(("nearest", "bilinear"))),
            name=name,
        )
    if kind == "transposed":
        return layers.Conv2DTranspose(
            3,
            (draw(st.integers(1, 5)), draw(st.integers(1, 4))),
            strides=(draw(st.integers(1, 3)), draw(st.integers(1, 2))),
            padding=draw(st.sampled_from(("same", "valid"))),
            activation=draw(st.sampled_from((None, "relu", "softmax"))),
            name=name,
        )
    return {
        "norm": lambda: layers.BatchNormalization(name=name),
        "layernorm": lambda: layers.LayerNormalization(name=name),
        "relu": lambda: layers.ReLU(name=name),
        "gelu": lambda: layers.Activation("gelu", name=name),
        "prelu": lambda: layers.PReLU(shared_axes=[1, 2], name=name),
        "gain": lambda: TopDownGain(1.5, name=name),
        "rescale": lambda: layers.Rescaling(0.5, 0.25, name=name),
        "dropout": lambda: layers.Dropout(0.5, name=name),
        "dense": lambda: layers.Dense(4, activation="relu", name=name),
        "silu": lambda: keras.ops.silu,
        "arithmetic": lambda: lambda x: 0.25 - 0.5 * x,
        "mean of channels": lambda: lambda x: x - keras.ops.mean(x, axis=-1, keepdims=True),
    }[kind]()


OTHERS = (
    *("pad", "crop", "up", "transposed", "norm", "layernorm", "relu", "gelu", "prelu", "gain"),
    *("rescale", "dropout", "dense", "silu", "arithmetic", "mean of channels"),
)
JOINS = {
    "add": layers.Add,
    "multiply": layers.Multiply,
    "concatenate": layers.Concatenate,
    "maximum": layers.Maximum,
    "average of two": layers.Average,
    "plus": lambda name: lambda two: two[0] + two[1],
    "gate": lambda name: lambda two: two[0] * keras.ops.sigmoid(two[1]),
}


def network(draw, barriers: bool = False) -> keras.Model:
    """A random network with branches; its outputs are maps and a vector.

    Args:
        draw: Hypothesis's.
        barriers: whether layers may occur that look at all positions.
    """
    size = draw(st.integers(5, 12)), draw(st.integers(5, 12))
    inputs = keras.Input((*size, 3), name="frame")
    maps = [inputs]
    kinds = [*WINDOWS, *WINDOWS[:3], *OTHERS, *JOINS]
    for i in range(draw(st.integers(3, 7))):
        x = draw(st.sampled_from(maps[-2:]))
        shape, channels = tuple(x.shape[1:3]), x.shape[3]
        kind = draw(st.sampled_from(kinds))
        if kind in JOINS:
            y = draw(st.sampled_from([m for m in maps if tuple(m.shape[1:3]) == shape]))
            if y.shape[3] != channels:
                y = layers.Conv2D(channels, 1, name=f"layer{i}_side")(y)
            x = JOINS[kind](name=f"layer{i}")([x, y])
        elif kind in WINDOWS:
            x = window(draw, kind, shape, channels, f"layer{i}")(x)
        elif max(shape) < 20 or kind not in ("up", "transposed"):
            x = other(draw, kind, shape, f"layer{i}")(x)
        maps.append(x)
    if barriers:
        x = layers.Conv2D(4, 3, padding="same", name="before")(x)
        if draw(st.booleans()):
            x = GlobalResponseNorm(name="barrier")(x)
        else:
            weights = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
            x = layers.Multiply(name="barrier")([x, layers.Dense(4, name="excite")(weights)])
        x = layers.Conv2D(4, 3, strides=2, padding="same", name="behind")(x)
        maps.append(layers.BatchNormalization(name="behind_norm")(x))
    vector = layers.Dense(2, name="vector")(layers.GlobalAveragePooling2D(name="pool")(maps[-1]))
    model = keras.Model(inputs, [maps[-1], vector, *maps[-2:-1]], name="random_net")
    harness.randomize(model, draw(st.integers(0, 100)))
    return model


@st.composite
def changes(draw, shape) -> np.ndarray:
    """A random map of what changes in a frame of this shape: lone pixels, boxes, scatter."""
    height, width = shape
    kind = draw(st.sampled_from(("corner", "border", "pixel", "box", "scatter", "all", "none")))
    changed = np.zeros(shape, bool)
    y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    if kind == "corner":
        changed[draw(st.sampled_from((0, -1))), draw(st.sampled_from((0, -1)))] = True
    elif kind == "border" and draw(st.booleans()):
        changed[draw(st.sampled_from((0, -1))), x] = True
    elif kind == "border":
        changed[y, draw(st.sampled_from((0, -1)))] = True
    elif kind == "pixel":
        changed[y, x] = True
    elif kind == "box":
        changed[y : y + draw(st.integers(1, 4)), x : x + draw(st.integers(1, 4))] = True
    elif kind == "scatter":
        seed = draw(st.integers(0, 1000))
        changed = np.random.default_rng(seed).random(shape) < 0.15
    elif kind == "all":
        changed[:] = True
    return changed


def lone_pixels(shape) -> list[np.ndarray]:
    """One map per corner and per middle of a border, each with that one pixel."""
    height, width = shape
    pixels = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    pixels += [(0, width // 2), (-1, width // 2), (height // 2, 0), (height // 2, -1)]
    found = []
    for place in pixels:
        changed = np.zeros(shape, bool)
        changed[place] = True
        found.append(changed)
    return found


def next_frame(frame: np.ndarray, changed: np.ndarray, seed: int = 0) -> np.ndarray:
    """A frame with other values where `changed` is true."""
    new = np.random.default_rng(1000 + seed).normal(size=frame.shape).astype(frame.dtype)
    return np.where(changed[..., None], new, frame)
