"""The features of each category's branch on one image."""

import keras
import numpy as np
from keras import ops

from keras_seqpar.families.layers import TopDownGain
from keras_seqpar.networks.graph import replay
from keras_seqpar.networks.inputs import from_pixels
from keras_seqpar.networks.parts import Parts, find_parts
from keras_seqpar.plots import drawing

MOST_MAPS, COLUMNS = 20, 6
LAYERS = ("gain", "last")


def feature_maps(
    model: keras.Model, image, path=None, *, at: str = "gain", title: str | None = None
):
    """Draws the mean absolute features of each category's branch over the image.

    Figure 5 of arXiv 2308.05128 shows such maps. All have one scale, so that strengths can be
    compared. To select categories, give a cutout; of more than 20 categories, the 20 with the
    highest scores are shown.

    Args:
        model: a SeqPar network.
        image: `(height, width, channels)` uint8, pixels of 0 to 255, of the size that the
            network takes; they are normalized here if the network needs it.
        path: file to save the figure to (.png, .svg or .pdf); `None` for none.
        at: `"gain"` for the features after the branch's gain, `"last"` for those before its
            global pooling.
        title: text above the figure.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        TypeError: `model` is no Keras model, or the image no array of uint8.
        ValueError: no SeqPar network, an image of another size, an unknown layer, or a kind
            of file that matplotlib does not know.
        ImportError: matplotlib is not installed.

    Example:

    >>> figure = feature_maps(pets, images[0], "maps.png")
    """
    parts = find_parts(model)
    if at not in LAYERS:
        raise ValueError(f"Unknown layer {at!r}. Valid: {', '.join(LAYERS)}.")
    image = _check(model, image)
    scores, maps = _look(model, parts, from_pixels(model, image[None]), at)
    labels = parts.hierarchy.categories
    shown = range(len(labels))
    if len(labels) > MOST_MAPS:
        shown = np.argsort(-scores)[:MOST_MAPS].tolist()
    panels = len(shown) + 1
    columns = min(COLUMNS, panels)
    rows = -(-panels // columns)
    figure = drawing.new_figure(1.9 * columns + 1, 2.2 * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    height, width = image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    brightest = max(float(maps[i].max()) for i in shown) or 1.0
    gray = image.mean(-1)
    for panel in axes:
        panel.set_axis_off()
    axes[0].imshow(image if image.shape[-1] == 3 else gray, cmap="gray", vmin=0, vmax=255)
    axes[0].set_title("image", fontsize=9)
    for panel, i in zip(axes[1:], shown, strict=False):
        panel.imshow(gray, cmap="gray", vmin=0, vmax=255)
        overlay = panel.imshow(
            maps[i],
            cmap="viridis",
            vmin=0,
            vmax=brightest,
            alpha=0.65,
            extent=extent,
            interpolation="bilinear",
        )
        panel.set_title(f"{labels[i]}\n{scores[i]:.3g}", fontsize=9, parse_math=False)
    figure.colorbar(overlay, ax=list(axes), label="mean absolute feature", shrink=0.8)
    return drawing.finish(figure, path, title)


def _look(model: keras.Model, parts: Parts, inputs: np.ndarray, at: str):
    """Runs a network; returns its scores and each category's map, `(height, width)`."""
    found = {}
    owner = {f"branch_{id_}": id_ for id_ in parts.branches}

    def call(layer, *args, **kwargs):
        id_ = owner.get(layer.name)
        if id_ is None:
            return layer(*args, **kwargs)

        def inside(layer, *args, **kwargs):
            y = layer(*args, **kwargs)
            if len(y.shape) == 4 and (at == "last" or isinstance(layer, TopDownGain)):
                found[id_] = y
            return y

        return replay(layer, args[0], inside)

    given = [ops.convert_to_tensor(inputs, dtype=model.inputs[0].dtype)]
    if len(model.inputs) > 1:  # a gains input, left neutral
        given.append(ops.ones((1, len(owner))))
    outputs = replay(model, given, call)
    scores = ops.convert_to_numpy(outputs)[0]
    maps = [
        np.abs(ops.convert_to_numpy(ops.cast(found[id_], "float32"))[0]).mean(-1)
        for id_ in parts.hierarchy.category_ids
    ]
    return scores, maps


def _check(model: keras.Model, image) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise TypeError(
            f"The image must hold pixels of 0 to 255 as uint8, got {image.dtype}. "
            "Normalization is done here."
        )
    wanted = model.inputs[0].shape[1:]
    if image.ndim != 3 or any(
        want not in (None, have) for want, have in zip(wanted, image.shape, strict=True)
    ):
        hint = " Give one image: images[0]." if image.ndim == 4 else ""
        shape = ", ".join("any" if side is None else str(side) for side in wanted)
        raise ValueError(f"The image must have the shape ({shape}), got {image.shape}.{hint}")
    return image
