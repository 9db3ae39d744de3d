"""The runtime imports NumPy and an interpreter only, also where Keras is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

TINY = Path(__file__).with_name("tiny.tflite")
MOST_MEMORY = 100  # MiB of resident memory

# What the runtime consists of, besides its own files: NumPy or the standard library only.
ALLOWED = {
    "keras_seqpar",
    "keras_seqpar.hierarchy",
    "keras_seqpar.hierarchy.nodes",
    "keras_seqpar.hierarchy.tree",
    "keras_seqpar.networks",
    "keras_seqpar.networks.thresholds",
    "keras_seqpar.utils",
    "keras_seqpar.utils.images",
    "keras_seqpar.utils.lazy",
    "keras_seqpar.utils.names",
    "keras_seqpar.utils.output",
    "keras_seqpar.utils.pixels",
    "keras_seqpar.utils.warning",
    "keras_seqpar.mobile",
    "keras_seqpar.mobile.run",
}
HEAVY = {"keras", "tensorflow", "jax", "torch", "tf_keras", "flax", "matplotlib", "absl"}

# Prints the modules that are there in the end and the resident memory in MiB.
SCRIPT = """
import importlib, json, pkgutil, sys
import keras_seqpar.mobile.runtime as room
for module in pkgutil.iter_modules(room.__path__):
    importlib.import_module(f"{room.__name__}.{module.name}")
importlib.import_module("keras_seqpar.mobile.run")
if len(sys.argv) > 1:
    import numpy as np
    runner = room.Runner(sys.argv[1])
    assert runner(np.zeros((1, 32, 32, 3), "uint8")).shape == (1, 3)
    from keras_seqpar.mobile.runtime.run import main
    assert main(sys.argv[1:]) == 0
with open("/proc/self/status") as file:
    memory = [int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS:")]
print(json.dumps([sorted(sys.modules), *memory]))
"""


def python(*arguments, folder):
    """What a Python process of its own prints last."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("run", [False, True])
def test_nothing_heavy_is_imported(tmp_path, run):
    Image.new("RGB", (40, 50), "red").save(tmp_path / "image.png")
    arguments = [TINY, "image.png"] if run else []
    modules, memory = json.loads(python("-c", SCRIPT, *arguments, folder=tmp_path))
    assert not HEAVY & {name.partition(".")[0] for name in modules}
    ours = [name for name in modules if name.partition(".")[0] == "keras_seqpar"]
    others = [name for name in ours if not name.startswith("keras_seqpar.mobile.runtime")]
    assert not sorted(set(others) - ALLOWED), "is it light? Then name it above."
    assert memory < MOST_MEMORY


def test_the_command(tmp_path):
    Image.new("RGB", (40, 50), "red").save(tmp_path / "image.png")
    said = python("-m", "keras_seqpar.mobile.run", TINY, "image.png", "--top=1", folder=tmp_path)
    assert said.startswith("image.png: ") and said.split()[1] in ("cat", "dog", "car")
