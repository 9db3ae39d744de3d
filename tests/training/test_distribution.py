"""Several devices: what a batch teaches them is what it teaches one device.

The network has batch normalizations. JAX runs as two processes with two devices each, torch as two
processes, TensorFlow as one process with two devices. The first epoch has a frozen trunk and kept
features. One process is killed in the second epoch; then all are started again and resume.
"""

import os
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_seqpar.training import distribution
from tests import commands
from tests.training import runner

pytest.importorskip("absl")

# recipes/train.py, whose last process kills itself once.
SCRIPT = """
import os, pathlib, runpy, signal
from keras_seqpar.data import batches

get = batches.TrainingBatches.__getitem__
last = os.environ.get("RANK", os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", "1")) == "1"
mark = pathlib.Path(__file__).with_suffix(".killed")

def killed(self, step):
    if last and (self.epoch, step) == (1, 3) and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return get(self, step)

batches.TrainingBatches.__getitem__ = killed
runpy.run_path("recipes/train.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """32 and 8 images to train on, 2 x 5 to validate on."""
    pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("images")
    return runner.write_images(folder, (("train", 32), ("validation", 5)), (20, 20), dark=8)


def flags(photos, init, output, *more):
    """A training of five steps per epoch."""
    return [
        *(f"--dataset=folder:{photos}", f"--output={output}", "--image_size=16", "--plan=tiny"),
        *("--width=0.125", f"--init={init}", "--frozen_epochs=1", "--epochs=1", "--batch_size=8"),
        *("--class_weight=balanced", "--optimizer=sgd", "--checkpoint_steps=1", runner.JIT, *more),
    ]


def start(command, folder, count):
    """Starts processes of a training; returns them with the files of what they print."""
    environment = dict(os.environ, PYTHONPATH=str(commands.ROOT))
    environment["KERAS_BACKEND"] = keras.backend.backend()
    if count > 1:
        one_device = "--xla_force_host_platform_device_count=2"
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {one_device}"
        with socket.socket() as free:
            free.bind(("localhost", 0))
            environment["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = f"localhost:{free.getsockname()[1]}"
        environment["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(count)
    started = []
    for i in range(count):
        if count > 1:
            environment["KERAS_DISTRIBUTION_PROCESS_ID"] = str(i)
        with open(folder / f"printed_{i}.txt", "a") as printed:
            started.append(
                subprocess.Popen(
                    command, cwd=commands.ROOT, env=environment, stdout=printed, stderr=printed
                )
            )
    return started


def train_on_many(photos, init, folder, backend):
    """Trains, with a kill and a restart; returns what the processes printed."""
    script = folder / "script.py"
    script.write_text(runner.TINY + SCRIPT)
    count = {"jax": 2, "torch": 1, "tensorflow": 1}[backend]  # commands to start
    devices = 4 if backend == "jax" else 2
    command = [sys.executable, str(script)]
    arguments = flags(photos, init, folder / "many", f"--devices={devices}", "--resume")
    killed = -signal.SIGKILL
    if backend == "torch":  # the launcher stops the other process and ends
        launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        command, killed = [sys.executable, "-m", *launcher, str(script)], 1
    *others, last = start([*command, *arguments], folder, count)
    assert last.wait() == killed, (folder / f"printed_{count - 1}.txt").read_text()
    for process in others:
        process.kill()
        process.wait()
    done = [process.wait() for process in start([*command, *arguments], folder, count)]
    printed = "".join((folder / f"printed_{i}.txt").read_text() for i in range(count))
    assert done == [0] * count, printed
    assert script.with_suffix(".killed").exists()
    return printed


def test_many_devices_learn_what_one_learns(photos, finished, tmp_path, backend):
    init = finished / "last.keras"
    printed = train_on_many(photos, init, tmp_path, backend)
    assert "Resuming after epoch 1 of 2" in printed
    if backend != "tensorflow":  # which prepares batches ahead
        assert "steps of the next." in printed
    runner.train(flags(photos, init, tmp_path / "one"))
    one, many = (runner.history_of(tmp_path / name) for name in ("one", "many"))
    for a, b in zip(one, many, strict=True):
        assert a.keys() == b.keys()
        for name in ("loss", "val_loss"):
            assert b[name] == pytest.approx(a[name], rel=1e-4), name
        for name, count in (("accuracy", 40), ("val_accuracy", 10)):
            assert b[name] == pytest.approx(a[name], abs=1.01 / count), name  # one may be undecided
        for name in ("balanced_accuracy", "val_balanced_accuracy"):
            assert b[name] == pytest.approx(a[name], abs=1.01 / 10), name
    assert one[0]["loss"] != one[1]["loss"]
    one, many = (runner.weights_of(tmp_path / name / "last.keras") for name in ("one", "many"))
    for name, value in one.items():  # moving statistics included
        np.testing.assert_allclose(many[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


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
