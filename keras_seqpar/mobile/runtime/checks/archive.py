"""Reads the zip archive at the end of a .tflite file. Standard library only."""

import io
import zipfile
import zlib
from collections.abc import Sequence

MOST_BYTES = 64 * 2**20  # of all files that are read, unpacked
MOST_FILES = 1000
_END, _END_64 = b"PK\5\6", b"PK\6\7"  # of the record that lists the files, and of its large form
_ENCRYPTED = 1
_WAYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_archive(data: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """Reads files of an archive.

    Args:
        data: a .tflite file.
        names: the files.

    Returns:
        Name -> content.

    Raises:
        ValueError: the archive is damaged, lacks a file, or would unpack to more than
            `MOST_BYTES`.
    """
    if not names:
        return {}
    end = data.rfind(_END)
    if end < 0:
        raise ValueError(f"the archive with {names[0]!r} at its end is missing")
    if (
        int.from_bytes(data[end + 10 : end + 12], "little") > MOST_FILES
        or _END_64 in data[end - 20 : end]
    ):
        raise ValueError(f"the archive at its end has more than {MOST_FILES:,} files")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [archive.getinfo(name) for name in dict.fromkeys(names)]
            if sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise ValueError(f"the files in it would unpack to more than {MOST_BYTES:,} bytes")
            if any(e.compress_type not in _WAYS or e.flag_bits & _ENCRYPTED for e in entries):
                raise ValueError("the files in it are encrypted, or packed in a way of few readers")
            return {entry.filename: archive.read(entry) for entry in entries}
    except KeyError as error:
        raise ValueError(f"the archive at its end lacks a file: {error.args[0]}") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as error:
        raise ValueError(f"the archive at its end cannot be read ({error})") from None
