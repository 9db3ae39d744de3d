"""Adds a category's branch to a branch pack that exists."""

import dataclasses
import os
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.mobile.export.packs.branches import BranchSource, make_branches
from keras_seqpar.mobile.export.packs.part_files import LoadedPart, fingerprint, packable_parts
from keras_seqpar.mobile.export.specification import image_shape, images_to_calibrate
from keras_seqpar.mobile.format.pack_files import write_manifest
from keras_seqpar.mobile.network import read_network
from keras_seqpar.mobile.runtime.manifest import Manifest, Part, read_manifest
from keras_seqpar.mobile.runtime.pack_runner import load_part
from keras_seqpar.networks.parts import Parts


def add_branch(
    folder: str | os.PathLike,
    model: keras.Model,
    category: str,
    *,
    calibration: np.ndarray | None = None,
) -> Manifest:
    """Adds a category's branch to a pack, whose other files stay as they are.

    Superclass branches on the way to it that the pack lacks are added too. The category comes
    last in the order of the scores. The pack's threshold for "none of these" is
    removed: it was fitted without the new logit.

    Needs Keras on the TensorFlow backend.

    Args:
        folder: a pack. Its trunk's file is run for calibration, not made again.
        model: a SeqPar network with that category and with the trunk that the pack was made of, for
            example grown with `add_category(..., freeze_others=True)`.
        category: label or node id in `model`; a superclass stands for all of its categories.
        calibration: for a pack in int8, real images as for `pack`.

    Returns:
        The new manifest.

    Raises:
        TypeError: an argument of the wrong type.
        FileNotFoundError: `folder` is no pack, or lacks a file that is needed.
        ValueError: the trunk or a superclass's branch differs from the pack's; an unknown category,
            or one that the pack has; and as for `pack`.
        RuntimeError: Keras does not run on TensorFlow.
        OSError: writing failed. The pack is as before.

    Example:

    >>> add_branch("animals.pack", model, "car").hierarchy.categories
    ('cat', 'dog', 'car')
    """
    network = read_network(model)  # TypeError
    folder = Path(folder)
    manifest = read_manifest(folder)
    parts = packable_parts(network)
    added = _nodes_to_add(parts, manifest, category, folder)
    hierarchy = manifest.hierarchy.merge(added)
    _check_same_features(parts, manifest, added, folder)
    _, height, width, _ = manifest.trunk.input.shape
    size = image_shape(network, (height, width))
    calibration = images_to_calibrate(network, calibration, manifest.quantization, size)
    trunk = LoadedPart(manifest.trunk, load_part(folder, manifest.trunk))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".add-") as name:
        source = BranchSource(
            parts, manifest.quantization, trunk, calibration, folder, manifest.branches, Path(name)
        )
        made = make_branches(source, added)
        branches = {**manifest.branches, **made}
        manifest = dataclasses.replace(
            manifest,
            hierarchy=hierarchy,
            branches={node.id: branches[node.id] for node in hierarchy.nodes},
            threshold=None,
        )
        for part in made.values():  # in no manifest yet
            os.replace(source.work / part.file, folder / part.file)
    write_manifest(folder, manifest)
    return manifest


def _nodes_to_add(parts: Parts, manifest: Manifest, category: str, folder: Path) -> Hierarchy:
    """The category with its superclasses; refuses a category that the pack has."""
    added = parts.hierarchy.prune([category])
    ids = {node.id for node in manifest.hierarchy.nodes}
    if taken := [id_ for id_ in added.category_ids if id_ in ids]:
        raise ValueError(
            f"The branch pack {str(folder)!r} has {taken[0]!r} already. Take it out first, with "
            "keras_seqpar.mobile.remove_branch, or choose another category."
        )
    return added


def _check_same_features(parts: Parts, manifest: Manifest, added: Hierarchy, folder: Path) -> None:
    """Refuses a network whose trunk or superclass branches differ from the pack's."""
    _check_same("trunk", parts.trunk, manifest.trunk, folder)
    for node in added.superclasses:
        if node.id in manifest.branches:
            branch = parts.branches[node.id]
            _check_same(f"branch of {node.label!r}", branch, manifest.branches[node.id], folder)


def _check_same(what: str, part: keras.Model, packed: Part, folder: Path) -> None:
    if packed.weights not in (fingerprint(part), fingerprint(part, earlier=True)):
        raise ValueError(
            f"The {what} is another than that of the branch pack {str(folder)!r} "
            f"({packed.file}): a branch fits only what it was trained on. Train the new branch on "
            "the packed network (keras_seqpar.add_category with freeze_others=True), or make a "
            "new pack."
        )
