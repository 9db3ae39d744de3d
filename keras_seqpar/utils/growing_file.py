"""A file that grows part by part and can be used at any time. Standard library only."""

import contextlib
import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()


class GrowingCsv(GrowingFile):
    """A CSV file that is complete after each row. Numbers have 5 digits; `None` is an empty field.

    An existing file is replaced at the first row.

    Args:
        path: the file.
        columns: keys of the rows, in order.

    Example:

    >>> with GrowingCsv("watch.csv", ["frame", "ms"]) as lines:
    ...     lines.write({"frame": 0, "ms": 12.7})
    """

    def __init__(self, path: str | os.PathLike, columns: Sequence[str]):
        super().__init__(path)
        self._columns = columns

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds a row.

        Raises:
            OSError: the file cannot be written; it names the file.
        """
        texts = {k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()}
        text = io.StringIO()
        lines = csv.DictWriter(text, self._columns, lineterminator="\n")
        if not self.is_open:
            lines.writeheader()
        lines.writerow(texts)
        self.append(text.getvalue().encode())
