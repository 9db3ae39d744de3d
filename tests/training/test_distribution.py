"""Several devices: a batch that is shared teaches what it teaches one device.

ConvNeXt V2 has no batch statistics, so that the losses must agree on every backend.
"""

import csv
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "recipes"
sys.path.insert(0, str(RECIPES))
pytest.importorskip("absl")
Image = pytest.importorskip("PIL.Image")

import batches  # noqa: E402
import devices  # noqa: E402
import train  # noqa: E402
from augment import Policy  # noqa: E402

from keras_seqpar import data  # noqa: E402

COUNT = {"jax": 8, "tensorflow": 2, "torch": 2}

SCRIPT = """
import sys
from keras_seqpar.families import base, convnext_v2
convnext_v2.PLANS["tiny"] = (
    base.Plan(trunk=(1,), levels=((convnext_v2.Stage(64, 1, 2),),)),
)
import train
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """2 x 16 images to train on and 2 x 3 to validate on."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("validation", 3)):
        for name, mean in (("bright", 170), ("dark", 80)):
            path = folder / split / name
            path.mkdir(parents=True)
            for i in range(count):
                noise = rng.normal(mean, 60, (20, 20, 3)).clip(0, 255).astype("uint8")
                Image.fromarray(noise).save(path / f"{i}.png")
    return folder


def start(images, output, count, *more):
    """Trains in processes of their own; returns the history."""
    backend = keras.backend.backend()
    path = os.pathsep.join([str(RECIPES), str(RECIPES.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": backend}
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
        *("--family=convnext_v2_atto", "--stem=small", *more),
    ]
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(output / "history.csv", encoding="utf-8") as file:
        return [{k: float(v) for k, v in line.items()} for line in csv.DictReader(file)]


def test_many_devices_learn_what_one_learns(images, tmp_path, backend):
    one, many = (start(images, tmp_path / str(n), n) for n in (1, COUNT[backend]))
    for a, b in zip(one, many, strict=True):
        for name in ("loss", "val_loss"):
            assert b[name] == pytest.approx(a[name], rel=1e-4), name
        for name, count in (("accuracy", 32), ("val_accuracy", 6)):  # one may be undecided
            assert b[name] == pytest.approx(a[name], abs=1.01 / count), name
    assert one[0]["loss"] != one[1]["loss"]
    assert (tmp_path / str(COUNT[backend]) / "last.keras").exists()


def test_pieces_of_a_batch_are_mixed_within_themselves(images):
    """The device mixes a piece with itself in reverse; the labels must say the same."""
    split = data.load(f"folder:{images}", image_size=20).train
    chosen, _ = train.read_flags([f"--dataset=folder:{images}", "--batch_size=8"])
    made = [
        batches.TrainingBatches(split, Policy(mixup=1.0), 2, chosen, devices.Devices(n, pieces=n))
        for n in (1, 4)
    ]
    whole, pieces = (batch[0] for batch in made)
    own = whole[0][1][:, 6]  # the weight of an image beside its partner's
    truth = np.eye(2)[split.labels[made[0].order[:8]]]
    for batch, partner in ((whole, truth[::-1]), (pieces, truth[[1, 0, 3, 2, 5, 4, 7, 6]])):
        wanted = own[:, None] * truth + (1 - own[:, None]) * partner
        np.testing.assert_allclose(batch[1], wanted, atol=1e-6)


def test_processes_get_the_parts_of_a_batch(images):
    split = data.load(f"folder:{images}", image_size=16).train
    chosen, _ = train.read_flags([f"--dataset=folder:{images}", "--batch_size=8"])

    def batch(*where):
        made = batches.TrainingBatches(split, Policy(), 2, chosen, devices.Devices(2, *where))
        return made[0]

    (images_, rows), labels = batch()
    parts = [batch(process, 2) for process in (0, 1)]
    assert np.array_equal(np.concatenate([part[0][0] for part in parts]), images_)
    assert np.array_equal(np.concatenate([part[0][1] for part in parts]), rows)
    assert np.array_equal(np.concatenate([part[1] for part in parts]), labels)


def test_devices_that_are_not_there(backend):
    words = {
        "jax": "JAX has 1 devices .*--xla_force_host_platform_device_count=16",
        "torch": "There are 1 processes, --devices says 16.*torchrun --nproc_per_node 16",
        "tensorflow": "cannot make 16 devices of the processor any more",
    }
    keras.ops.ones(2) + 1  # TensorFlow has begun
    with pytest.raises(ValueError, match=words[backend]):
        devices.use(16, 16)
    with pytest.raises(ValueError, match="multiple of 3"):
        devices.use(3, 16)
