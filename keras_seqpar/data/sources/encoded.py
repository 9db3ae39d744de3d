"""Encoded images where they are: small to keep, and small to send to other processes.

A sequence of places has one of these forms. Its items are the encoded bytes, or the path of a file.
"""

import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

UNKNOWN = -1  # in place of a CRC-32
TAR = -1  # the method of a `Span` that is not packed
_ZIP_HEADER = 30  # bytes, then the name and an extra field
_ZIP_METHODS = (0, 8)  # stored, deflated


class Span(NamedTuple):
    """Where a file is in an archive.

    Args:
        start: where its bytes begin; in a zip, its header.
        packed: bytes in the archive.
        size: bytes, unpacked.
        method: how it is packed: zip's number, or `TAR`.
        crc: CRC-32 that a zip states.
    """

    start: int
    packed: int
    size: int
    method: int
    crc: int

    @property
    def readable(self) -> bool:
        """Whether `Spans` reads it."""
        return self.method in (TAR, *_ZIP_METHODS)


class Spans(Sequence):
    """Files of one archive, each read when it is asked for.

    Args:
        path: the archive.
        spans: where they are in it.
    """

    def __init__(self, path: str | os.PathLike, spans: Sequence[Span]):
        self.path = os.path.abspath(os.path.expanduser(path))
        self.table = np.array(spans, "int64").reshape(-1, len(Span._fields))

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index) -> Any:  # bytes
        span = Span(*self.table[index].tolist())
        with open(self.path, "rb") as stream:
            start = span.start
            if span.method != TAR:
                stream.seek(start)
                header = stream.read(_ZIP_HEADER)
                start += _ZIP_HEADER + int.from_bytes(header[26:28], "little")
                start += int.from_bytes(header[28:30], "little")
            stream.seek(start)
            content = stream.read(span.packed)
        if span.method == 8:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, max(span.size, 1))
        damaged = span.method != TAR and zlib.crc32(content) != span.crc
        if len(content) != span.size or damaged:
            raise OSError(f"{self.path} is damaged, or was replaced while it was used")
        return content


class Files(Sequence):
    """Paths of files, in one piece of memory.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Iterable[Path]):
        names = [os.fsencode(os.path.abspath(path)) for path in paths]
        self.names = b"".join(names)
        self.ends = np.cumsum([0, *map(len, names)])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index) -> Any:  # a path
        return Path(os.fsdecode(self.names[self.ends[index] : self.ends[index + 1]]))


class Some(Sequence):
    """Some places of a sequence of places.

    Args:
        places: the sequence.
        rows: which of them.
    """

    def __init__(self, places: Sequence, rows: np.ndarray):
        self.places, self.rows = places, np.asarray(rows, "int64")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):
        return self.places[int(self.rows[index])]


class Encoded(NamedTuple):
    """The encoded images of a split.

    Args:
        names: name of every image, for messages.
        labels: `(images,)` category index of every image, `int32`.
        places: where they are, by image.
        contents: their sizes and CRC-32, `(images, 2)` int64, where the source tells them without
            reading them; a CRC-32 may be `UNKNOWN`.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    places: Sequence
    contents: np.ndarray | None = None

    @classmethod
    def of(cls, records: Sequence[tuple[str, int, Any]], archive: str | None = None) -> "Encoded":
        """From names, category indices, and bytes or paths or spans.

        Args:
            records: one per image.
            archive: the archive that the spans are of.
        """
        names, labels, places = zip(*records, strict=True) if records else ((), (), ())
        kept: Sequence = places
        contents = None
        if places and isinstance(places[0], Path):
            kept = Files(places)
        elif places and isinstance(places[0], Span):
            assert archive is not None
            kept = Spans(archive, places)
            known = [(span.size, UNKNOWN if span.method == TAR else span.crc) for span in places]
            contents = np.array(known, "int64")
        return cls(names, np.array(labels, "int32"), kept, contents)

    def take(self, rows: np.ndarray) -> "Encoded":
        """Some of the images."""
        return Encoded(
            tuple(self.names[i] for i in rows),
            self.labels[rows],
            Some(self.places, rows),
            None if self.contents is None else self.contents[rows],
        )


def in_memory(places: Sequence) -> bool:
    """Whether reading a place reads no file."""
    return isinstance(places.places if isinstance(places, Some) else places, (tuple, list))
