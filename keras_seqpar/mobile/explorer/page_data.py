"""Network -> the folder that the page in tflite/web reads. A static server can serve it.

- `explorer.json`: what the network is, what its parts cost, and where its files are.
- `pack/`: the network as a branch pack.
- `steerable/`: a float32 file per branch, with a gain and its activity.
- `plain.tflite`: the plain network of its family with random weights, to be measured beside it.
- `examples/`: images to begin with.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_seqpar.costs.comparing import plain_twin
from keras_seqpar.costs.counting import cost
from keras_seqpar.mobile.explorer.server import FACTS, VERSION, Cutter
from keras_seqpar.mobile.explorer.steerable import steerable_branches
from keras_seqpar.mobile.export.converting import convert
from keras_seqpar.mobile.export.packs.packing import pack
from keras_seqpar.mobile.format.files import seal
from keras_seqpar.mobile.network import in_float32, read_network
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.cutout import cutout
from keras_seqpar.utils.files import new_folder, write_file, write_json


def write_page_data(
    model: keras.Model,
    folder: str | os.PathLike,
    *,
    title: str,
    source: str | None = None,
    calibration: np.ndarray | None = None,
    examples: Mapping[str, np.ndarray] | None = None,
) -> dict:
    """Writes all that the page shows of a network.

    Needs Keras on the TensorFlow backend.

    Args:
        model: a SeqPar network for square color images, without a gains input.
        folder: where to write; it must not exist yet, or be empty.
        title: how the page calls the network.
        source: the `.keras` file that the commands on the page name.
        calibration: real images `(n, height, width, 3)` as the network takes them; with them the
            files are in int8, without in float32.
        examples: caption -> pixels `(height, width, 3)` in uint8, of any size.

    Returns:
        The content of `explorer.json`: `title`, `source`, `quantization`; `parts` (`trunk` and
        node ids) and `networks` (`plain`, where the family has one) with `params`, `macs` and
        `bytes`; `steerable`, node id -> file; `examples`.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it cannot be packed, or takes no square color images.
        RuntimeError: Keras does not run on TensorFlow.
        OSError: writing failed. No folder is left behind.
    """
    read_network(model)  # TypeError
    shape = tuple(model.inputs[0].shape[1:])
    if shape[0] is None or shape[0] != shape[1] or shape[2] != 3:
        raise ValueError(f"The page shows networks of square color images, not of {shape}.")
    options = file_options(model, calibration)
    quantization = options["quantization"]
    with new_folder(folder) as work:
        manifest = pack(model, work / "pack", **options)
        costs = {node.id: {"params": node.params, "macs": node.macs} for node in cost(model).nodes}
        files = {"trunk": manifest.trunk, **manifest.branches}
        parts = {id_: {**costs[id_], "bytes": part.bytes} for id_, part in files.items()}
        plain = _plain(model)
        facts: dict[str, Any] = {
            "version": VERSION,
            "title": title,
            "source": source,
            "quantization": quantization,
            "parts": parts,
            "networks": {"plain": _write_network(plain, work, options)} if plain else {},
            "steerable": {},
            "examples": _write_examples(examples or {}, work / "examples"),
        }
        (work / "steerable").mkdir()
        shapes = {id_: part.input.shape for id_, part in manifest.branches.items()}
        for id_, content in steerable_branches(in_float32(model), shapes):
            facts["steerable"][id_] = f"steerable/{id_}.tflite"
            write_file(work / facts["steerable"][id_], seal(content))
        write_json(work / FACTS, facts)
    return facts


def file_options(model: keras.Model, calibration: np.ndarray | None) -> dict[str, Any]:
    """How the page's files are made: in int8 with calibration images, in float32 without."""
    if calibration is None:
        return {"quantization": "float32"}
    dtype = "uint8" if read_network(model).takes_pixels else "float32"
    return {"quantization": "int8", "calibration": calibration, "input_dtype": dtype}


def cutter(model: keras.Model, calibration: np.ndarray | None = None) -> Cutter:
    """Makes the function that makes the `.tflite` file of some categories, for `PageServer`.

    Args:
        model: as for `write_page_data`.
        calibration: as for `write_page_data`.

    Returns:
        Node ids of categories -> content of a file that gives scores.
    """

    def cut(categories: Sequence[str]) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cutout.tflite"
            options = file_options(model, calibration)
            convert(cutout(model, categories), path, outputs="logits", **options)
            return path.read_bytes()

    return cut


def _plain(model: keras.Model) -> keras.Model | None:
    """The plain network to measure beside it; `None` for a trunk that is of no family."""
    build = find_parts(model).build
    return None if build is None or build.trunk else plain_twin(model, seed=0)


def _write_network(network: keras.Model, folder: Path, options: Mapping) -> dict:
    """Converts a network to one file; returns its name and what it costs."""
    path = folder / "plain.tflite"
    made = convert(network, path, outputs="logits", **options)
    counted = cost(network)
    size = made.path.stat().st_size
    return {"file": path.name, "params": counted.params, "macs": counted.macs, "bytes": size}


def _write_examples(examples: Mapping[str, np.ndarray], folder: Path) -> list[dict]:
    """Writes images as JPEG; returns their files and captions."""
    folder.mkdir()
    found = []
    for i, (caption, pixels) in enumerate(examples.items()):
        Image.fromarray(pixels).save(folder / f"{i}.jpg", quality=90)
        found.append({"file": f"examples/{i}.jpg", "caption": caption})
    return found


def sample_photos() -> dict[str, np.ndarray]:
    """Two photographs that come with scikit-learn, as examples where there is no data set.

    Returns:
        Caption, with the photographer -> pixels. Empty without scikit-learn.
    """
    try:
        from sklearn.datasets import load_sample_images
    except ImportError:
        return {}
    captions = {
        "china.jpg": "Temple in China, by danielbuechele, CC BY",
        "flower.jpg": "Flower, by vultilion, CC BY",
    }
    found = load_sample_images()
    names = [Path(name).name for name in found.filenames]
    return {captions[name]: image for name, image in zip(names, found.images, strict=True)}
