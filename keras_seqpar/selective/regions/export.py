"""A .tflite file -> a folder with the files of its region stream, for apps. Needs NumPy only."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_seqpar.selective.litert_engine.content import of_operations
from keras_seqpar.selective.litert_engine.export import Folder, described, refuse_taken
from keras_seqpar.selective.litert_engine.graph import read_graph
from keras_seqpar.selective.planning.planner import make_plan
from keras_seqpar.selective.regions.file_crops import resized
from keras_seqpar.selective.regions.geometry import CropAxis, Geometry, crop_geometry

FORMAT = "keras_seqpar region stream"


def export_region_stream(
    path: str | os.PathLike,
    folder: str | os.PathLike,
    crops: Sequence[tuple[int, int]],
    *,
    signature: str | None = None,
) -> Path:
    """Writes a segmentation network for the Kotlin class `RegionStream`: frames and crops.

    An app has no way to rewrite a file for a crop as `region_stream` does, so it gets one file per
    size, with all weights, and `manifest.json`. Crops keep the scales of the file.

    Args:
        path: a .tflite file from an image to a map of scores.
        folder: where to write; it must not exist yet, or be empty.
        crops: `(height, width)` of every size of crops. Each must be smaller than the frame by a
            multiple of the network's total stride. Two or three sizes are usual. Where the margin
            is the receptive field, crops must be about four times as wide as the receptive field
            reaches to one side.
        signature: of a file with several signatures, the one to run; by default the first.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or no network from an image to a map; it has inputs or
            outputs of other types than float32, uint8 and int8; or a size of crops does not fit.
        OSError: writing failed. No folder is left behind.

    Example:

    >>> export_region_stream("street.tflite", "street.regions", [(32, 40), (48, 60)]).name
    'street.regions'
    """
    path, folder = Path(path), Path(folder)
    plan = make_plan(read_graph(path, signature))
    geometry = crop_geometry(plan.graph)
    refuse_taken(folder)
    _check(crops, geometry)
    files = Folder(plan.graph)
    frame = (geometry.rows.size, geometry.cols.size)
    config = {
        "format": FORMAT,
        **described(path, plan),
        "barrier": "; ".join(f"{name}: {why}" for name, why in geometry.barriers.items()),
        "rows": _axis(geometry.rows),
        "cols": _axis(geometry.cols),
        "input": files.tensor(geometry.frame),
        "output": files.tensor(geometry.output),
        "output_name": plan.graph.outputs[geometry.output],
        "full": _file(files, geometry, frame),
        "crops": [_file(files, geometry, (size[0], size[1])) for size in crops],
    }
    return files.write(folder, config)


def _check(crops: Sequence[tuple[int, int]], geometry: Geometry) -> None:
    axes = geometry.rows, geometry.cols
    if not crops or any(len(size) != 2 for size in crops):
        raise ValueError(f"crops must be pairs (height, width), one or more, got {crops!r}.")
    for size in crops:
        for side, axis in zip(size, axes, strict=True):
            if not axis.least <= side <= axis.size or (axis.size - side) % axis.stride:
                raise ValueError(
                    f"Crops of {size[0]}x{size[1]} do not fit {geometry.graph.name}: each side "
                    f"must be {axis.least} to {axis.size} pixels, and as many less than "
                    f"{axis.size} as a multiple of {axis.stride}."
                )


def _file(files: Folder, geometry: Geometry, size: tuple[int, int]) -> dict[str, Any]:
    graph = files.graph
    numbers = range(len(graph.operations))
    frame = size == (geometry.rows.size, geometry.cols.size)
    of_size = graph if frame else resized(geometry, numbers, size)
    content = of_operations(of_size, numbers, [geometry.frame], [geometry.output])
    return {
        **files.add(f"crop_{size[0]}x{size[1]}", content),
        "size": size,
        "output_size": geometry.grid(geometry.output, size),
    }


def _axis(axis: CropAxis) -> dict[str, Any]:
    return {
        "size": axis.size,
        "outputs": axis.outputs,
        "stride": axis.stride,
        "scale": [axis.scale.numerator, axis.scale.denominator],
        "before": axis.before,
        "after": axis.after,
    }
