"""The floors of the package: imports go down only, folders and files stay small."""

import ast
import collections
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "keras_seqpar"
# Rooms from the ground up. Rooms of one floor stand in the order in which they may import.
FLOORS = [
    *("utils", "hierarchy", "families", "networks", "weights", "surgery", "costs", "presets"),
    *("data", "training", "mobile", "selective", "benchmarking", "plots"),
]
# What works where only NumPy and an interpreter are installed.
LIGHT = [
    *("keras_seqpar.mobile.runtime", "keras_seqpar.selective.litert_engine"),
    *("keras_seqpar.selective.planning", "keras_seqpar.selective.streams", "keras_seqpar.utils"),
    *("keras_seqpar.selective.reporting", "keras_seqpar.selective.frame_stream"),
    "keras_seqpar.selective.regions",
]
HEAVY = {"keras", "tensorflow", "jax", "torch", "tf_keras", "flax"}
MOST_FILES, MOST_LINES = 14, 400


def modules():
    """Yields `(path, dotted name)` of every module of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE)
        parts = where.parent.parts if path.name == "__init__.py" else where.with_suffix("").parts
        yield path, ".".join(("keras_seqpar", *parts))


def imports(path, *, at_import=False):
    """Yields the dotted names that a file imports; `at_import`: only when it is imported."""
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))
        or (isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING")
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if at_import and id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name):
    """The room of a dotted name inside the package, or `None`."""
    parts = name.split(".")
    return parts[1] if parts[0] == "keras_seqpar" and len(parts) > 1 else None


def test_every_room_has_a_floor():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(FLOORS)


def test_imports_go_down_only():
    up = []
    for path, name in modules():
        mine = room(name)
        if mine is None:  # the package's own names are imported when they are used
            continue
        for imported in imports(path):
            theirs = room(imported)
            if theirs in FLOORS and FLOORS.index(theirs) > FLOORS.index(mine):
                up.append(f"{path.relative_to(PACKAGE)}: {imported}")
    assert not up, "\n".join(up)


def test_no_module_waits_for_itself():
    """Modules import each other without a circle, also inside functions."""
    names = {name for _, name in modules()}

    def module_of(imported):
        while imported not in names and "." in imported:
            imported = imported.rpartition(".")[0]
        return imported if imported in names else None

    graph = {name: {module_of(x) for x in imports(path)} - {None} for path, name in modules()}
    done, circle = set(), []

    def visit(name, above):
        if name in above:
            circle.append(" -> ".join([*above[above.index(name) :], name]))
            return
        if name not in done:
            for other in sorted(graph[name] - {name}):
                visit(other, [*above, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    assert not circle, "\n".join(circle)


def test_light_rooms_import_nothing_heavy():
    """Nothing that they import leads to Keras or a backend; NumPy is all they need."""
    graph = {name: set(imports(path, at_import=True)) for path, name in modules()}
    heavy = []

    def follow(name, way):
        for imported in sorted(graph[name]):
            if imported.partition(".")[0] in HEAVY:
                heavy.append(" -> ".join([*way, imported]))
            while imported not in graph and "." in imported:
                imported = imported.rpartition(".")[0]
            if imported in graph and imported not in seen:
                seen.add(imported)
                follow(imported, [*way, imported])

    for light in LIGHT:
        seen: set[str] = set()
        for name in graph:
            if name.startswith(light):
                follow(name, [name])
    assert not heavy, "\n".join(heavy)


def test_folders_and_files_stay_small():
    files = collections.Counter(path.parent for path, _ in modules())
    assert not [str(folder) for folder, count in files.items() if count > MOST_FILES]
    long = [path for path, _ in modules() if len(path.read_text().splitlines()) > MOST_LINES]
    assert not long


def test_no_public_function_has_the_name_of_a_module_beside_it():
    shadowed = []
    for path, name in modules():
        if path.name != "__init__.py":
            continue
        beside = {p.stem for p in path.parent.iterdir() if p.suffix == ".py" or p.is_dir()}
        public = next(
            (
                {e.value for v in node.values for e in v.elts}
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Dict)
            ),
            set(),
        )
        shadowed += [f"{name}.{each}" for each in sorted(public & beside)]
    assert not shadowed


@pytest.mark.parametrize("folder", ["recipes", "benchmarks"])
def test_commands_are_nothing_else(folder):
    """Every file is a command, and none imports another."""
    files = sorted((PACKAGE.parent / folder).rglob("*.py"))
    names = {path.stem for path in files}
    assert files
    for path in files:
        assert "__main__" in path.read_text(), f"{path} is no command"
        assert "sys.path" not in path.read_text(), f"{path} changes where modules are found"
        assert not names & {name.partition(".")[0] for name in imports(path)}, path
