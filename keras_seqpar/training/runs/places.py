"""Where the files and folders lie that the flags of a run name.

A run is resumed from another working directory, or after it or its data was moved. So flags.json
keeps, beside the flags as they were given, each path from the root and from the run's folder, and
the SHA-256 of single files, by which a moved file is recognized.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DATA = ("dataset", "data", "data_dir")  # recognized by what they hold, see data/fingerprints.py
FILES = ("hierarchy", "teacher", "init")
_KINDS = ("folder:", "archive:", "timm:")  # what may stand before a path


def split_path(value: Any) -> tuple[str, str]:
    """The kind and the path of a flag's value, for example `("folder:", "pets")`."""
    text = value if isinstance(value, str) else ""
    kind = next((kind for kind in _KINDS if text.startswith(kind)), "")
    return kind, text[len(kind) :]


def find_places(values: Mapping[str, Any], folder: str | os.PathLike) -> dict[str, dict[str, str]]:
    """Where the files and folders are that flags name.

    Args:
        values: flags by name.
        folder: the folder of the run.

    Returns:
        Flag -> `path`, from the root; `from_run`, from the run's folder; and `sha256` of a file
        that is not data. Only of flags that name something that exists.

    Raises:
        OSError: a file cannot be read.
    """
    places: dict[str, dict[str, str]] = {}
    for name in (*DATA, *FILES):
        _, text = split_path(values.get(name))
        path = Path(text).expanduser()
        if not text or not (path.exists() if name in DATA else path.is_file()):
            continue
        absolute = os.path.abspath(path)
        places[name] = {"path": absolute}
        if os.path.splitdrive(absolute)[0] == os.path.splitdrive(os.path.abspath(folder))[0]:
            places[name]["from_run"] = os.path.relpath(absolute, folder)
        if name in FILES:
            with open(path, "rb") as file:
                places[name]["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return places


def locate(value: Any, place: Mapping[str, str], folder: str | os.PathLike) -> Any:
    """The value of a flag with the path at which its file or folder is now.

    Args:
        value: of the flag, as it was given.
        place: its entry of `find_places`.
        folder: the folder of the run, where it is now.

    Returns:
        The value with the path from the root, from the working directory, or from the run's
        folder: the first that exists. The value itself where there is none.
    """
    kind, text = split_path(value)
    if not place:
        return value
    candidates = [Path(place["path"]), Path(text).expanduser()]
    if "from_run" in place:
        candidates.append(Path(folder) / place["from_run"])
    found = next((path for path in candidates if path.exists()), None)
    return value if found is None else kind + os.path.abspath(found)
