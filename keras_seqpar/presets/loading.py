"""Trained networks that come with the package: no download, no other library.

A preset is two files. `NAME.json` has how the network was built (its `BuildConfig`), its
hierarchy and threshold, the normalization of its images, the data it was trained on, its license
and its measured accuracy. `NAME.npz` has the weights by the names of
`keras_seqpar.weights.named_weights`: kernels in float16; vectors (biases and the weights of
normalizations) in float32, because the range of float16 is too small for them.
`recipes/make_preset.py` makes both from a trained network.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.build_config import BuildConfig
from keras_seqpar.networks.builders import BUILDERS
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.networks.quantized import refuse_quantized
from keras_seqpar.surgery.unknowns import Threshold, with_threshold
from keras_seqpar.utils.files import write_files
from keras_seqpar.utils.names import unknown_name
from keras_seqpar.weights import named_weights
from keras_seqpar.weights.differences import refuse_difference

FOLDER = Path(__file__).parent
"""The folder of the presets that come with the package.

Example:

>>> (FOLDER / "imagenette_small.json").is_file()
True
"""
FORMAT = 2  # of the JSON file
# The entries of every preset. The first ones are read from the network, the last four are given.
NETWORK_KEYS = ("name", "input_shape", "build", "hierarchy", "classifier_activation", "threshold")
GIVEN_KEYS = ("normalization", "data", "license", "accuracy")
KEYS = ("format", *NETWORK_KEYS, "weights", *GIVEN_KEYS)
REPAIR = "Install keras-seqpar again, or make the preset again with recipes/make_preset.py."


def preset_names(*, folder: str | os.PathLike | None = None) -> tuple[str, ...]:
    """Names of all presets.

    Args:
        folder: the folder of the presets; by default that of the package.

    Returns:
        The names, sorted.

    Example:

    >>> preset_names()
    ('imagenette_mobile', 'imagenette_small')
    """
    found = Path(FOLDER if folder is None else folder).glob("*.json")
    return tuple(sorted(path.stem for path in found))


def about(name: str, *, folder: str | os.PathLike | None = None) -> dict:
    """Reads the JSON file of a preset.

    Args:
        name: one of `preset_names()`.
        folder: the folder of the preset; by default that of the package.

    Returns:
        Its entries, among them `normalization`, `data`, `license`, `accuracy`.

    Raises:
        TypeError: `name` is no string.
        ValueError: the name is unknown (the message lists the valid ones), or a file is damaged.

    Example:

    >>> about("imagenette_small")["license"]
    'Weights: Apache-2.0. Trained on Imagenette ...
    """
    if not isinstance(name, str):
        raise TypeError(f"The name of a preset must be a string, got {name!r:.80}.")
    valid = preset_names(folder=folder)
    if name not in valid:
        extra = "" if valid else "There are none here: make one with recipes/make_preset.py."
        raise ValueError(unknown_name("preset", name, valid or ["none"], extra))
    path = Path(FOLDER if folder is None else folder) / f"{name}.json"
    try:
        facts = json.loads(path.read_text("utf-8"))
        if not isinstance(facts, dict):
            raise ValueError(f"it has a {type(facts).__name__} instead of named entries")
        found = facts.get("format", FORMAT)
        if found == FORMAT and (missing := [key for key in KEYS if key not in facts]):
            raise ValueError(f"it lacks {', '.join(missing)}")
    except ValueError as error:  # not UTF-8, not JSON, or not a preset
        raise ValueError(f"{path} is damaged: {error}. {REPAIR}") from error
    if found != FORMAT:
        raise ValueError(
            f"{path} has the format {found}, this version of keras-seqpar reads {FORMAT}. Use the "
            "version that made it, or make the preset again with recipes/make_preset.py."
        )
    return facts


def load_preset(name: str, *, folder: str | os.PathLike | None = None) -> keras.Model:
    """Loads a trained network without a network connection.

    Args:
        name: one of `preset_names()`.
        folder: the folder of the preset; by default that of the package.

    Returns:
        The network, not compiled. It can be cut, attended and converted as any other.

    Raises:
        TypeError: `name` is no string.
        ValueError: the name is unknown (the message lists the valid ones), or a file is damaged.

    Example:

    >>> imagenette = load_preset("imagenette_small")
    >>> cutout(imagenette, ["English springer", "tench"]).output_shape
    (None, 2)
    """
    facts = about(name, folder=folder)
    path = Path(FOLDER if folder is None else folder) / f"{name}.npz"
    if not path.is_file():
        raise ValueError(f"The weights {path} of the preset {name!r} are missing. {REPAIR}")
    content = path.read_bytes()
    found, wanted = hashlib.sha256(content).hexdigest(), facts["weights"]["sha256"]
    if found != wanted:
        raise ValueError(
            f"{path} is damaged: {len(content):,} bytes with the SHA-256 {found[:12]}..., wanted "
            f"are {facts['weights']['bytes']:,} with {wanted[:12]}... {REPAIR}"
        )
    return restore(facts, content)


def pack(model: keras.Model, **given: object) -> tuple[dict, bytes]:
    """Makes the contents of a preset's two files.

    Args:
        model: a trained network. Constant gains (`attend`) are not kept.
        given: the entries that cannot be read from the network: `normalization`, `data`,
            `license`, `accuracy`; JSON-ready. `write` needs all four.

    Returns:
        The entries of the JSON file, and the content of the weights file.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no network of this package, does not store how it was built, or has
            weights that float16 cannot hold; or an entry is unknown.

    Example:

    >>> facts, content = pack(model, license="Apache-2.0")
    >>> facts["weights"]["bytes"] == len(content)
    True
    """
    for key in given:
        if key not in GIVEN_KEYS:
            raise ValueError(unknown_name("entry of a preset", key, GIVEN_KEYS))
    parts = find_parts(model, allow_plain=True)
    refuse_quantized(model, "Make a preset of the original network.")
    build = parts.require_build(model.name)
    if build.trunk:
        raise ValueError(
            f"The trunk of {model.name!r} is of the model {build.trunk!r}, which no builder makes "
            "again. Save it as a .keras file instead of a preset."
        )
    if build.builder not in BUILDERS:
        raise ValueError(
            f"The network {model.name!r} was merged from two that were built differently, so no "
            "builder makes it again. Save it as a .keras file instead of a preset."
        )
    arrays = {}
    for name, variable in named_weights(model).items():
        value = np.asarray(keras.ops.convert_to_numpy(variable), "float32")
        if value.ndim > 1:
            with np.errstate(over="ignore"):  # checked below
                value = value.astype("float16")
        if not np.isfinite(value).all():
            raise ValueError(
                f"The weights {name} of {model.name!r} are not finite in {value.dtype}, which "
                "holds up to 65504 in float16. Such a network is not well trained."
            )
        arrays[name] = value
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # of names, never allow_pickle
    content = file.getvalue()
    facts = {
        "format": FORMAT,
        "name": model.name,
        "input_shape": list(model.inputs[0].shape[1:]),
        "build": build.get_config(),
        "hierarchy": parts.hierarchy.get_config(),
        "classifier_activation": parts.classifier_activation,
        "threshold": parts.threshold and parts.threshold.get_config(),
        "weights": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
        **given,
    }
    return facts, content


def restore(facts: Mapping, content: bytes) -> keras.Model:
    """Builds the network of a preset and fills it, strictly.

    Args:
        facts: the entries of the JSON file.
        content: that of the weights file.

    Returns:
        The network.

    Raises:
        ValueError: the two do not belong together, or one of them is damaged.

    Example:

    >>> facts, content = pack(model)
    >>> restore(facts, content).output_shape
    (None, 3)
    """
    try:
        build = BuildConfig(**facts["build"])
        model = BUILDERS[build.builder](
            Hierarchy.from_config(facts["hierarchy"]),
            **build.arguments(),
            input_shape=tuple(facts["input_shape"]),
            classifier_activation=facts["classifier_activation"],
            name=facts["name"],
        )
        threshold = Threshold.of(facts["threshold"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"The preset describes no network: {error}. {REPAIR}") from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise ValueError(f"The weights of the preset are damaged: {error}. {REPAIR}") from error
    want = named_weights(model)
    refuse_difference(arrays, want, f"The weights do not fit the preset's network {model.name!r}.")
    for name, variable in want.items():
        variable.assign(arrays[name].astype("float32"))
    return with_threshold(model, threshold) if threshold else model


def write(name: str, facts: Mapping, content: bytes, *, folder: str | os.PathLike) -> Path:
    """Writes a preset: both files, or none.

    Args:
        name: name of the preset: lower-case letters, digits and underscores.
        facts: from `pack`, with all entries.
        content: from `pack`.
        folder: where to write; it must exist.

    Returns:
        The JSON file.

    Raises:
        ValueError: the name has another form, or an entry is missing.
        OSError: writing failed.

    Example:

    >>> facts, content = pack(model, normalization="none", data="noise", license="Apache-2.0",
    ...                       accuracy={})
    >>> write("noise", facts, content, folder=".").name
    'noise.json'
    >>> about("noise", folder=".")["data"]
    'noise'
    """
    check_name(name)
    if missing := [key for key in KEYS if key not in facts]:
        raise ValueError(f"The preset {name!r} lacks the entries {', '.join(missing)}.")
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    path = Path(folder) / f"{name}.json"
    write_files({path.with_suffix(".npz"): content, path: text})
    return path


def check_name(name: str) -> None:
    """Checks the name of a new preset.

    Args:
        name: what `write` is to call it.

    Raises:
        ValueError: it has characters other than lower-case letters, digits and underscores, or
            begins with a digit.

    Example:

    >>> check_name("pets_small")
    """
    if not name.isidentifier() or not name.isascii() or name != name.lower():
        raise ValueError(
            "The name of a preset has lower-case letters, digits and underscores and begins with "
            f"no digit, got {name!r}."
        )
