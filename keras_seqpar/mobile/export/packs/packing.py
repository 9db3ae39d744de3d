"""Keras network -> a new branch pack.

An app keeps the trunk and downloads, adds and removes categories. `runtime/manifest.py` describes
packs, `runtime/pack_runner.py` runs them.
"""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_seqpar.mobile.export.converter import calibration_samples, no_samples
from keras_seqpar.mobile.export.packs.branches import BranchSource, make_branches
from keras_seqpar.mobile.export.packs.part_files import (
    LoadedPart,
    convert_part,
    packable_parts,
    write_part,
)
from keras_seqpar.mobile.export.specification import image_shape, images_to_calibrate
from keras_seqpar.mobile.format.files import check_options
from keras_seqpar.mobile.format.pack_files import write_manifest
from keras_seqpar.mobile.network import NetworkFacts, read_network
from keras_seqpar.mobile.runtime.manifest import TRUNK, Manifest
from keras_seqpar.networks.parts import Parts
from keras_seqpar.utils.files import is_taken, new_folder
from keras_seqpar.utils.names import unknown_name

PACK_QUANTIZATIONS = ("int8", "float32")
"""The kinds of files that a branch pack can have.

Example:

>>> PACK_QUANTIZATIONS
('int8', 'float32')
"""


def pack(
    model: keras.Model,
    folder: str | os.PathLike,
    *,
    quantization: str = "int8",
    calibration: np.ndarray | None = None,
    input_dtype: str = "float32",
    image_size: tuple[int, int] | None = None,
) -> Manifest:
    """Writes a network as a branch pack: a trunk, a branch per node, and `manifest.json`.

    Names of files contain their hash, `branch_cat.0123456789ab.tflite`. So a copy of a pack is
    updated by copying the new files and then `manifest.json`, whose renaming makes them valid.

    The trunk's input is called `image` and its output `features`; a branch takes `features` and
    gives `logit`, float32 `(1, 1)`, or, a superclass's, `features`. The batch is 1. A stored
    threshold (`with_threshold`) is written into the manifest. A network in mixed precision is
    converted in float32.

    Needs Keras on the TensorFlow backend. A `.keras` file saved on any backend loads there.

    Args:
        model: a SeqPar network, for example a cutout.
        folder: where to write; it must not exist yet, or be empty.
        quantization: `"int8"`, weights (per channel) and activations in int8; or `"float32"`.
        calibration: for int8, real images `(n, height, width, channels)` as the network takes
            them, uint8 or floats; 100 to 500 are enough.
        input_dtype: for int8, `"uint8"` or `"int8"` make the trunk take integers: for a network
            that takes pixels, uint8 are the pixels.
        image_size: `(height, width)`, for a network that takes images of any size.

    Returns:
        The manifest.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: no SeqPar network, or one with a gains input or an activation that the runner
            does not know; an unknown quantization or dtype; calibration that is missing or does
            not fit; a folder that cannot be written; a branch that the converter did not quantize
            like the trunk.
        RuntimeError: Keras does not run on TensorFlow.
        OSError: writing failed. No folder is left behind.

    Example:

    >>> manifest = pack(cutout(model, ["cat"]), "cat.pack", calibration=images, input_dtype="uint8")
    >>> manifest.quantization, list(manifest.branches)
    ('int8', ['cat'])
    """
    network = read_network(model)  # TypeError
    if quantization not in PACK_QUANTIZATIONS:
        raise ValueError(unknown_name("quantization of packs", quantization, PACK_QUANTIZATIONS))
    check_options(quantization, input_dtype, "float32")
    parts = packable_parts(network)
    folder = _check_folder(folder)
    size = image_shape(network, image_size)
    calibration = images_to_calibrate(network, calibration, quantization, size)
    known = network.normalization
    mean, std = map(tuple, known) if known else (None, None)
    with new_folder(folder) as work:
        trunk = _make_trunk(
            network, parts, (1, *size), quantization, calibration, input_dtype, work
        )
        source = BranchSource(parts, quantization, trunk, calibration, work, {}, work)
        manifest = Manifest(
            network=network.name,
            quantization=quantization,
            classifier_activation=parts.classifier_activation,
            hierarchy=parts.hierarchy,
            mean=mean,
            std=std,
            threshold=parts.threshold,
            trunk=trunk.part,
            branches=make_branches(source, parts.hierarchy),
        )
        write_manifest(work, manifest)
    return manifest


def _make_trunk(
    network: NetworkFacts,
    parts: Parts,
    shape: tuple[int, ...],
    quantization: str,
    calibration: np.ndarray | None,
    input_dtype: str,
    folder: Path,
) -> LoadedPart:
    """Converts the trunk; `parts` are the network's in float32."""
    about: dict[str, Any] = {"network": network.name, "quantization": quantization}
    if network.normalization:
        about["mean"], about["std"] = network.normalization
    samples = no_samples
    if calibration is not None:

        def samples():
            return calibration_samples(calibration, 1, network.takes_pixels)

    content = convert_part(
        parts.trunk,
        shape,
        quantization,
        samples,
        (input_dtype, "int8" if quantization == "int8" else "float32"),
        ("image", "features"),
        about,
    )
    return write_part(folder, TRUNK, content, parts.trunk, None)


def _check_folder(folder: str | os.PathLike) -> Path:
    folder = Path(folder).expanduser().absolute()
    if is_taken(folder):
        raise ValueError(
            f"{str(folder)!r} exists already. Choose another folder for the pack, or delete it."
        )
    if not folder.parent.is_dir():
        raise ValueError(f"The folder {str(folder.parent)!r} does not exist. Make it first.")
    if not os.access(folder.parent, os.W_OK):
        raise ValueError(f"The folder {str(folder.parent)!r} is not writable.")
    return folder
