"""The files of a benchmark: cutouts of every size, and the plain network of their family."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.costs.counting import cost
from keras_seqpar.mobile.checking.benchmark import Benchmark, File
from keras_seqpar.mobile.export.converting import convert
from keras_seqpar.mobile.format.files import check_options
from keras_seqpar.mobile.network import read_network
from keras_seqpar.networks.builders import build_plain
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.cutout import cutout
from keras_seqpar.surgery.unknowns import with_threshold
from keras_seqpar.weights import named_weights

NOISE = 8  # images of it to calibrate on


def plain_network(
    model: keras.Model, family: str, *, width: float = 1.0, stem: str = "standard"
) -> keras.Model:
    """Builds the plain network that a network is measured beside; its weights are random.

    Args:
        model: a SeqPar network.
        family: the family that it was built with.
        width: likewise.
        stem: likewise.

    Returns:
        A plain network for the same images and categories.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: no SeqPar network, or its trunk is of another family, width or stem.

    Example:

    >>> plain = plain_network(load_preset("imagenette_small"), "resnet18", width=0.5)
    """
    parts = find_parts(model)
    plain = build_plain(
        parts.hierarchy.categories,
        family=family,
        input_shape=tuple(model.inputs[0].shape[1:]),
        width=width,
        stem=stem,
        include_preprocessing=bool(read_network(model).takes_pixels),
        seed=0,
    )
    wanted = {name: tuple(weight.shape) for name, weight in named_weights(plain).items()}
    trunk = {name: tuple(weight.shape) for name, weight in named_weights(parts.trunk).items()}
    common = [name for name in trunk if name in wanted]
    differing = [name for name in common if trunk[name] != wanted[name]]
    if differing or not common:
        what = "no layer in common"
        if differing:
            first = differing[0]
            what = f"{first} has the shape {trunk[first]}, there it has {wanted[first]}"
        raise ValueError(
            f"The network {model.name!r} is no {family} of width {width:g} with the stem {stem!r}: "
            f"{what}. Give the family, the width and the stem that it was built with."
        )
    return plain


def make(
    model: keras.Model,
    plain: keras.Model,
    folder: str | os.PathLike,
    *,
    quantization: str = "int8",
    sizes: Sequence[int] | None = None,
    order: Sequence[str] | None = None,
) -> Benchmark:
    """Converts cutouts and the plain network for timing; the folder keeps the files.

    Int8 and int16x8 are calibrated on noise: that changes neither time nor size, but their scores
    are of no use. A threshold for none of these is left out. Needs Keras on TensorFlow.

    Args:
        model: a SeqPar network, trained or not.
        plain: the plain network of its family, from `plain_network`.
        folder: where to write; made if need be.
        quantization: as for `convert`.
        sizes: numbers of kept categories; by default 1 to all.
        order: labels or node ids: a cutout keeps the first so many; by default all, as the network
            orders them.

    Returns:
        The files, nothing measured yet.

    Raises:
        TypeError: a model is no Keras model.
        ValueError: no SeqPar network, or one that `convert` refuses; an unknown quantization or
            category; a size that there is no cutout of.
        RuntimeError: Keras does not run on TensorFlow.
        OSError: writing failed.

    Example:

    >>> files = make(model, plain_network(model, "resnet18", width=0.5), "out", sizes=[1, 5, 10])
    >>> print(measure(files, "out"))
    """
    check_options(quantization, "float32", "float32")
    hierarchy = find_parts(model).hierarchy
    ids = hierarchy.select(hierarchy.categories if order is None else order)
    sizes = list(range(1, len(ids) + 1)) if sizes is None else list(dict.fromkeys(sizes))
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= len(ids):
            raise ValueError(
                f"There is no cutout of {size!r} categories: sizes are whole numbers from 1 to "
                f"{len(ids)}, the number of categories in the order."
            )
    model, digits = with_threshold(model, None), len(str(len(ids)))
    networks = {f"cutout-{k:0{digits}}": cutout(model, ids[:k]) for k in sorted(sizes)}
    pixels = read_network(model).takes_pixels
    noise = np.random.default_rng(0).random((NOISE, *(n or 1 for n in model.inputs[0].shape[1:])))
    noise = (255 * noise).astype("uint8") if pixels else noise.astype("float32")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, network in {"plain": plain, **networks}.items():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Calibration on", UserWarning)  # on so few images
            made = convert(
                network,
                folder / f"{name}-{quantization}.tflite",
                quantization=quantization,
                calibration=noise if quantization in ("int8", "int16x8") else None,
                input_dtype="uint8" if quantization == "int8" and pixels else "float32",
                labels=False,
                description="For timing only: its scores are of no use.",
            )
        count = network.output_shape[-1]
        files.append(File(made.path.name, count, network is plain, cost(network).macs, made.bytes))
    return Benchmark(model.name, quantization, tuple(files))
