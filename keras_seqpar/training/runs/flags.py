"""flags.json: the flags of a run, with which alone it can be resumed."""

import importlib.metadata
import json
import platform
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

import keras_seqpar
from keras_seqpar.utils.files import write_json

# Flags for places of files and ways to start; they may differ when a run is resumed.
CALL_FLAGS = ("data", "data_dir", "output", "resume", "overwrite", "evaluate", "setting")
# Flags and values that had other names in runs of earlier versions.
_RENAMED = {"drop_path": "drop_path_rate"}
_RENAMED_VARIANTS = {"plain": "plain", "1branch": "one_branch"}


def describe(
    values: Mapping[str, Any], categories: Sequence[str], images: Mapping[str, int]
) -> dict[str, Any]:
    """Describes a run: its flags, data, backend and versions.

    Args:
        values: all flags by name.
        categories: labels of the data, in the order of the logits.
        images: name of a split -> number of its images.
    """
    backend = keras.backend.backend()
    versions = {"python": platform.python_version(), "keras-seqpar": keras_seqpar.__version__}
    for package in ("keras", "numpy", backend):
        versions[package] = importlib.metadata.version(package)
    return {
        "flags": dict(values),
        "categories": list(categories),
        "images": dict(images),
        "backend": backend,
        "versions": versions,
    }


def write_flags(folder: Path, about: Mapping) -> None:
    """Writes flags.json."""
    write_json(folder / "flags.json", about)


def read_flags(folder: Path) -> dict[str, Any]:
    """Reads flags.json; flags of earlier versions get their present names.

    Raises:
        ValueError: it is missing or damaged.
    """
    path = folder / "flags.json"
    try:
        about = json.loads(path.read_text("utf-8"))
        if not isinstance(about["flags"], dict):
            raise TypeError("its flags are no table")
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"There is no run to resume in {folder}: it has no {path.name}. Check --output, or "
            "start anew without --resume."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no flags file of a run: {error}") from error
    stored = {_RENAMED.get(name, name): value for name, value in about["flags"].items()}
    if variant := stored.pop("variant", None):
        stored["network"] = _RENAMED_VARIANTS.get(variant, "seqpar")
        stored["plan"] = variant if stored["network"] == "seqpar" else "late_sp"
    return {**about, "flags": stored}


def resumed_values(values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """The flags of the run to resume, replaced by those on the command line.

    Args:
        values: all flags by name; `output` is the folder of the run.
        given: names of the flags on the command line.

    Raises:
        ValueError: there is no such run.
    """
    stored = read_flags(Path(values["output"]))["flags"]
    made = dict(values)
    for name in values:
        left_open = values[name] is None if name in CALL_FLAGS else name not in given
        if left_open and name in stored:
            made[name] = stored[name]
    return made


def check_same(
    folder: Path, now: Mapping[str, Any], call_flags: Sequence[str] = CALL_FLAGS
) -> None:
    """Refuses to resume a run with other flags or data.

    Args:
        folder: the run folder.
        now: the description, from `describe`, of the run that is to continue it.
        call_flags: flags that may differ.

    Raises:
        ValueError: the two differ; the message shows how.
    """

    def flat(about: Mapping) -> dict:
        flags = {f"--{k}": v for k, v in about["flags"].items() if k not in call_flags}
        return flags | {k: about.get(k) for k in ("backend", "categories", "images")}

    before = read_flags(folder)
    if "partial_init" in now["flags"]:  # earlier versions had no such flag
        before["flags"].setdefault("partial_init", False)
    old, new = flat(before), flat(now)
    differing = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
    if differing:
        raise ValueError(
            f"The run in {folder} has other flags or data:"
            + "".join(f"\n  {k}: {old.get(k)} in the run, {new.get(k)} now" for k in differing)
            + "\nResume it with the same flags (those left out are taken from the run), or start a "
            "new run in another folder."
        )
    if before.get("versions") != now["versions"]:
        print(f"Note: the run began with other versions: {before.get('versions')}.")
