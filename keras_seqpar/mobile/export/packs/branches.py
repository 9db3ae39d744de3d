"""Branches of a network -> files that fit a pack's trunk bit for bit."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_seqpar.hierarchy.tree import Hierarchy, Node
from keras_seqpar.mobile.export.converter import no_samples
from keras_seqpar.mobile.export.packs.part_files import LoadedPart, convert_part, write_part
from keras_seqpar.mobile.export.packs.ranges import feature_samples
from keras_seqpar.mobile.runtime.manifest import Part, branch_file
from keras_seqpar.mobile.runtime.pack_runner import load_part
from keras_seqpar.networks.parts import Parts


@dataclasses.dataclass(frozen=True, eq=False)
class BranchSource:
    """What the files of branches are made from.

    Args:
        parts: of the network.
        quantization: of the pack.
        trunk: the pack's trunk.
        calibration: images for int8; `None` for float32.
        folder: the pack, with the files of `known`.
        known: node id -> branch that the pack has already.
        work: the folder to write to.
    """

    parts: Parts
    quantization: str
    trunk: LoadedPart
    calibration: np.ndarray | None
    folder: Path
    known: Mapping[str, Part]
    work: Path


def make_branches(source: BranchSource, hierarchy: Hierarchy) -> dict[str, Part]:
    """Converts the branches of all nodes that the pack does not have yet, parents first.

    Args:
        source: what they are made from.
        hierarchy: of the nodes wanted.

    Returns:
        Node id -> branch written.
    """
    made: dict[str, Part] = {}

    def make(node: Node, feeder: Part, features: np.ndarray | None) -> None:
        if node.id in source.known:
            part = source.known[node.id]
            branch = LoadedPart(part, load_part(source.folder, part))
        else:
            branch = _make_branch(source, node, feeder, features)
            made[node.id] = branch.part
        if node.children:
            if features is not None:
                runner = branch.runner
                features = np.concatenate([runner.pass_on(some[None]) for some in features])
            for child in node.children:
                make(child, branch.part, features)

    features = None
    if source.calibration is not None:
        trunk = source.trunk.runner
        images = (trunk.encode(image[None]) for image in source.calibration)
        features = np.concatenate([trunk.pass_on(image) for image in images])
    for root in hierarchy.roots:
        make(root, source.trunk.part, features)
    return made


def _make_branch(
    source: BranchSource, node: Node, feeder: Part, features: np.ndarray | None
) -> LoadedPart:
    """Converts one branch; `features` are what `feeder` gives on the calibration images."""
    dtype, model, file = feeder.output.dtype, source.parts.branches[node.id], branch_file(node.id)
    content = convert_part(
        model,
        feeder.output.shape,
        source.quantization,
        no_samples if features is None else lambda: feature_samples(features, feeder.output),
        (dtype, "float32" if node.is_category else dtype),
        ("features", "logit" if node.is_category else "features"),
        {
            "node": node.id,
            "label": node.label,
            "quantization": source.quantization,
            "takes": feeder.sha256,
        },
    )
    made = write_part(source.work, file, content, model, feeder.sha256)
    if made.part.input != feeder.output:
        raise ValueError(
            f"The converter made {file} take {made.part.input}, but {feeder.file} gives "
            f"{feeder.output}: the two do not fit. Pack with quantization='float32', or calibrate "
            "on other images."
        )
    return made
