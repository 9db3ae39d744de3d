"""Files of results, which docs/contributing.md describes."""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_seqpar.utils.files import write_json


def update(path: Path, rows: Sequence[Sequence[Any]], note: str | None = None) -> None:
    """Writes rows and today's date into a file of results; the rest of it stays.

    Args:
        path: the file.
        rows: of its columns.
        note: takes the place of its notes; `None` to keep them.
    """
    table = json.loads(path.read_text("utf-8"))
    table |= {"date": datetime.date.today().isoformat(), "rows": rows}
    write_json(path, table if note is None else table | {"notes": [note]})
