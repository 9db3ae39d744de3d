"""Settings: defaults of `recipes/train.py` for one purpose each, one file each.

    python recipes/train.py --setting two_cores --data_dir DIR
    python recipes/train.py --setting two_cores --dataset folder:PATH

Each file says in its docstring what it is for, on what hardware it was measured, how long it
took and what came out, and holds `FLAGS`: what differs from the defaults of train.py. Flags on
the command line win.
"""

import importlib
import pkgutil

NAMES = sorted(module.name for module in pkgutil.iter_modules(__path__))


def read(name: str) -> dict:
    """Returns the flags of a setting."""
    return dict(importlib.import_module(f"{__name__}.{name}").FLAGS)
