import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_seqpar.data.datasets import Dataset, Split
from keras_seqpar.data.packing import pack
from tests.commands import ROOT

# Runs the command twice as on a machine without TensorFlow. Keras looks for it in `sys.modules`, so
# an entry of None there would not be the same.
WITHOUT_TENSORFLOW = """
import sys
from tests import commands

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

sys.meta_path.insert(0, Refuse())
for call in ("first", "second"):
    print("==", call, flush=True)
    if code := commands.call("benchmarks/gpu.py", *sys.argv[1:]):
        sys.exit(code)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Images of noise: 16 to train on, 4 to validate on, two categories."""
    path = tmp_path_factory.mktemp("data") / "noise.zip"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), "uint8")
    splits = {
        name: Split([f"{i}.png" for i in range(n)], np.arange(n) % 2, pixels[:n])
        for name, n in (("train", 16), ("validation", 4))
    }
    pack(path, Dataset("noise", ("a", "b"), splits))
    return path


def test_two_steps_without_tensorflow_and_a_second_call_that_trains_nothing(archive, tmp_path):
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, archive]
    command += [f"--output={tmp_path / 'gpu'}", "--", "--family=resnet18"]
    command += ["--width=0.125", "--image_size=32", "--epochs=1", "--batch_size=8"]
    command += ["--mixed_precision=off", "--randaugment=0", "--cutmix=0"]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert not done.returncode, done.stderr
    first, second = done.stdout.removeprefix("== first\n").split("== second\n")
    for printed in (first, second):
        assert "plain, 1 epochs: " in printed and "91.57 % (20 epochs)" in printed
    assert "Backend: jax" in first and "Backend: jax" not in second  # which only reads
    results = json.loads((tmp_path / "gpu" / "gpu.json").read_text())
    assert results.keys() == {"PHL early, 1 epochs", "plain, 1 epochs"}
    assert all(0 <= found["top1"] <= 1 and found["macs"] > 0 for found in results.values())
