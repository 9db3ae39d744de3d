"""Settings: files with defaults of recipes/train.py, each for one purpose.

    python recipes/train.py --setting two_cores --data_dir DIR
    python recipes/train.py --setting two_cores --dataset folder:PATH

The comment in each file states its purpose and, if it was measured, the hardware, the time and the
result. The file has the flags that differ from the defaults of train.py. Flags on the command line
take precedence.
"""

import tomllib
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of all settings."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def read(name: str) -> dict[str, Any]:
    """Returns the flags of a setting.

    Args:
        name: one of `names()`.
    """
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8"))
