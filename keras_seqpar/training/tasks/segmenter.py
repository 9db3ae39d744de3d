"""A small network that gives every pixel of a street scene a class: building, filling, scoring."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_seqpar.data import camvid
from keras_seqpar.families.base import IMAGENET_MEAN, IMAGENET_STD, Initializers, Stage
from keras_seqpar.families.resnet import FAMILIES
from keras_seqpar.networks.loading import load_model
from keras_seqpar.presets.loading import load_preset
from keras_seqpar.utils.progress import batches

FAMILY = "resnet18"


def build_segmenter(
    classes: int, *, stages: int = 3, width: float = 0.5, channels: int = 64, seed: int = 0
) -> keras.Model:
    """Builds a network from frames of any size, `(height, width, 5)`, to scores per pixel.

    The frame is enlarged by 2, so that the stem, which halves twice, ends at half of the frame's
    resolution; the second stage does not halve it again. The decoder adds the features of the stem
    and of each stage, enlarged to the same resolution. So every convolution has a small receptive
    field and many positions to compute, which is where streams save most.

    Args:
        classes: number of classes.
        stages: of the trunk, 2 or 3.
        width: multiplies the trunk's channels.
        channels: of the decoder.
        seed: of the initial weights.

    Returns:
        A network for frames of colors and positions, 0 to 255 (`camvid.with_positions`).
    """
    family, init = FAMILIES[FAMILY], Initializers(seed)
    frame = keras.Input((None, None, 5), name="frame")
    std, mean = (*IMAGENET_STD, 0.5, 0.5), (*IMAGENET_MEAN, 0.5, 0.5)
    scale = [[[1 / (255 * s) for s in std]]]
    offset = [-m / s for m, s in zip(mean, std, strict=True)]
    x = layers.Rescaling(scale, offset, name="normalize")(frame)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="enlarge")(x)
    x = family.stem(x, "standard", width, init)
    maps = [keras.Model(frame, x).get_layer("stem_conv_relu").output]  # before the pooling
    for i, stage in enumerate(family.stages[:stages], start=1):
        stage = dataclasses.replace(stage.scaled(width), stride=1 if i < 3 else 2)
        x = family.stage(x, stage, f"stage{i}", init)
        maps.append(x)
    sides = [layers.Conv2D(channels, 1, name=f"lateral{i}")(x) for i, x in enumerate(maps)]
    y = sides.pop()
    for i, side in reversed(list(enumerate(sides))):
        if i != 1:  # the first two stages have the same resolution
            y = layers.UpSampling2D(2, interpolation="bilinear", name=f"enlarge{i}")(y)
        y = layers.Add(name=f"add{i}")([y, side])
    y = layers.ReLU(name="decoder_relu")(layers.BatchNormalization(name="decoder_norm")(y))
    y = family.stage(y, Stage(channels, 1), "decoder", init)
    y = layers.Conv2D(classes, 1, name="scores")(y)
    return keras.Model(frame, y, name="segmenter")


def fill_trunk(network: keras.Model, source: str) -> int:
    """Fills the trunk with a preset's weights; returns the number of filled layers.

    Args:
        network: from `build_segmenter`.
        source: `"preset:NAME"`, or `"none"`.

    Raises:
        ValueError: another kind of source, or a preset of another family or width.
    """
    if source == "none":
        return 0
    kind, _, name = source.partition(":")
    if kind != "preset":
        raise ValueError(f"--init must be preset:NAME or none, got {source!r}.")
    trunk = load_preset(name).get_layer("trunk")
    done = 0
    for layer in network.layers:
        twin = next((x for x in trunk.layers if x.name == layer.name and x.weights), None)
        if twin is None or not layer.weights:
            continue
        arrays = twin.get_weights()
        if layer.name == "stem_conv":  # zeros for the positions, which the preset does not have
            extra = layer.kernel.shape[2] - arrays[0].shape[2]
            arrays[0] = np.pad(arrays[0], ((0, 0), (0, 0), (0, extra), (0, 0)))
        if [a.shape for a in arrays] != [tuple(w.shape) for w in layer.weights]:
            raise ValueError(
                f"The preset {name!r} does not fit: its layer {layer.name!r} has other shapes. "
                "Give --width the preset's width, or --init none."
            )
        layer.set_weights(arrays)
        done += 1
    return done


def load_segmenter(path: str, classes: int) -> keras.Model:
    """Loads a network that recipes/segment.py has written.

    Args:
        path: the `.keras` file.
        classes: number of classes it must have.

    Raises:
        ValueError: no readable file, or another network.
    """
    network = load_model(path)
    expected = (None, None, None, 5), (None, None, None, classes)
    if (network.input_shape, network.output_shape) != expected:
        raise ValueError(
            f"{path} maps {network.input_shape} to {network.output_shape}, not {expected[0]} to "
            f"{expected[1]}. Give a file that recipes/segment.py wrote."
        )
    return network


def classes_of(network: keras.Model, images: np.ndarray, batch_size: int = 8) -> np.ndarray:
    """The class of every pixel.

    Args:
        network: from `build_segmenter`.
        images: `(count, height, width, 3)` uint8.
        batch_size: images per step.

    Returns:
        `(count, height, width)` uint8.
    """
    found = []
    for rows in batches(len(images), batch_size, "Predicting"):
        frames = camvid.with_positions(images[rows]).astype("float32")
        found.append(network.predict_on_batch(frames).argmax(-1))
    return np.concatenate(found).astype("uint8")


def score(network: keras.Model, scenes: camvid.Scenes, split: str = "test") -> dict[str, Any]:
    """Scores a network on a split.

    Returns:
        `images`, `pixel_accuracy`, `miou` and `iou` by class; shares of 1.
    """
    images, classes = scenes.splits[split], scenes.categories
    matrix = camvid.confusion(images.labels, classes_of(network, images.images), len(classes))
    found = camvid.ious(matrix)
    return {
        "split": split,
        "images": len(images),
        "pixel_accuracy": float(np.trace(matrix) / matrix.sum()),
        "miou": float(np.nanmean(found)),
        "iou": {name: float(x) for name, x in zip(classes, found, strict=True)},
    }


def score_table(found: Mapping[str, Any]) -> str:
    """A text table of the result of `score`."""
    lines = [f"{name:<14} {100 * x:6.2f} %" for name, x in found["iou"].items()]
    lines.append(f"{'mean IoU':<14} {100 * found['miou']:6.2f} % on {found['images']} images")
    lines.append(f"{'pixel accuracy':<14} {100 * found['pixel_accuracy']:6.2f} %")
    return "\n".join(lines)
