"""Writing files and folders whole or not at all: under a temporary name first, then renamed.

A process that is killed while it writes leaves the old file untouched, and at most a temporary
file beside it. Standard library only.
"""

import contextlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.tmp(\..*)?")
_STEM = 40  # characters of a file's name that its temporary name keeps


def write_file(path: str | os.PathLike, content: bytes | str) -> None:
    """Writes a file whole or not at all.

    Args:
        path: the file to make or replace. Its folder must exist.
        content: the bytes, or text that is written in UTF-8.

    Raises:
        OSError: it cannot be written. What was there before stays.

    Example:

    >>> write_file("results.json", json.dumps(results))
    """
    write_files({path: content})


def write_files(contents: Mapping[str | os.PathLike, bytes | str]) -> None:
    """Writes several files that become valid together.

    All are written under temporary names first and then renamed in the order given, so the file
    that readers begin with must come last: its renaming makes all of them valid.

    Args:
        contents: path -> the bytes, or text that is written in UTF-8.

    Raises:
        OSError: one of them cannot be written; then none is renamed.

    Example:

    >>> write_files({"net.labels.txt": labels, "net.tflite": model})
    """
    with replacing_files(*contents) as temporaries:
        for temporary, content in zip(temporaries, contents.values(), strict=True):
            data = content.encode() if isinstance(content, str) else content
            temporary.write_bytes(data)


def write_json(path: str | os.PathLike, facts: Any) -> None:
    """Writes results as JSON, whole or not at all; makes the folder where it is missing.

    Args:
        path: the file to make or replace.
        facts: what `json.dumps` takes.

    Raises:
        OSError: the file cannot be written.
        TypeError: `facts` hold something that JSON does not know.

    Example:

    >>> write_json("out/results.json", {"top1": 0.96})
    """
    write_file(make_folder(path), json.dumps(facts, indent=2) + "\n")


def make_folder(path: str | os.PathLike) -> Path:
    """Makes the folder of a file where it is missing.

    Returns:
        The path of the file.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Path(path)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path to write to; renames it to `path` where the block succeeds.

    Args:
        path: the file to make or replace. The temporary path is in the same folder and has the
            same suffix, for writers that choose the format by it.

    Raises:
        OSError: the file cannot be written. What was there before stays.

    Example:

    >>> with replacing("net.keras") as temporary:
    ...     model.save(temporary)
    """
    with replacing_files(path) as (temporary,):
        yield temporary


@contextlib.contextmanager
def replacing_files(*paths: str | os.PathLike) -> Iterator[tuple[Path, ...]]:
    """Yields a temporary path per file; renames all where the block succeeds.

    Args:
        *paths: the files to make or replace, in the order of renaming: the one that readers
            begin with comes last.

    Raises:
        OSError: one cannot be written; then none is renamed.

    Example:

    >>> with replacing_files("net.npz", "net.json") as (arrays, facts):
    ...     np.savez(arrays, **weights)
    ...     facts.write_text(json.dumps(about))
    """
    targets = [Path(path) for path in paths]
    temporaries = tuple(map(_temporary, targets))
    try:
        yield temporaries
        for temporary, target in zip(temporaries, targets, strict=True):
            if target.is_dir():
                raise IsADirectoryError(f"{str(target)!r} is a folder. Name a file.")
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        for temporary, target in zip(temporaries, targets, strict=True):
            os.replace(temporary, target)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary folder to fill; renames it to `path` where the block succeeds.

    Args:
        path: the folder to make. It must not exist yet, or be empty.

    Raises:
        OSError: it cannot be made. Nothing is left behind.

    Example:

    >>> with new_folder("pets.pack") as temporary:
    ...     write_file(temporary / "manifest.json", text)
    """
    target = Path(path)
    temporary = _temporary(target)
    temporary.mkdir()
    try:
        yield temporary
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_temporary_files(folder: str | os.PathLike) -> None:
    """Removes the temporary files that killed processes left in a folder.

    Only for a folder that no other process writes to.
    """
    for path in Path(folder).iterdir():
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """An unused hidden name in the folder of a file, with the same suffix."""
    name = f".{path.stem[:_STEM]}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}"
    return path.with_name(name)
