"""A file that grows part by part and can be used at any time. Standard library only."""

import contextlib
import io
import os
from pathlib import Path

from keras_seqpar.utils.files import naming_unwritten


class GrowingFile:
    """A file that grows under its own name: each part is in it whole or not at all.

    It can be read at any time, also after the process was killed. An existing file is replaced at
    the first part; without parts there is no file.

    Args:
        path: the file.

    Example:

    >>> with GrowingFile("watch.csv") as file:
    ...     file.append(b"frame,ms")
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._file: io.FileIO | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a part already."""
        return self._file is not None

    def append(self, part: bytes) -> None:
        """Writes a part to the end of the file, at once.

        Raises:
            OSError: it cannot be written; the file ends as before.
        """
        with naming_unwritten(self.path):
            is_new = self._file is None
            file = self._file = self._file or open(self.path, "wb", buffering=0)
            start, left = file.seek(0, os.SEEK_END), memoryview(part)
            try:
                while left:
                    left = left[file.write(left) :]
            except BaseException:  # also Ctrl-C
                with contextlib.suppress(OSError):
                    file.truncate(start)
                if is_new:
                    self.close()
                    self.path.unlink(missing_ok=True)
                raise

    def overwrite(self, start: int, content: bytes) -> None:
        """Replaces bytes that are in the file.

        Raises:
            OSError: they cannot be written.
        """
        if self._file is not None:
            with naming_unwritten(self.path):
                self._file.seek(start)
                self._file.write(content)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "GrowingFile":
        return self

    def __exit__(self, *_) -> None:
        self.close()
