"""Changes a branch pack on disk: writes its manifest, removes branches. Needs no Keras."""

import dataclasses
import json
import os
from pathlib import Path

from keras_seqpar.mobile.runtime.manifest import MANIFEST, Manifest, read_manifest
from keras_seqpar.utils.files import write_file


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Checks a manifest and writes it, whole or not at all."""
    manifest.check()
    text = json.dumps(manifest.get_config(), indent=1, ensure_ascii=False) + "\n"
    write_file(folder / MANIFEST, text)


def remove_branch(folder: str | os.PathLike, category: str) -> None:
    """Takes a category out of a pack: its branch, and superclass branches that nothing else needs.

    A threshold for "none of these" goes as well: it was fitted on the logits of all categories.
    Needs neither TensorFlow nor Keras.

    Args:
        folder: the pack.
        category: label or node id; a superclass stands for its categories.

    Raises:
        FileNotFoundError: `folder` is no pack.
        ValueError: an unknown category, or the last one; a damaged manifest.

    Example:

    >>> remove_branch("farm.pack", "dog")
    >>> read_manifest("farm.pack").hierarchy.categories
    ('cat',)
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    gone = manifest.hierarchy.select([category])
    kept = [id_ for id_ in manifest.hierarchy.category_ids if id_ not in gone]
    if not kept:
        raise ValueError(
            f"{category!r} is all that the branch pack {str(folder)!r} has. Delete the folder."
        )
    hierarchy = manifest.hierarchy.subtree(kept)
    branches = {node.id: manifest.branches[node.id] for node in hierarchy.nodes}
    write_manifest(
        folder,
        dataclasses.replace(manifest, hierarchy=hierarchy, branches=branches, threshold=None),
    )
    used = {part.file for part in branches.values()}
    for part in manifest.branches.values():
        if part.file not in used:  # no longer in the manifest
            (folder / part.file).unlink(missing_ok=True)
