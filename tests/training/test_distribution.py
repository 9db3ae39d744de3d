"""Several devices: a batch that is shared teaches what it teaches one device.

ConvNeXt V2 has no batch statistics, so that the losses must agree on every backend.
"""

import csv
import os
import subprocess
import sys

import keras
import pytest

from keras_seqpar.training import distribution
from tests import commands
from tests.training.runner import write_images

pytest.importorskip("absl")

COUNT = {"jax": 8, "tensorflow": 2, "torch": 2}

SCRIPT = """
import sys
from keras_seqpar.families import base, convnext_v2
convnext_v2.PLANS["tiny"] = (
    base.Plan(trunk=(1,), levels=((convnext_v2.Stage(64, 1, 2),),)),
)
import runpy
runpy.run_path("recipes/train.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """32 and 8 images to train on, 2 x 3 to validate on."""
    pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("images")
    return write_images(folder, (("train", 32), ("validation", 3)), (20, 20), dark=8)


def start(images, output, count, *more):
    """Trains in processes of their own; returns the history."""
    backend = keras.backend.backend()
    environment = {**os.environ, "PYTHONPATH": str(commands.ROOT), "KERAS_BACKEND": backend}
    (output.parent / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(output.parent / "script.py")]
    if backend == "jax":
        flag = f"--xla_force_host_platform_device_count={count}"
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
    if backend == "torch" and count > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
        command = [sys.executable, *launcher, command[1]]
    arguments = [
        *(f"--dataset=folder:{images}", f"--output={output}", f"--devices={count}"),
        *("--image_size=16", "--width=0.125", "--epochs=2", "--batch_size=16", "--plan=tiny"),
        *("--family=convnext_v2_atto", "--stem=small", "--class_weight=balanced", *more),
    ]
    done = subprocess.run(
        [*command, *arguments],
        cwd=commands.ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with open(output / "history.csv", encoding="utf-8") as file:
        return [{k: float(v) for k, v in line.items()} for line in csv.DictReader(file)]


def test_many_devices_learn_what_one_learns(images, tmp_path, backend):
    one, many = (start(images, tmp_path / str(n), n) for n in (1, COUNT[backend]))
    for a, b in zip(one, many, strict=True):
        assert a.keys() == b.keys()
        for name in ("loss", "val_loss"):
            assert b[name] == pytest.approx(a[name], rel=1e-4), name
        for name, count in (("accuracy", 32), ("val_accuracy", 6), ("val_balanced_accuracy", 6)):
            # one image may be undecided
            assert b[name] == pytest.approx(a[name], abs=1.01 / count), name
    assert one[0]["loss"] != one[1]["loss"]
    assert (tmp_path / str(COUNT[backend]) / "last.keras").exists()


def test_devices_that_are_not_there(backend):
    words = {
        "jax": "JAX has 1 devices .*--xla_force_host_platform_device_count=16",
        "torch": "There are 1 processes, --devices says 16.*torchrun --nproc_per_node 16",
        "tensorflow": "cannot make 16 devices of the processor any more",
    }
    keras.ops.ones(2) + 1  # TensorFlow has begun
    with pytest.raises(ValueError, match=words[backend]):
        distribution.use(16, 16)
    with pytest.raises(ValueError, match="multiple of 3"):
        distribution.use(3, 16)
