"""The package as others get it: public names, light import, wheel, declared dependencies."""

import ast
import email
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

import keras_seqpar
import keras_seqpar.mobile
import keras_seqpar.selective

PUBLIC = [
    "Hierarchy",
    "SubsetPredictor",
    "add_category",
    "attend",
    "attention_input",
    "build_nhl",
    "build_one_branch",
    "build_phl",
    "build_plain",
    "compare",
    "copy_weights",
    "cost",
    "cutout",
    "fit_budget",
    "fit_threshold",
    "from_plain",
    "fuse",
    "gain_names",
    "load_preset",
    "merge",
    "none_of_these",
    "plain_twin",
    "preset_names",
    "split_branch",
    "unfuse",
    "with_activation",
    "with_threshold",
]
STREAMS = [  # of `keras_seqpar.selective`
    "Detector",
    "RegionStream",
    "Report",
    "Result",
    "RunReport",
    "Stats",
    "Stream",
    "export_stream",
    "open_sizes",
    "region_stream",
    "report",
    "stream",
]
# What neither `import keras_seqpar` nor building a network may need, besides other backends.
OPTIONAL = {
    *("matplotlib", "PIL", "sklearn", "tensorflow_datasets", "keras_cv", "timm", "yaml"),
    *("ai_edge_litert", "flatbuffers", "grain", "nltk", "numba", "wn"),
}
BACKENDS = {"tensorflow", "jax", "torch"}
# Files of a framework are read with that framework, whatever the backend is: data sets of
# tensorflow-datasets, and weights that torch has saved.
READERS = {("data/sources/tfds.py", "tensorflow"), ("weights/state_dicts.py", "torch")}
# Runs of streams are compiled by each backend's own means.
ON_CROPS = {("selective/keras_engine/compiling.py", name) for name in BACKENDS}
# Several devices are prepared by each backend's own means.
DEVICES = {("training/distribution.py", name) for name in BACKENDS}
# What streams are measured against is compiled, by each backend's own means.
COMPILED = {("benchmarking/keras_rivals.py", name) for name in BACKENDS}
# Keras has no function for gradients of anything but weights.
GRADIENTS = {("surgery/gradients.py", name) for name in BACKENDS}


def run_python(code, cwd, **environment):
    """Runs `code` in an interpreter of its own and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_public_names_are_pinned_and_described():
    for room, names in ((keras_seqpar, PUBLIC), (keras_seqpar.selective, STREAMS)):
        assert room.__all__ == names
        assert not [name for name in names if not getattr(room, name).__doc__]


@pytest.mark.only_backend("tensorflow")
@pytest.mark.parametrize("room", [keras_seqpar, keras_seqpar.mobile, keras_seqpar.selective])
def test_type_checkers_see_the_public_names(root, room):
    """mypy follows what the stub imports, so it knows that each module has the names."""
    stub = root.joinpath(*room.__name__.split("."), "__init__.pyi")
    imports = [n for n in ast.parse(stub.read_text()).body if isinstance(n, ast.ImportFrom)]
    names = [alias.asname for n in imports for alias in n.names if n.module != "keras_seqpar"]
    assert sorted(names) == sorted(room.__all__)


def test_import_loads_keras_and_numpy_only(root, backend, tmp_path):
    # Keras itself loads Pillow, matplotlib and scikit-learn where they are installed, so for
    # those it counts what comes after `import keras`.
    code = (
        "import json, sys, numpy, keras\n"
        "before = set(sys.modules)\n"
        "import keras_seqpar\n"
        "after = set(sys.modules)\n"
        "print(json.dumps([[n.partition('.')[0] for n in s] for s in (after - before, after)]))"
    )
    printed = run_python(code, tmp_path, KERAS_BACKEND=backend, PYTHONPATH=str(root))
    ours, everything = map(set, json.loads(printed.splitlines()[-1]))
    assert "keras_seqpar" in ours
    assert ours - {"keras_seqpar"} <= sys.stdlib_module_names
    if backend != "tensorflow":
        assert not everything & {"tensorflow", "tensorflow_datasets", "keras_cv"}


def test_networks_need_no_optional_library(root, backend, tmp_path):
    missing = OPTIONAL | BACKENDS - {backend}
    if backend == "tensorflow":
        missing -= {"flatbuffers"}  # TensorFlow needs it
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(missing)}))\n"  # importing these fails
        "import keras_seqpar as sp\n"
        "model = sp.build_phl(['cat', 'dog'], family='resnet18', width=0.125,\n"
        "                     input_shape=(32, 32, 3), stem='small')\n"
        "print(sp.cost(sp.cutout(model, ['dog'])).params > 0)"
    )
    printed = run_python(code, tmp_path, KERAS_BACKEND=backend, PYTHONPATH=str(root))
    assert printed.splitlines()[-1] == "True"


@pytest.mark.only_backend("tensorflow")  # what is registered does not depend on the backend
@pytest.mark.parametrize(
    "first",
    [
        *("keras", "keras_seqpar", "keras_seqpar.families.base", "keras_seqpar.families.layers"),
        *("keras_seqpar.networks.layers", "keras_seqpar.networks.parts"),
    ],
)
def test_keras_loads_saved_networks(root, tmp_path, first):
    """Importing the package, or a part of it that brings Keras in, is enough, in any order."""
    path = root / "tests" / "references" / "network_without_build_config.keras"
    code = (
        f"import {first}\n"
        "import keras, keras_seqpar\n"
        f"print(keras.models.load_model({str(path)!r}).layers[-1].hierarchy.categories)"
    )
    printed = run_python(code, tmp_path, KERAS_BACKEND="numpy", PYTHONPATH=str(root))
    assert printed.splitlines()[-1].startswith("('")


@pytest.mark.only_backend("tensorflow")
def test_no_backend_is_imported_outside_mobile(root):
    package = root / "keras_seqpar"
    found = set()
    for path in package.rglob("*.py"):
        where = path.relative_to(package).as_posix()
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            found |= {(where, name.partition(".")[0]) for name in names}
    assert len(found) > 20
    outside = {(where, name) for where, name in found if not where.startswith("mobile/")}
    of_backends = {(where, name) for where, name in outside if name in BACKENDS}
    assert of_backends <= READERS | ON_CROPS | DEVICES | COMPILED | GRADIENTS


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """The wheel, built from the repository without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.only_backend("tensorflow")
def test_wheel_holds_the_package_with_its_data_and_nothing_else(root, wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for path in (root / "keras_seqpar").rglob("*") if path.is_file())
    files = (path for path in files if path.parent.name != "__pycache__")
    wanted = {path.relative_to(root).as_posix() for path in files}
    assert inside == wanted


@pytest.mark.only_backend("tensorflow")
def test_wheel_says_what_it_is_and_needs(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
        about = email.message_from_bytes(archive.read(metadata))
        archive.extractall(tmp_path)
    code = "import keras_seqpar; print(keras_seqpar.__version__)"
    assert about["Version"] == run_python(code, tmp_path, PYTHONPATH=str(tmp_path)).strip()
    assert about["Name"] == "keras-seqpar"
    assert about["License-Expression"] == "Apache-2.0"
    assert about["Requires-Python"] == ">=3.11"
    core = [text for text in about.get_all("Requires-Dist") if "extra ==" not in text]
    assert sorted(map(_distribution, core)) == ["keras", "numpy"]


@pytest.mark.only_backend("tensorflow")
def test_every_dependency_has_a_tested_version(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = (root / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins)
    tested = {_distribution(pin) for pin in pins}
    wanted = [*project["dependencies"], *itertools.chain(*extras.values())]
    assert {_distribution(text) for text in wanted} <= tested


def _distribution(requirement: str) -> str:
    """The normalized name in a requirement such as `scikit_learn>=1.2; extra == "a"`."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()
