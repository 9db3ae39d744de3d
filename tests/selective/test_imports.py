"""The engine needs NumPy and an interpreter only."""

import subprocess
import sys

import pytest

from tests.selective.litert_engine.test_exactness import residual_net

pytestmark = pytest.mark.only_backend("tensorflow")  # nothing is computed in a backend

CODE = """
import sys, numpy as np
from keras_seqpar.selective import Detector, report, stream
stream = stream(sys.argv[1], detector=Detector("auto"))
result = stream(np.zeros(stream.input_shape, "int8"))
assert result.stats.mode == "dense" and report(sys.argv[1]).runs
heavy = {"keras", "tensorflow", "jax", "torch", "tf_keras", "flatbuffers", "scipy"}
print(*sorted(heavy & set(sys.modules)))
"""


def test_a_stream_of_a_file_imports_nothing_heavy(tmp_path, root):
    path = residual_net("int8").save(tmp_path / "net.tflite")
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(path)], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_tflite_runtime_gives_the_same_bits(tmp_path, root, tflite_runtime_python):
    """An older interpreter with NumPy 1, and nothing else."""
    path = residual_net("int8").save(tmp_path / "net.tflite")
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "import numpy as np\n"
        "from keras_seqpar.selective import stream\n"
        "from tests.selective.litert_engine.files import Dense, change, noise\n"
        "camera, dense = stream(sys.argv[1]), Dense(sys.argv[1])\n"
        "rng = np.random.default_rng(0)\n"
        "frame = noise(camera.input_shape, 'int8', rng)\n"
        "for _ in range(5):\n"
        "    assert np.array_equal(camera(frame).output, dense(frame)[0])\n"
        "    frame = change(frame, rng, most=0.3)\n"
        "print(camera.runs_on)\n"
    )
    done = subprocess.run(
        [tflite_runtime_python, "-c", code, str(path)], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tflite-runtime")
