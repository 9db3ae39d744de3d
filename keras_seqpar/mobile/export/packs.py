"""Keras network -> branch pack: one .tflite file for the trunk, a small one per branch.

An app keeps the trunk and downloads, adds and drops categories; `manifest.py` says what a pack
is, `pack_runner.py` runs it.
"""

import dataclasses
import os
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.mobile.export.compat import samples
from keras_seqpar.mobile.export.converting import _check_calibration, _check_options, _image_shape
from keras_seqpar.mobile.export.pack_branches import convert_part, fingerprint, keep, make_branches
from keras_seqpar.mobile.format.pack_files import write_manifest
from keras_seqpar.mobile.network import in_float32, normalization, parts_of
from keras_seqpar.mobile.runtime.manifest import (
    ACTIVATIONS,
    TRUNK,
    Manifest,
    Part,
    read_manifest,
)
from keras_seqpar.mobile.runtime.pack_runner import load_part
from keras_seqpar.networks.parts import Parts, find_parts
from keras_seqpar.utils.files import new_folder
from keras_seqpar.utils.names import unknown_name

PACK_QUANTIZATIONS = ("int8", "float32")


def pack(
    model: keras.Model,
    folder: str | os.PathLike,
    *,
    quantization: str = "int8",
    calibration: np.ndarray | None = None,
    input_dtype: str = "float32",
    image_size: tuple[int, int] | None = None,
) -> Manifest:
    """Writes a network as a branch pack: `trunk.tflite`, `branch_<id>.tflite`, `manifest.json`.

    The trunk's input is called `image` and its output `features`; a branch takes `features` and
    gives `logit`, float32 `(1, 1)`, or, a superclass's, `features`. The batch is 1. A stored
    threshold (`with_threshold`) travels in the manifest. A network in mixed precision is
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
            as the trunk.
        RuntimeError: Keras does not run on TensorFlow.
        OSError: writing failed. No folder is left behind.

    Example:

    >>> manifest = pack(net, "animals.pack", calibration=images, input_dtype="uint8")
    >>> scores = PackRunner("animals.pack")(other_images, ["cat", "dog"])
    """
    parts_of(model)  # TypeError
    if quantization not in PACK_QUANTIZATIONS:
        raise ValueError(unknown_name("quantization of packs", quantization, PACK_QUANTIZATIONS))
    _check_options(quantization, input_dtype, "float32", 1)
    parts = _check_network(model)
    folder = _check_folder(folder)
    shape = (1, *_image_shape(model, image_size))
    calibration = _check_calibration(model, calibration, shape) if quantization == "int8" else None
    known = normalization(model)
    mean, std = map(tuple, known) if known else (None, None)

    with new_folder(folder) as work:
        about = {"network": model.name, "quantization": quantization}
        if known:
            about.update(mean=mean, std=std)
        content = convert_part(
            parts.trunk,
            shape,
            quantization,
            lambda: samples(model, calibration, 1),
            (input_dtype, "int8" if quantization == "int8" else "float32"),
            ("image", "features"),
            about,
        )
        trunk, runner = keep(work, TRUNK, content, parts.trunk, None)
        branches = make_branches(
            parts, parts.hierarchy, work, (trunk, runner), {}, work, quantization, calibration
        )
        manifest = Manifest(
            network=model.name,
            quantization=quantization,
            classifier_activation=parts.classifier_activation,
            hierarchy=parts.hierarchy,
            mean=mean,
            std=std,
            threshold=parts.threshold,
            trunk=trunk,
            branches=branches,
        )
        write_manifest(work, manifest)
    return manifest


def add_branch(
    folder: str | os.PathLike,
    model: keras.Model,
    category: str,
    *,
    calibration: np.ndarray | None = None,
) -> Manifest:
    """Adds a category's branch to a pack, whose other files stay as they are.

    Superclass branches on the way to it that the pack lacks are added too. The category comes
    last in the order of the scores. A threshold for "none of these" goes: it was fitted on the
    logits that were there before.

    Needs Keras on the TensorFlow backend.

    Args:
        folder: a pack; its trunk's file is run, and not made again.
        model: a SeqPar network with that category, on the very trunk that the pack was made of:
            grown with `add_category(..., freeze_others=True)`, for example.
        category: label or node id in `model`; a superclass stands for its categories.
        calibration: for a pack in int8, real images as for `pack`.

    Returns:
        The new manifest.

    Raises:
        TypeError: an argument of the wrong type.
        FileNotFoundError: `folder` is no pack, or lacks a file that is needed.
        ValueError: the trunk or a superclass's branch is another than the pack's; an unknown
            category, or one that the pack has; and as for `pack`.
        RuntimeError: Keras does not run on TensorFlow.
        OSError: writing failed. The pack stays what it was.

    Example:

    >>> bigger = add_category(net, "bus", freeze_others=True)  # and train it
    >>> add_branch("animals.pack", bigger, "bus", calibration=images)
    """
    parts_of(model)  # TypeError
    folder = Path(folder)
    manifest = read_manifest(folder)
    parts = _check_network(model)
    added = parts.hierarchy.prune([category])
    ids = {node.id for node in manifest.hierarchy.nodes}
    if taken := [id_ for id_ in added.category_ids if id_ in ids]:
        raise ValueError(
            f"The branch pack {str(folder)!r} has {taken[0]!r} already. Take it out first, with "
            "keras_seqpar.mobile.remove_branch, or choose another category."
        )
    hierarchy = manifest.hierarchy.merge(added)
    _check_same("trunk", parts.trunk, manifest.trunk, folder)
    for node in added.superclasses:
        if node.id in manifest.branches:
            branch = parts.branches[node.id]
            _check_same(f"branch of {node.label!r}", branch, manifest.branches[node.id], folder)
    shape = manifest.trunk.input.shape
    _image_shape(model, shape[1:3])
    int8 = manifest.quantization == "int8"
    calibration = _check_calibration(model, calibration, shape) if int8 else None
    runner = load_part(folder, manifest.trunk)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".add-") as work:
        made = make_branches(
            parts,
            added,
            folder,
            (manifest.trunk, runner),
            manifest.branches,
            Path(work),
            manifest.quantization,
            calibration,
        )
        branches = {**manifest.branches, **made}
        manifest = dataclasses.replace(
            manifest,
            hierarchy=hierarchy,
            branches={node.id: branches[node.id] for node in hierarchy.nodes},
            threshold=None,
        )
        for part in made.values():  # no manifest names them yet
            os.replace(Path(work) / part.file, folder / part.file)
    write_manifest(folder, manifest)
    return manifest


def _check_network(model: keras.Model) -> Parts:
    """The parts of the network, in float32."""
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            f"Conversion needs Keras on TensorFlow, but it runs on {backend}. Set "
            "KERAS_BACKEND=tensorflow before Keras is imported and load the .keras file there."
        )
    find_parts(model)  # ValueError
    if len(model.inputs) > 1:
        raise ValueError(
            f"The model {model.name!r} has a gains input, which branch packs do not. Pack the "
            "network without it, or set constant gains with keras_seqpar.attend."
        )
    parts = find_parts(in_float32(model))
    if parts.classifier_activation not in ACTIVATIONS:
        raise ValueError(
            unknown_name("activation of packs", parts.classifier_activation, map(str, ACTIVATIONS))
            + " Choose one with keras_seqpar.with_activation."
        )
    return parts


def _check_folder(folder: str | os.PathLike) -> Path:
    folder = Path(folder).expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"{str(folder)!r} exists already. Choose another folder for the pack, or delete it."
        )
    if not folder.parent.is_dir():
        raise ValueError(f"The folder {str(folder.parent)!r} does not exist. Make it first.")
    if not os.access(folder.parent, os.W_OK):
        raise ValueError(f"The folder {str(folder.parent)!r} is not writable.")
    return folder


def _check_same(what: str, part: keras.Model, packed: Part, folder: Path) -> None:
    if fingerprint(part) != packed.weights:
        raise ValueError(
            f"The {what} is another than that of the branch pack {str(folder)!r} "
            f"({packed.file}): a branch fits only what it was trained on. Train the new branch on "
            "the packed network (keras_seqpar.add_category with freeze_others=True), or make a "
            "new pack."
        )
