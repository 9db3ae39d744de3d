"""flags.json: the flags of a run, with which alone it can be resumed."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

import keras_seqpar
from keras_seqpar.data import fingerprints
from keras_seqpar.data.fingerprints import Fingerprint
from keras_seqpar.training.runs import places
from keras_seqpar.utils.files import is_temporary, write_files, write_json

LOCK = ".lock"  # held by the process that trains in the folder
_SAME_RESULT = ("checkpoint_steps", "checkpoint_minutes", "data_memory", "workers")
# Flags for places of files and ways to start, and those with which the result is the same; they may
# differ when a run is resumed.
CALL_FLAGS = (
    *("data", "data_dir", "features_dir", "output", "resume", "overwrite", "evaluate", "setting"),
    *_SAME_RESULT,
)
# Flags and values that had other names in runs of earlier versions, and flags they did not have.
_RENAMED = {"drop_path": "drop_path_rate"}
_RENAMED_VARIANTS = {"plain": "plain", "1branch": "one_branch"}
_ADDED = {
    "partial_init": False,
    "fused": False,
    "class_weight": "none",
    "sampling": "uniform",
    "best_by": "accuracy",
    "ema": 0.0,
    "accumulate_steps": 1,
    "clip_norm": 0.0,
    "patience": 0,
    "frozen_epochs": 0,
    "frozen_end": None,
    "trunk_rate": 1.0,
}
_UNUSED = ("frozen_views", "frozen_rate", "frozen_memory")  # without --frozen_epochs


def describe_start(values: Mapping[str, Any]) -> dict[str, Any]:
    """Describes a run before its data is read: its flags, and where what they name is.

    Args:
        values: all flags by name; `output` is the folder of the run.
    """
    return {"flags": dict(values), "places": places.find_places(values, values["output"])}


def describe(
    values: Mapping[str, Any],
    categories: Sequence[str],
    images: Mapping[str, int],
    contents: Fingerprint,
) -> dict[str, Any]:
    """Describes a run: its flags, data, backend and versions.

    Args:
        values: all flags by name; `output` is the folder of the run.
        categories: labels of the data, in the order of the logits.
        images: name of a split -> number of its images.
        contents: what the images are.
    """
    backend = keras.backend.backend()
    versions = {"python": platform.python_version(), "keras-seqpar": keras_seqpar.__version__}
    for package in ("keras", "numpy", backend):
        versions[package] = importlib.metadata.version(package)
    return {
        **describe_start(values),
        "categories": list(categories),
        "images": dict(images),
        "images_sha256": fingerprints.digest(contents),
        "backend": backend,
        "versions": versions,
    }


def write_start(folder: Path, values: Mapping[str, Any]) -> None:
    """Writes the flags of a run before its data is read, so that it can be resumed if it is killed.

    Args:
        folder: the folder of the run.
        values: all flags by name.
    """
    write_json(folder / "flags.json", describe_start(values))


def write_flags(folder: Path, about: Mapping, contents: Fingerprint) -> None:
    """Writes flags.json, and images.csv: what its images are.

    Args:
        folder: the folder of the run.
        about: from `describe`.
        contents: what the images are.
    """
    text = json.dumps(about, indent=2) + "\n"
    write_files({folder / "images.csv": fingerprints.to_csv(contents), folder / "flags.json": text})


def read_flags(folder: Path) -> dict[str, Any]:
    """Reads flags.json; flags of earlier versions get their present names.

    Raises:
        ValueError: it is missing or damaged.
    """
    path = folder / "flags.json"
    try:
        about = json.loads(path.read_text("utf-8"))
        if not isinstance(about["flags"], dict) or not isinstance(about.get("places", {}), dict):
            raise TypeError("its flags are no table")
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"{folder} has no {path.name}, in which a training describes its run. Name the folder "
            "of a training, or a network in it."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no flags file of a run: {error}") from error
    stored = {_RENAMED.get(name, name): value for name, value in about["flags"].items()}
    if variant := stored.pop("variant", None):
        stored["network"] = _RENAMED_VARIANTS.get(variant, "seqpar")
        stored["plan"] = variant if stored["network"] == "seqpar" else "late_sp"
    if not stored.get("freeze_trunk", True):  # it was replaced by --frozen_epochs
        del stored["freeze_trunk"]
    return {**about, "flags": stored}


def has_begun(folder: Path) -> bool:
    """Whether the run in a folder knew its data when it wrote flags.json.

    Raises:
        ValueError: flags.json is missing or damaged.
    """
    return "categories" in read_flags(folder)


def starts_anew(output: str, given: Collection[str]) -> bool:
    """Whether the run to resume was stopped before it wrote flags.json; prints it if so.

    Args:
        output: the folder of the run.
        given: names of the flags on the command line.

    Raises:
        ValueError: there is no run in the folder, and nothing says which to start.
    """
    folder = Path(output)
    if (folder / "flags.json").exists():
        return False
    left = folder.is_dir() and any(
        path.name != LOCK and not is_temporary(path) for path in folder.iterdir()
    )
    if left or folder.is_file():
        raise ValueError(
            f"There is no run to resume in {folder}: it has no flags.json, but other files. Check "
            "--output, or start anew without --resume."
        )
    if not set(given) - {"output", "resume", *CALL_FLAGS} | set(given) & {"setting"}:
        raise ValueError(
            f"There is no run to resume in {folder}: it has no flags.json. Check --output. If the "
            "run was stopped before it wrote that file, start it again with all its flags."
        )
    print(f"There is nothing to resume in {folder} yet: the run starts from the beginning.")
    return True


def located_flags(about: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The flags of a run, with paths at which its data and files are now.

    Args:
        about: from `read_flags`.
        folder: the folder of the run.
    """
    known = about.get("places", {})
    return {
        name: places.locate(value, known.get(name, {}), folder)
        for name, value in about["flags"].items()
    }


def resumed_values(values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """The flags of the run to resume, replaced by those on the command line.

    Args:
        values: all flags by name; `output` is the folder of the run.
        given: names of the flags on the command line.

    Raises:
        ValueError: there is no such run, or its data is not where it was.
    """
    folder = Path(values["output"])
    about = read_flags(folder)
    stored = located_flags(about, folder)
    made = dict(values)
    for name in values:
        left_open = name not in given
        if name in CALL_FLAGS and name not in _SAME_RESULT:
            left_open = values[name] is None
        if left_open and name in stored:
            made[name] = stored[name]
            place = about.get("places", {}).get(name, {}).get("path")
            if place and not os.path.exists(places.split_path(stored[name])[1]):
                kind, _ = places.split_path(stored[name])
                raise ValueError(
                    f"--{name} of the run in {folder} was {place}, where nothing is now. Say where "
                    f"it is: --{name} {kind}PATH. It is recognized by what it holds."
                )
    return made


def check_same(
    folder: Path,
    now: Mapping[str, Any],
    contents: Fingerprint,
    call_flags: Collection[str] = CALL_FLAGS,
) -> None:
    """Refuses to resume a run with other flags or data.

    Args:
        folder: the run folder.
        now: the description, from `describe`, of the run that is to continue it.
        contents: what the images are now.
        call_flags: flags that may differ.

    Raises:
        ValueError: the two differ; the message shows how.
    """
    before = read_flags(folder)
    for name, value in _ADDED.items():
        if name in now["flags"]:
            before["flags"].setdefault(name, value)
    for name in _UNUSED:
        if name in now["flags"]:
            before["flags"].setdefault(name, now["flags"][name])
    known = "images_sha256" in before
    differing = _other_values(before, now, call_flags)
    if known and before["images_sha256"] != now["images_sha256"]:
        differing += _other_images(folder, contents)
    if differing:
        raise ValueError(
            f"The run in {folder} has other flags or data:"
            + "".join(f"\n  {line}" for line in differing)
            + "\nResume it with the same flags (those left out are taken from the run) and images, "
            "or start a new run in another folder."
        )
    if not known:
        print(
            "Note: the run began with an earlier version, which did not record its images. Whether "
            "they are the same is not checked; from now on they are recorded."
        )
    if before.get("versions") != now["versions"]:
        print(f"Note: the run began with other versions: {before.get('versions')}.")


def _other_values(
    before: Mapping[str, Any], now: Mapping[str, Any], call_flags: Collection[str]
) -> list[str]:
    """Lines on flags and facts that differ; what is recognized by its content may have moved."""

    def flat(about: Mapping) -> dict:
        flags = {f"--{k}": v for k, v in about["flags"].items() if k not in call_flags}
        return flags | {k: about.get(k) for k in ("backend", "categories", "images")}

    old, new = flat(before), flat(now)
    kinds = [places.split_path(each.get("--dataset"))[0] for each in (old, new)]
    if all(kinds):  # a folder or an archive: its images tell
        old["--dataset"] = new["--dataset"]
    for name in places.FILES:
        hashes = [about.get("places", {}).get(name, {}).get("sha256") for about in (before, now)]
        if hashes[0] and hashes[0] == hashes[1]:
            old[f"--{name}"] = new[f"--{name}"]
        elif all(hashes) and old.get(f"--{name}") == new.get(f"--{name}"):
            new[f"--{name}"] = f"{new[f'--{name}']} with another content"
    return [
        f"{key}: {old.get(key)} in the run, {new.get(key)} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _other_images(folder: Path, contents: Fingerprint) -> list[str]:
    """Lines on how many images differ, with names."""
    path = folder / "images.csv"
    try:
        before = fingerprints.from_csv(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return [f"other images (which ones is unknown: {path} cannot be read: {error})"]
    return [f"images {line}" for line in fingerprints.differences(before, contents)]
