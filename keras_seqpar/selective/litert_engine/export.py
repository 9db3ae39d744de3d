"""A .tflite file -> a folder with the runs of its stream, for apps. Needs NumPy only."""

import base64
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_seqpar.mobile.runtime.labels import find_labels, read_labels
from keras_seqpar.mobile.runtime.manifest import MANIFEST, part_file
from keras_seqpar.mobile.runtime.reading import read_tflite
from keras_seqpar.mobile.runtime.runner import NONE
from keras_seqpar.selective.litert_engine.content import of_crop_run, of_whole_run
from keras_seqpar.selective.litert_engine.graph import read_graph
from keras_seqpar.selective.litert_engine.sessions import FileSessions
from keras_seqpar.selective.planning.effects import Axis, Transposed, Window
from keras_seqpar.selective.planning.plan import CropRun, Plan, Source, View, WholeRun
from keras_seqpar.selective.planning.planner import make_plan
from keras_seqpar.utils.files import is_taken, new_folder, write_file

FORMAT = "keras_seqpar stream"
VERSION = 1
GAINS = "gains.txt"
_ENDS = ("float32", "uint8", "int8")  # types of inputs and outputs that apps read


def export_stream(
    path: str | os.PathLike, folder: str | os.PathLike, *, signature: str | None = None
) -> Path:
    """Writes the runs of a file's stream for the Kotlin class `Stream`.

    An app gets the pieces that `selective.stream` computes, each as a .tflite file whose inputs
    are resized to what changed, and `manifest.json`: which maps the pieces read and write. The
    network as a whole is there once more, for frames of which everything changed, so the folder is
    about twice as large as the file.

    Args:
        path: a .tflite file, of this package or not. Labels come from inside it or from
            `NAME.labels.txt` beside it.
        folder: where to write; it must not exist yet, or be empty.
        signature: of a file with several signatures, the one to run; by default the first.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is no network of images of one fixed size, or has inputs
            or outputs of other types than float32, uint8 and int8.
        OSError: writing failed. No folder is left behind.

    Example:

    >>> export_stream("pets.tflite", "pets.stream").name
    'pets.stream'
    """
    path, folder = Path(path), Path(folder)
    plan = make_plan(read_graph(path, signature))
    if is_taken(folder):
        raise ValueError(f"{str(folder)!r} exists already. Name another folder, or delete it.")
    writer = _Writer(plan)
    config = {**_described(path, plan), **writer.manifest()}
    with new_folder(folder) as work:
        for name, content in writer.files.items():
            write_file(work / name, content)
        write_file(work / MANIFEST, json.dumps(config, ensure_ascii=False) + "\n")
    return folder


def _described(path: Path, plan: Plan) -> dict[str, Any]:
    """What manifests of streams say about a file, whose inputs and outputs apps must know."""
    contents, graph = read_tflite(path), plan.graph
    for i, name in {**graph.inputs, **graph.outputs}.items():
        tensor = graph.tensors[i]
        if tensor.dtype.name not in _ENDS:
            kind = tensor.dtype.name if tensor.is_known else "another type"
            raise ValueError(f"{path.name} has {kind} at {name!r}. Apps read {', '.join(_ENDS)}.")
    several, key = len(contents.signatures) > 1, graph.signature
    inside = contents.signatures.get(key) if several else contents.labels
    gains = contents.files.get(f"{key}.{GAINS}" if several else GAINS)
    scores = next(i for i, x in graph.outputs.items() if x != NONE or len(graph.outputs) == 1)
    count = (1, *graph.tensors[scores].shape)[-1]  # of them, or at every position of a map
    return {
        "format": FORMAT,
        "version": VERSION,
        "network": path.name,
        "sha256": graph.sha256,
        "about": contents.about,
        "labels": find_labels(path, count, inside, several),
        "gain_labels": gains and read_labels(gains, f"{GAINS} of {path.name}"),
        "macs": plan.macs,
    }


class _Writer:
    """What the manifest says about a plan."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.files: dict[str, bytes] = {}  # name -> content of the files of the runs
        self._tensors: dict[int, int] = {}  # number in the graph -> number in the manifest

    def manifest(self) -> dict[str, Any]:
        """The entries of the manifest that describe the plan."""
        plan = self.plan
        found = {
            "frame": self._number(plan.frame),
            "inputs": {name: self._number(i) for i, name in plan.graph.inputs.items()},
            "steps": [self._step(f"run_{i:02d}", step) for i, step in enumerate(plan.steps)],
            "of_extras": plan.of_extras and self._whole("extras", plan.of_extras),
            "dense": plan.dense and self._whole("dense", plan.dense),
            "full": self._whole("full", plan.full),
            "outputs": {name: self._number(i) for i, name in plan.graph.outputs.items()},
        }
        return {**found, "tensors": [self._tensor(i) for i in self._tensors]}

    def _tensor(self, i: int) -> dict[str, Any]:
        tensor = self.plan.graph.tensors[i]
        found = {
            "name": tensor.name,
            "shape": tensor.map_shape,
            "dtype": tensor.dtype.name,
            "scale": float(tensor.scales[0]) if len(tensor.scales) else 0.0,
            "zero_point": tensor.zero,
        }
        if tensor.data is not None:
            found["shape"] = (1,) * (4 - len(tensor.map_shape)) + tuple(tensor.map_shape)
            found["data"] = base64.b64encode(_little(tensor.values())).decode()
        return found

    def _file(self, name: str, content: bytes) -> dict[str, Any]:
        """Adds a file; returns what the manifest says about it."""
        sha256 = hashlib.sha256(content).hexdigest()
        file = part_file(name, sha256)
        self.files[file] = content
        return {"file": file, "bytes": len(content), "sha256": sha256}

    def _step(self, name: str, step: CropRun | WholeRun | View) -> dict[str, Any]:
        if isinstance(step, CropRun):
            return self._crop(name, step)
        if isinstance(step, WholeRun):
            return self._whole(name, step) | _axes(step)
        numbers = {"source": self._number(step.inputs[0]), "output": self._number(step.outputs[0])}
        return {"kind": "view", **numbers, **_axes(step)}

    def _crop(self, name: str, run: CropRun) -> dict[str, Any]:
        costs = FileSessions(lambda content: None, b"").crops(self.plan, run)
        kind = {"kind": "copy"}
        if not run.copies:
            kind = {"kind": "crop", **self._file(name, of_crop_run(self.plan, run, run.grid))}
        return {
            **kind,
            "sources": [self._source(x) for x in run.sources],
            "vectors": [self._number(i) for i in run.vectors],
            "outputs": [self._number(i) for i in run.outputs],
            "grid": run.grid,
            "macs": run.macs,
            "start_cost": costs.start,
            "position_cost": costs.per_position,
        }

    def _source(self, source: Source) -> dict[str, Any]:
        tensor = self.plan.graph.tensors[source.reader]
        border = None
        if source.border is not None:
            border = _little(np.array(source.border, tensor.dtype)).hex()
        return {
            "tensor": self._number(source.tensor),
            **_axes(source),
            "border": border,
            "first_channel": source.first_channel,
            "rank": len(tensor.shape),
            "joined": tensor.positions is not None,  # columns and channels are one axis
        }

    def _whole(self, name: str, run: WholeRun) -> dict[str, Any]:
        return {
            "kind": "whole",
            **self._file(name, of_whole_run(self.plan, run)),
            "inputs": [self._number(i) for i in run.inputs],
            "outputs": [self._number(i) for i in run.outputs],
            "macs": run.macs,
        }

    def _number(self, i: int) -> int:
        return self._tensors.setdefault(i, len(self._tensors))


def _axes(reader: Source | WholeRun | View) -> dict[str, Any]:
    return {"rows": _axis(reader.rows), "cols": _axis(reader.cols)}


def _axis(axis: Axis | None) -> dict[str, Any] | None:
    if axis is None:
        return None
    if isinstance(axis, Window):
        return {"extent": axis.extent, "stride": axis.stride, "before": axis.before}
    if isinstance(axis, Transposed):
        return dataclasses.asdict(axis)
    return {"low": axis.low.tolist(), "high": axis.high.tolist()}


def _little(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
