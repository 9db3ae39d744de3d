"""Reads a branch pack as one network: its trunk and the branches of chosen categories only."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_seqpar.hierarchy.tree import Node
from keras_seqpar.mobile.runtime.activations import activate
from keras_seqpar.mobile.runtime.manifest import Part, read_manifest
from keras_seqpar.mobile.runtime.manifest import Tensor as PartTensor
from keras_seqpar.mobile.runtime.runner import NONE, SCORES
from keras_seqpar.networks.thresholds import Threshold
from keras_seqpar.selective.litert_engine.graph import read_graph
from keras_seqpar.selective.litert_engine.tables import Graph


@dataclasses.dataclass(frozen=True)
class PackGraph(Graph):
    """The graph of some categories of a branch pack; its outputs are their logits."""

    activation: str | None = None  # turns logits into scores
    # below it a frame shows none of the categories; `None` without one
    threshold: Threshold | None = None

    def named(self, outputs: Mapping[int, np.ndarray]) -> dict[str, np.ndarray]:
        """The scores `(1, categories)`, and whether the frame shows none of them.

        They equal those of `mobile.PackRunner` bit for bit.
        """
        logits = np.array([[outputs[i].ravel()[0] for i in self.outputs]], "float32")
        found = {SCORES: activate(logits, self.activation)}
        if self.threshold is not None:
            found[NONE] = self.threshold.rejects(logits)[:, None].astype("float32")
        return found


def read_pack(folder: str | os.PathLike, categories: Sequence[str] | None = None) -> PackGraph:
    """Reads the files of a pack that some categories need, joined into one graph.

    Args:
        folder: the pack.
        categories: labels or node ids, in the order wanted; a superclass stands for its
            categories. All by default. The files of others may be missing.

    Raises:
        FileNotFoundError: no pack, or a file of it is missing.
        ValueError: the pack is damaged, or its files are not those of its manifest; an unknown or
            repeated category; a file cannot be part of a stream.
    """
    manifest = read_manifest(folder)
    hierarchy = manifest.hierarchy if categories is None else manifest.hierarchy.prune(categories)
    folder = Path(folder)
    trunk = _read(folder, manifest.trunk)
    (frame,), (features,) = trunk.inputs, trunk.outputs
    joined = _named(trunk, "trunk")
    logits: dict[str, int] = {}
    hashes = [manifest.trunk.sha256]

    def add(node: Node, features: int) -> None:
        nonlocal joined
        part = manifest.branches[node.id]
        hashes.append(part.sha256)
        joined, output = _joined(joined, _named(_read(folder, part), node.id), features)
        if node.is_category:
            logits[node.id] = output
        for child in node.children:
            add(child, output)

    for root in hierarchy.roots:
        add(root, features)
    ids = hierarchy.category_ids
    complete = len(ids) == len(manifest.hierarchy.category_ids)
    about = {"mean": manifest.mean, "std": manifest.std}
    sha256 = hashlib.sha256("\n".join((*hashes, *ids)).encode()).hexdigest()
    return PackGraph(
        tensors=joined.tensors,
        operations=joined.operations,
        inputs={frame: "image"},
        outputs={logits[id_]: id_ for id_ in ids},
        rules=trunk.rules,
        name=folder.name,
        fingerprint=sha256,
        path=folder,
        sha256=sha256,
        about={key: value for key, value in about.items() if value is not None},
        codes=joined.codes,
        signature=None,
        activation=manifest.classifier_activation,
        threshold=manifest.threshold if complete else None,
    )


def _read(folder: Path, part: Part) -> Graph:
    """The graph of a file of a pack, which must be the one that the manifest describes."""
    part.check_file(folder)
    graph = read_graph(folder / part.file)
    found = [
        [
            PartTensor(x.shape, x.dtype.name, float(x.scales[0]) if len(x.scales) else 0.0, x.zero)
            for x in (graph.tensors[i] for i in ends)
        ]
        for ends in (graph.inputs, graph.outputs)
    ]
    if found != [[part.input], [part.output]]:
        raise ValueError(
            f"{str(graph.path)!r} takes {found[0]} and gives {found[1]}, but the manifest says "
            f"{part.input} and {part.output}. Copy the manifest again, together with the file."
        )
    return graph


def _named(graph: Graph, name: str) -> Graph:
    """A graph whose tensors have names that begin with that of its part of the pack."""
    tensors = (dataclasses.replace(x, name=f"{name}/{x.name}") for x in graph.tensors)
    return dataclasses.replace(graph, tensors=tuple(tensors))


def _joined(graph: Graph, other: Graph, features: int) -> tuple[Graph, int]:
    """A graph with another one that reads `features` of it, and the output of the other one."""
    first, first_code = len(graph.tensors), len(graph.codes)
    (source,), (output,) = other.inputs, other.outputs

    def numbers(of_other: Sequence[int]) -> tuple[int, ...]:
        return tuple(-1 if i < 0 else features if i == source else i + first for i in of_other)

    operations = (
        dataclasses.replace(
            x, inputs=numbers(x.inputs), outputs=numbers(x.outputs), code=x.code + first_code
        )
        for x in other.operations
    )
    joined = dataclasses.replace(
        graph,
        tensors=(*graph.tensors, *other.tensors),
        operations=(*graph.operations, *operations),
        codes=(*graph.codes, *other.codes),
    )
    return joined, numbers((output,))[0]
