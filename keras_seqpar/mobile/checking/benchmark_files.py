"""The files of a benchmark: cutouts of every size, and the plain network of their family."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.costs.comparing import plain_twin
from keras_seqpar.costs.counting import cost
from keras_seqpar.mobile.checking.benchmark import Benchmark, File
from keras_seqpar.mobile.export.converting import convert
from keras_seqpar.mobile.format.files import check_options
from keras_seqpar.mobile.network import read_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.cutout import cutout
from keras_seqpar.surgery.unknowns import with_threshold

NOISE = 8  # random images to calibrate on


def make(
    model: keras.Model,
    folder: str | os.PathLike,
    *,
    quantization: str = "int8",
    sizes: Sequence[int] | None = None,
    order: Sequence[str] | None = None,
) -> Benchmark:
    """Converts cutouts and the plain network of the same family for timing.

    The plain network has random weights. Int8 and int16x8 are calibrated on noise: that changes
    neither time nor size, but the scores are useless. A threshold for none of these is left out.
    Needs Keras on TensorFlow.

    Args:
        model: a SeqPar network, trained or not.
        folder: where to write the files; made if it does not exist.
        quantization: as for `convert`.
        sizes: numbers of kept categories; by default 1 to all.
        order: labels or node ids: a cutout of `n` categories keeps the first `n`; by default all,
            in the order of the network.

    Returns:
        The files, nothing measured yet.

    Raises:
        TypeError: a model is no Keras model.
        ValueError: no SeqPar network, or one that `convert` refuses; a network saved before
            networks stored how they were built; an unknown quantization or category; a size that
            no cutout has.
        RuntimeError: Keras does not run on TensorFlow.
        OSError: writing failed.

    Example:

    >>> made = make(pets, "files", quantization="float32", sizes=[1])
    >>> [file.name for file in made.files]
    ['plain-float32.tflite', 'cutout-1-float32.tflite']
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
    plain = plain_twin(model, seed=0)
    model, digits = with_threshold(model, None), len(str(len(ids)))
    same = f"{model.name}_cutout"  # names are in the files, which shall not differ in size by them
    networks = {f"cutout-{k:0{digits}}": cutout(model, ids[:k], name=same) for k in sorted(sizes)}
    pixels = read_network(model).takes_pixels
    noise = np.random.default_rng(0).random((NOISE, *(n or 1 for n in model.inputs[0].shape[1:])))
    noise = (255 * noise).astype("uint8") if pixels else (2 * noise - 1).astype("float32")
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
