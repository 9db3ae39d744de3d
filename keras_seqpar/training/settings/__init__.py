"""Settings: defaults of recipes/train.py for one purpose each, one file each.

    python recipes/train.py --setting two_cores --data_dir DIR
    python recipes/train.py --setting two_cores --dataset folder:PATH

The comment in each file says what it is for, on what hardware it was measured, how long it
took and what came out. Below are the flags that differ from the defaults of train.py. Flags on
the command line win.
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
