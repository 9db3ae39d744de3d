"""The SHA-256 that a .tflite file carries in its metadata. Standard library only.

The entry `keras_seqpar_sha256` of the model's metadata holds the same name again, a colon, and the
hash of the whole file with zeros in the place of the hash. The name is there twice, so that damage
to one of them is noticed, too.
"""

import hashlib
from collections.abc import Mapping

CHECKSUM = b"keras_seqpar_sha256"  # name of the entry
UNKNOWN = CHECKSUM + b":" + b"0" * 64  # its content before the hash is known


def sealed(data: bytes, start: int) -> bytes:
    """A file with its hash in the place of `UNKNOWN`, which begins at `start`."""
    digits = start + len(UNKNOWN) - 64
    return data[:digits] + _hash(data, digits).encode() + data[digits + 64 :]


def check_checksum(data: bytes, entries: Mapping[bytes, tuple[int, int]]) -> None:
    """Compares a file with the hash that it carries.

    Args:
        data: the file.
        entries: name of an entry of its metadata -> start and length of its content.

    Raises:
        ValueError: it has another hash, or only the rest of one.
    """
    start, length = entries.get(CHECKSUM, (0, 0))
    if not length and CHECKSUM not in data:
        return  # a file from elsewhere, or of an earlier version
    if length != len(UNKNOWN):
        raise ValueError("the SHA-256 in its metadata is incomplete")
    digits = start + length - 64
    said, found = data[digits : digits + 64].decode("ascii", "replace"), _hash(data, digits)
    if said.lower() != found:
        raise ValueError(
            f"the SHA-256 in its metadata is {said}, that of its content {found}: another tool "
            "changed it, or a copy failed"
        )


def _hash(data: bytes, digits: int) -> str:
    """The SHA-256 of a file with zeros for the 64 digits that begin at `digits`."""
    view = memoryview(data)
    found = hashlib.sha256(view[:digits])
    found.update(b"0" * 64)
    found.update(view[digits + 64 :])
    return found.hexdigest()
