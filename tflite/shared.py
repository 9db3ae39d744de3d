"""What the commands in this folder share: flags, reading networks and the images they name."""

import sys
import types
from collections.abc import Sequence

import keras
import numpy as np
from absl import flags

import keras_seqpar as ks
from keras_seqpar import data, mobile
from keras_seqpar.networks.loading import load_model

SEED = 0  # of the choice among more images than are wanted


def comparison_flags() -> types.SimpleNamespace:
    """Defines the flags of commands that compare a file with its network on real images."""
    # Flags belong to the module that defines them, and a command's help shows its own and these.
    defined = types.SimpleNamespace(
        dataset=flags.DEFINE_string(
            "dataset",
            None,
            "Real images: digits, imagenette, folder:PATH, archive:PATH.",
            required=True,
        ),
        data_dir=flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps its data."),
        images=flags.DEFINE_integer(
            "images", 0, "Validation images to compare on; 0 for all.", lower_bound=0
        ),
        max_error=flags.DEFINE_float(
            "max_error", None, "Largest error allowed, relative to the output range."
        ),
        min_agreement=flags.DEFINE_float("min_agreement", None, "Least top-1 agreement, 0 to 1."),
        max_accuracy_drop=flags.DEFINE_float(
            "max_accuracy_drop",
            None,
            "How far the accuracy may lie below Keras's: 0.01 is one point.",
            lower_bound=0,
        ),
        threads=flags.DEFINE_integer(
            "threads", 1, "CPU threads of the interpreter.", lower_bound=1
        ),
    )
    flags.adopt_module_key_flags(sys.modules[__name__])
    return defined


def load_network(path: str, categories: Sequence[str]) -> keras.Model:
    """Loads a network and cuts `categories` out of it; all of them where none is named."""
    model = load_model(path)
    return ks.cutout(model, [c.strip() for c in categories]) if categories else model


def signatures(texts: Sequence[str]) -> dict[str, list[str] | None]:
    """Turns `name=category,category` or `name` into name -> categories, `None` for all."""
    found: dict[str, list[str] | None] = {}
    for text in texts:
        name, equals, categories = text.partition("=")
        if name in found:
            raise ValueError(f"--signature names {name!r} twice. Give every use its own name.")
        found[name] = [c.strip() for c in categories.split(",") if c.strip()] if equals else None
    return found


def load_dataset(spec: str, data_dir: str | None, model: keras.Model) -> data.Dataset:
    """Loads a data set at the size that the network takes."""
    height, width = model.inputs[0].shape[1:3]
    if height is None or height != width:
        raise ValueError(f"The network takes images of {height} x {width}; wanted is a square.")
    return data.load(spec, image_size=height, data_dir=data_dir)


def images_of(
    dataset: data.Dataset, split: str, model: keras.Model, most: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Images of the network's categories, as it takes them, and their output indices.

    Args:
        dataset: the data set.
        split: "train" or "validation".
        model: the network.
        most: how many to choose at random; 0 for all.

    Returns:
        `(n, height, width, 3)` images and `(n,)` indices.
    """
    labels = mobile.labels_of(model)
    if labels is None:
        raise ValueError(f"The model {model.name!r} is no network of this package: no labels.")
    if unknown := [label for label in labels if label not in dataset.categories]:
        raise ValueError(
            f"The network's categories {', '.join(unknown)} are not in the data set "
            f"{dataset.name!r}, which has {', '.join(dataset.categories)}."
        )
    output = np.full(len(dataset.categories), -1)
    output[[dataset.categories.index(label) for label in labels]] = range(len(labels))
    wanted = output[dataset.splits[split].labels]
    chosen = np.flatnonzero(wanted >= 0)
    if most and most < len(chosen):
        chosen = np.sort(np.random.default_rng(SEED).choice(chosen, most, replace=False))
    return mobile.from_pixels(model, dataset.splits[split].read(chosen)), wanted[chosen]
