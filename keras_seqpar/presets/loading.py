"""Trained networks that come with the package: no download, no other library.

A preset is two files. `NAME.json` says how the network is built, what it names, how its images
are normalized, what it was trained on and under which license, and its measured accuracy.
`NAME.npz` holds the weights by the names of `keras_seqpar.weights.named_weights`: kernels in
float16, vectors (biases and all of the normalizations) in float32, where the range of float16
would be too small. `recipes/make_preset.py` makes both from a trained network.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.builders import build_nhl, build_one_branch, build_phl, build_plain
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.unknowns import Threshold, with_threshold
from keras_seqpar.utils.names import unknown_name
from keras_seqpar.weights import named_weights
from keras_seqpar.weights.differences import refuse_difference

FOLDER = Path(__file__).parent
FORMAT = 1  # of the JSON file
# Builder -> which of its arguments takes the hierarchy.
BUILDERS: dict[str, tuple[Callable[..., keras.Model], str]] = {
    "build_phl": (build_phl, "categories"),
    "build_nhl": (build_nhl, "hierarchy"),
    "build_plain": (build_plain, "categories"),
    "build_one_branch": (build_one_branch, "categories"),
}
# What every preset says; the last four are for people.
KEYS = (
    *("format", "builder", "arguments", "hierarchy", "threshold", "weights"),
    *("normalization", "data", "license", "accuracy"),
)
AGAIN = "Install keras-seqpar again, or make the preset again with recipes/make_preset.py."


def preset_names(*, folder: str | os.PathLike | None = None) -> tuple[str, ...]:
    """Names of all presets.

    Args:
        folder: where they lie; by default those that come with the package.

    Returns:
        The names, sorted.

    Example:

    >>> for name in preset_names():
    ...     print(name, about(name)["accuracy"])
    """
    found = Path(FOLDER if folder is None else folder).glob("*.json")
    return tuple(sorted(path.stem for path in found))


def about(name: str, *, folder: str | os.PathLike | None = None) -> dict:
    """What a preset is: its JSON file.

    Args:
        name: one of `preset_names()`.
        folder: where it lies; by default with the package.

    Returns:
        Its entries, among them `normalization`, `data`, `license`, `accuracy`.

    Raises:
        TypeError: `name` is no string.
        ValueError: an unknown name (the message lists the valid ones), or a damaged file.
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
        lost = [key for key in KEYS if key not in facts] if isinstance(facts, dict) else KEYS
        if lost:
            raise ValueError(f"it lacks {', '.join(lost)}")
    except ValueError as error:  # no UTF-8, no JSON, or of something else
        raise ValueError(f"{path} is damaged: {error}. {AGAIN}") from error
    if facts["format"] != FORMAT:
        raise ValueError(
            f"{path} has the format {facts['format']}, this version of keras-seqpar reads "
            f"{FORMAT}. Take the version that made it, or make the preset again."
        )
    return facts


def load_preset(name: str, *, folder: str | os.PathLike | None = None) -> keras.Model:
    """Loads a trained network without a network connection.

    Args:
        name: one of `preset_names()`.
        folder: where it lies; by default with the package.

    Returns:
        The network, not compiled. It can be cut, attended and converted as any other.

    Raises:
        TypeError: `name` is no string.
        ValueError: an unknown name (the message lists the valid ones), or a damaged file.

    Example:

    >>> pets = cutout(load_preset(preset_names()[0]), ["English springer", "tench"])
    """
    facts = about(name, folder=folder)
    path = Path(FOLDER if folder is None else folder) / f"{name}.npz"
    if not path.is_file():
        raise ValueError(f"The weights {path} of the preset {name!r} are missing. {AGAIN}")
    content = path.read_bytes()
    found, wanted = hashlib.sha256(content).hexdigest(), facts["weights"]["sha256"]
    if found != wanted:
        raise ValueError(
            f"{path} is damaged: {len(content):,} bytes with the SHA-256 {found[:12]}..., wanted "
            f"are {facts['weights']['bytes']:,} with {wanted[:12]}... {AGAIN}"
        )
    return restore(facts, content)


def pack(
    model: keras.Model, *, builder: str, arguments: Mapping, **people: object
) -> tuple[dict, bytes]:
    """Makes what a preset's two files hold.

    Args:
        model: a trained network.
        builder: name of the builder that makes such a network, one of `BUILDERS`.
        arguments: of the builder, all but the hierarchy; JSON-ready.
        people: the entries for people: `normalization`, `data`, `license`, `accuracy`.

    Returns:
        The entries of the JSON file, and the content of the weights file.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: no network of this package, an unknown builder, or weights that float16 cannot
            hold.
    """
    parts = find_parts(model, allow_plain=True)
    if builder not in BUILDERS:
        raise ValueError(unknown_name("builder", builder, BUILDERS))
    arrays = {}
    for name, variable in named_weights(model).items():
        value = np.asarray(keras.ops.convert_to_numpy(variable), "float32")
        if value.ndim > 1:
            with np.errstate(over="ignore"):  # looked at below
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
        "builder": builder,
        "arguments": dict(arguments),
        "hierarchy": parts.hierarchy.get_config(),
        "threshold": parts.threshold and parts.threshold.get_config(),
        "weights": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
        **people,
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
        ValueError: the two do not fit each other, or the weights are damaged.
    """
    builder, names = BUILDERS[facts["builder"]]
    hierarchy = Hierarchy.from_config(facts["hierarchy"])
    model = builder(**{names: hierarchy, **facts["arguments"]})
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise ValueError(f"The weights of the preset are damaged: {error}. {AGAIN}") from error
    want = named_weights(model)
    refuse_difference(arrays, want, f"The weights do not fit the preset's network {model.name!r}.")
    for name, variable in want.items():
        variable.assign(arrays[name].astype("float32"))
    threshold = Threshold.of(facts["threshold"])
    return with_threshold(model, threshold) if threshold else model


def write(name: str, facts: Mapping, content: bytes, *, folder: str | os.PathLike) -> Path:
    """Writes a preset; each file is whole or not there.

    Args:
        name: what to call it: lower-case letters, digits and underscores.
        facts: from `pack`, with all entries for people.
        content: from `pack`.
        folder: where to write; it must exist.

    Returns:
        The JSON file.

    Raises:
        ValueError: a name of another form, or an entry is missing.
        OSError: writing failed.
    """
    check_name(name)
    if lost := [key for key in KEYS if key not in facts]:
        raise ValueError(f"The preset {name!r} lacks the entries {', '.join(lost)}.")
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    paths = {Path(folder) / f"{name}.npz": content, Path(folder) / f"{name}.json": text.encode()}
    parts = [path.with_name(f".{os.getpid()}.{path.name}") for path in paths]
    try:
        for part, some in zip(parts, paths.values(), strict=True):
            part.write_bytes(some)
        for part, path in zip(parts, paths, strict=True):
            os.replace(part, path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return Path(folder) / f"{name}.json"


def check_name(name: str) -> None:
    """Refuses what cannot be the name of a new preset.

    Raises:
        ValueError: it has other characters than lower-case letters, digits and underscores, or
            begins with a digit.
    """
    if not name.isidentifier() or not name.isascii() or name != name.lower():
        raise ValueError(
            "The name of a preset has lower-case letters, digits and underscores and begins with "
            f"no digit, got {name!r}."
        )
