"""Writing files and folders whole or not at all: under a temporary name first, then renamed.

A process that is killed while it writes leaves the old file untouched, and at most a temporary
file beside it; the next writer of the same file removes that. What cannot be written for want of
space or permission is an `OSError` that names the file and the way on. Standard library only.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# .STEM.RANDOM-PROCESS.tmp.SUFFIX; earlier versions had no number of the process.
_TEMPORARY = re.compile(r"\.(?P<stem>.*)\.[0-9a-f]{8}(-(?P<process>[0-9]+))?\.tmp(\..*)?")
_STEM = 40  # characters of a file's name that its temporary name keeps
_FULL = "Free some space there, or write to another disk, and run this again."
_FORBIDDEN = "Write to another folder, or change who may write there, and run this again."
# What keeps a file from being written -> the way on.
_WAYS_ON = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "The limit is that of the file system or of `ulimit -f`. Write to another disk, "
    "or raise the limit, and run this again.",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "Write to another folder, and run this again.",
    errno.EIO: "The disk may be broken or gone. Write to another one, and run this again.",
    errno.ENOENT: "Its folder does not exist, or was removed meanwhile. Make it, and run this "
    "again.",
    errno.EEXIST: "A file has that name. Write to another folder, or move the file.",
    errno.ENOTDIR: "A part of its path is a file, not a folder. Write to another folder.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}
_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # only writers meet these
_active: set[str] = set()  # names of the temporary files that this process is writing


@contextlib.contextmanager
def naming_unwritten(path: str | os.PathLike, *inside: Path) -> Iterator[None]:
    """Turns an error for want of space or permission into one that names the file.

    Libraries that write files report such an error without a path, with the path of a temporary
    file, or in an exception of their own; and none says what to do.

    Args:
        path: the file or folder that the block writes.
        *inside: temporary files and folders that the block writes it to.

    Raises:
        OSError: of the same class and `errno`, with `path`, the reason and the way on. Errors
            about other files, and all that have other reasons, pass unchanged.

    Example:

    >>> with naming_unwritten("notes.txt"):
    ...     _ = Path("notes.txt").write_text("an error would name the file")
    """
    try:
        yield
    except Exception as error:
        if (named := _named(error, Path(path), inside)) is None:
            raise
        raise named from error


def _named(error: Exception, path: Path, inside: tuple[Path, ...]) -> OSError | None:
    """The error that names a file, or `None` if the reason is none of those in `_WAYS_ON`."""
    below = [Path(os.path.abspath(place)) for place in (*inside, path)]
    for one in _chain(error):
        code = one.errno if isinstance(one, OSError) else None
        reason = os.strerror(code) if code in _WAYS_ON else str(one).strip().rstrip(".")
        if code not in _WAYS_ON:
            code = next((c for c in _OUT_OF_SPACE if os.strerror(c) in reason), None)
        if code is None:
            continue
        where = getattr(one, "unwritten", None) or getattr(one, "filename", None)
        place = Path(os.path.abspath(where)) if isinstance(where, str | os.PathLike) else below[-1]
        home = next((one for one in below if place.is_relative_to(one)), None)
        if home is None and code not in _OUT_OF_SPACE:
            return None  # about a file that is read
        if home is not None:
            place = path / place.relative_to(home)
        named = type(OSError(code, ""))(f"{place} cannot be written: {reason}. {_WAYS_ON[code]}")
        named.errno = code
        named.unwritten = place  # type: ignore[attr-defined]
        return named
    return None


def with_way_on(error: BaseException) -> str:
    """The text of an error; if it is for want of space and names no file, with the way on.

    Args:
        error: one that ends a command.
    """
    if not isinstance(error, OSError) or error.errno not in _OUT_OF_SPACE:
        return str(error)
    if error.strerror is None:  # it has a text of its own
        return str(error)
    where = error.filename or f"the output, or a temporary file in {tempfile.gettempdir()}"
    return f"{where} cannot be written: {os.strerror(error.errno)}. {_WAYS_ON[error.errno]}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those that it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def write_file(path: str | os.PathLike, content: bytes | str) -> None:
    """Writes a file whole or not at all.

    Args:
        path: the file to make or replace. Its folder must exist.
        content: the bytes, or text that is written in UTF-8.

    Raises:
        OSError: it cannot be written. What was there before stays.

    Example:

    >>> write_file("results.json", json.dumps({"top1": 0.96}))
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

    >>> write_files({"notes.txt": "of two files", "notes.bin": b"both or none"})
    """
    with replacing_files(*contents) as temporaries:
        for path, temporary, content in zip(contents, temporaries, contents.values(), strict=True):
            data = content.encode() if isinstance(content, str) else content
            with naming_unwritten(path, temporary):
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

    Raises:
        OSError: it cannot be made.
    """
    folder = Path(path).parent
    with naming_unwritten(folder):
        folder.mkdir(parents=True, exist_ok=True)
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
    with replacing_files(path) as (temporary,), naming_unwritten(path, temporary):
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
    ...     np.savez(arrays, bias=np.zeros(3))
    ...     _ = facts.write_text(json.dumps({"bias": 3}))
    """
    targets = [Path(path) for path in paths]
    temporaries = tuple(map(_temporary, targets))
    names = {temporary.name for temporary in temporaries}
    _active.update(names)
    try:
        yield temporaries
        for temporary, target in zip(temporaries, targets, strict=True):
            if target.is_dir():
                raise IsADirectoryError(f"{str(target)!r} is a folder. Name a file.")
            with naming_unwritten(target, temporary), open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        for temporary, target in zip(temporaries, targets, strict=True):
            with naming_unwritten(target, temporary):
                os.replace(temporary, target)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)
        _active.difference_update(names)


def is_taken(path: Path) -> bool:
    """Whether something is where a new folder is to be made: a file, or a folder with content."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


@contextlib.contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary folder to fill; renames it to `path` where the block succeeds.

    Args:
        path: the folder to make. It must not exist yet, or be empty.

    Raises:
        OSError: it cannot be made. Nothing is left behind.

    Example:

    >>> with new_folder("new.pack") as temporary:
    ...     write_file(temporary / "manifest.json", "{}")
    """
    target = Path(path)
    if target.name in _active:  # it is temporary itself, so it needs no second name
        yield target
        return
    temporary = _temporary(target)
    _active.add(temporary.name)
    try:
        with naming_unwritten(target, temporary):
            temporary.mkdir()
            yield temporary
            os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _active.discard(temporary.name)


def is_temporary(path: Path) -> bool:
    """Whether a path is a temporary one of this module, by its name."""
    return bool(_TEMPORARY.fullmatch(path.name))


def remove_temporary_files(folder: str | os.PathLike) -> None:
    """Removes the temporary files that killed processes left in a folder.

    Only for a folder that no other process writes to.
    """
    for path in Path(folder).iterdir():
        if is_temporary(path) and path.is_file():
            path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """An unused hidden name in the folder of a file, with the same suffix.

    Those of the same file that processes left which do not run any more are removed.
    """
    stem = path.stem[:_STEM]
    with contextlib.suppress(OSError):  # the folder is missing: the writer will say so
        for found in path.parent.glob(f".{_literal(stem)}.*.tmp{_literal(path.suffix)}"):
            match = _TEMPORARY.fullmatch(found.name)
            if match and match["process"] and found.name not in _active:
                if not _runs(int(match["process"])):
                    with contextlib.suppress(OSError):
                        shutil.rmtree(found) if found.is_dir() else found.unlink()
    name = f".{stem}.{uuid.uuid4().hex[:8]}-{os.getpid()}.tmp{path.suffix}"
    return path.with_name(name)


def _literal(text: str) -> str:
    """A text for which a pattern of file names stands for itself."""
    return re.sub(r"([*?\[])", r"[\1]", text)


def _runs(process: int) -> bool:
    """Whether a process runs that is not this one (whose temporary files are known)."""
    if process == os.getpid():
        return False
    if os.name != "posix":  # elsewhere, `os.kill` cannot ask
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it runs, and belongs to another user
        return True
    return True
