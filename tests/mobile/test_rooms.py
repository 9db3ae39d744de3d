"""The rooms of the mobile side import down only."""

import ast
import pathlib

import keras_seqpar.mobile

FOLDER = pathlib.Path(keras_seqpar.mobile.__file__).parent
# From the ground up.
FLOORS = ["runtime", "run", "format", "images", "network", "quantization", "export", "explorer"]
FLOORS += ["checking"]


def floor(name: str) -> int:
    """The floor of a dotted name below `keras_seqpar.mobile`."""
    return FLOORS.index(name.split(".")[2])


def test_rooms_import_down_only():
    up = []
    for path in sorted(FOLDER.rglob("*.py")):
        where = path.relative_to(FOLDER)
        if where.name == "__init__.py":  # names are imported when they are used
            continue
        mine = floor(".".join(("keras_seqpar", "mobile", *where.with_suffix("").parts)))
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom):
                continue
            name = node.module
            if name == "keras_seqpar" and any(alias.name == "mobile" for alias in node.names):
                name = "keras_seqpar.mobile"
            # The names of the package itself are of all floors, so only the top may use them.
            theirs = len(FLOORS) - 1 if name == "keras_seqpar.mobile" else None
            if name.startswith("keras_seqpar.mobile."):
                theirs = floor(name)
            if theirs is not None and theirs > mine:
                up.append(f"{where}: {name}")
    assert not up, "\n".join(up)
