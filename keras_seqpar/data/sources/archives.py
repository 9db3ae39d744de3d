"""Files of a .zip or .tar archive, listed as in a folder and read without unpacking."""

import contextlib
import dataclasses
import functools
import io
import posixpath
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_seqpar.data.sources.encoded import TAR, Span

# The first bytes of what can be read, and where they are.
_ZIP = ((0, b"PK\3\4"), (0, b"PK\5\6"))
_TAR = ((0, b"\x1f\x8b"), (0, b"BZh"), (0, b"\xfd7zXZ\0"), (257, b"ustar"))
_MOST_FOLDER_LINKS = 1000
_MOST_PARTS = 1000  # of a path, and of all that links in it lead to
_CHUNK = 2**20


class Member(NamedTuple):
    """A file of an archive.

    Args:
        offset: where it begins in the archive.
        size: bytes, unpacked.
        read: returns them, as long as the archive is open.
        span: where they can be read later; `None` where all before them must be unpacked.
    """

    offset: int
    size: int
    read: Callable[[], bytes]
    span: Span | None


@dataclasses.dataclass
class Listing:
    """What a folder or an archive holds. Names are paths from its top, with slashes.

    Args:
        files: name -> where the file is.
        folders: names of folders, of empty ones too where the source knows them.
        lost: links to nothing.
    """

    files: dict[str, Any] = dataclasses.field(default_factory=dict)
    folders: set[str] = dataclasses.field(default_factory=set)
    lost: list[str] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def open_archive(path: str) -> Iterator[Listing]:
    """Lists an archive, and keeps it open so that its members can be read.

    Of files of the same name the last one counts, as after unpacking. Links within the archive
    are followed.

    Args:
        path: a .zip or .tar, also compressed (.tar.gz, .tar.bz2, .tar.xz).

    Raises:
        ValueError: it is damaged or cut off, encrypted, packed in a way that Python does not
            read, or no archive.
        OSError: it cannot be opened.
    """
    file = Path(path).expanduser()
    with contextlib.ExitStack() as stack:
        with reading(path):
            kind = _kind(file)
            listed = _list_zip(file, stack) if kind == "zip" else _list_tar(file, stack)
        yield listed


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turns the many errors of damaged archives into one `ValueError` that names the archive."""
    try:
        yield
    except (PermissionError, FileNotFoundError, MemoryError):
        raise
    except NotImplementedError as error:
        raise ValueError(
            f"The archive {path!r} is packed in a way that Python does not read ({error}). "
            "Unpack it and use folder:PATH."
        ) from error
    except _Refused as error:
        raise ValueError(f"The archive {path!r} {error}") from None
    except Exception as error:  # zlib, lzma, struct, tarfile and zipfile have one each
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"The archive {path!r} is damaged or cut off ({reason}). Copy or download it again."
        ) from error


class _Refused(Exception):
    """The end of a sentence that begins with the archive."""


def _kind(file: Path) -> str:
    with open(file, "rb") as stream:
        start = stream.read(512)
    if not start:
        raise _Refused("is empty: it has 0 bytes. Copy or download it again.")
    for kind, magic in (("zip", _ZIP), ("tar", _TAR)):
        if any(start[at:].startswith(content) for at, content in magic):
            return kind
    if zipfile.is_zipfile(file):  # after other bytes, as in archives that unpack themselves
        return "zip"
    with contextlib.suppress(tarfile.TarError):  # before POSIX there was no magic
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
        return "tar"
    raise _Refused("is neither a .zip nor a .tar (.tar.gz, .tar.bz2, .tar.xz).")


def _list_zip(file: Path, stack: contextlib.ExitStack) -> Listing:
    if not zipfile.is_zipfile(file):
        raise zipfile.BadZipFile("the list of files at its end is missing")
    archive = stack.enter_context(zipfile.ZipFile(file))
    listing, links = Listing(), {}
    for item in archive.infolist():
        if item.flag_bits & 1:
            raise _Refused("is encrypted. Unpack it with its password and use folder:PATH.")
        raw = item.filename
        if not item.flag_bits & 0x800:  # macOS writes UTF-8 without saying so
            with contextlib.suppress(UnicodeError):
                raw = raw.encode("cp437").decode()
        name = normal(raw)
        mode = item.external_attr >> 16
        if raw.endswith(("/", "\\")):
            listing.folders.add(name)
        elif stat.S_ISLNK(mode):
            links[name] = _target(name, _unpack(archive, item).decode("utf-8", "replace"))
        else:
            read = functools.partial(_unpack, archive, item)
            numbers = item.compress_size, item.file_size, item.compress_type, item.CRC
            span = Span(item.header_offset, *numbers)
            listing.files[name] = Member(
                item.header_offset, item.file_size, read, span if span.readable else None
            )
    return _follow(links, listing)


def _unpack(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> bytes:
    with archive.open(item) as stream:
        return stream.read(item.file_size)  # never more than was stated


def _list_tar(file: Path, stack: contextlib.ExitStack) -> Listing:
    tar = stack.enter_context(tarfile.open(file))
    compressed = not isinstance(tar.fileobj, io.BufferedReader)  # else gzip's, bz2's or lzma's
    listing, links = Listing(), {}
    for member in tar:
        name = normal(member.name)
        if member.isdir():
            listing.folders.add(name)
        elif member.islnk():
            links[name] = normal(member.linkname)
        elif member.issym():
            links[name] = _target(name, member.linkname)
        elif member.isfile():
            read = functools.partial(_extract, tar, member)
            span = Span(member.offset_data, member.size, member.size, TAR, 0)
            plain = not compressed and not member.issparse()
            listing.files[name] = Member(
                member.offset_data, member.size, read, span if plain else None
            )
    _check_end(tar)
    return _follow(links, listing)


def _check_end(tar: tarfile.TarFile) -> None:
    """Raises where an archive ends without its last block: tarfile takes that for the end."""
    stream = tar.fileobj
    assert stream is not None
    stream.seek(tar.offset)
    if stream.read(512) != bytes(512):
        raise tarfile.ReadError("its end is missing or not a header")
    while stream.read(_CHUNK):  # compressed files have their checksum at the end
        pass


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    content = stream.read() if stream else b""
    if len(content) < member.size:
        raise tarfile.ReadError(f"unexpected end of {member.name}")
    return content


def normal(name: str) -> str:
    r"""A path from the top, with slashes, also where a Windows program wrote backslashes only.

    Example:

    >>> normal("./train/cat/a.jpg"), normal(r"train\cat\a.jpg")
    ('train/cat/a.jpg', 'train/cat/a.jpg')
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join(parts) if len(parts) > 1 else "".join(parts).replace("\\", "/").strip("/")


def _target(name: str, link: str) -> str:
    """Where a symbolic link leads: a path from the top."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), link))


def _follow(links: dict[str, str], listing: Listing) -> Listing:
    """Lists what links lead to under their own names; as in a folder, not in circles."""
    files, folders, entries = dict(listing.files), set(listing.folders), {"": set[str]()}
    for name in (*files, *folders, *links):
        while name:
            above, _, last = name.rpartition("/")
            if last in entries.setdefault(above, set()):
                break
            entries[above].add(last)
            name = above
    folders |= set(entries)
    waiting = [(name, name, tuple(_above(name))) for name in links]
    followed = 0
    while waiting:
        name, inner, above = waiting.pop()
        source = _behind(inner, links)
        if source in files:
            listing.files[name] = files[source]
        elif source not in folders:
            listing.lost.append(name)
        else:
            listing.folders.add(name)
            followed += inner in links
            if followed > _MOST_FOLDER_LINKS:
                raise _Refused(
                    f"has more than {_MOST_FOLDER_LINKS} links to folders. Unpack it and use "
                    "folder:PATH."
                )
            if source not in above:
                start = source + "/" if source else ""
                waiting += [
                    (f"{name}/{last}", start + last, (*above, source))
                    for last in entries.get(source, ())
                ]
    return listing


def _above(name: str) -> list[str]:
    """The folders that a name lies in, up to the top."""
    parts = name.split("/")
    return ["/".join(parts[:i]) for i in range(len(parts))]


def _behind(name: str, links: Mapping[str, str]) -> str | None:
    """The path to which the links in a path lead, or `None` outside of the archive."""
    path, waiting = "", name.split("/")[::-1]
    for _ in range(_MOST_PARTS):
        if not waiting:
            return path
        path = f"{path}/{waiting.pop()}".lstrip("/")
        if path in links:
            target = links[path]
            if target.startswith(("/", "../")) or target == "..":
                return None
            path, waiting = "", waiting + ([] if target == "." else target.split("/")[::-1])
    return None  # links that lead to each other
