"""What the tests of training share: small images, a small plan, and small runs."""

import contextlib
import csv

import keras
import numpy as np
import pytest
from keras import ops

from keras_seqpar.families import resnet
from keras_seqpar.training.flags import parse_train_flags
from keras_seqpar.training.tasks import classification
from keras_seqpar.weights import named_weights

CATEGORIES = {"bright": 170, "dark": 80}
SIZE = 16
JIT = "--jit=off" if keras.backend.backend() == "tensorflow" else "--jit=auto"  # XLA is slow there

# A plan of one trunk block and branches of one block, so that compiling takes little time.
TINY = """
from keras_seqpar.families import base, resnet
resnet.BASIC_PLANS["tiny"] = (
    base.Plan(trunk=(1,), levels=((base.Stage(64, 1, 2),),)),
    base.Plan(trunk=(1,), levels=((base.Stage(64, 1, 2),), (base.Stage(64, 1),))),
)
"""


@contextlib.contextmanager
def tiny_plan():
    """Runs `TINY`, as scripts of other processes do, and takes the plan away again."""
    before = dict(resnet.BASIC_PLANS)
    exec(TINY)
    try:
        yield
    finally:
        resnet.BASIC_PLANS.clear()
        resnet.BASIC_PLANS.update(before)


def write_images(folder, counts=(("train", 10), ("validation", 3)), size=(20, 24), dark=None):
    """Writes noisy images of two categories; `dark` is the number of dark training images."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in counts:
        for name, mean in CATEGORIES.items():
            path = folder / split / name
            path.mkdir(parents=True)
            rare = dark if (split, name) == ("train", "dark") else None
            for i in range(count if rare is None else rare):
                noise = rng.normal(mean, 60, (*size, 3)).clip(0, 255).astype("uint8")
                Image.fromarray(noise).save(path / f"{i}.png")
    return folder


def train(arguments):
    """Trains as recipes/train.py does."""
    return classification.train(*parse_train_flags(arguments))


def refused(arguments):
    """The message with which a training is refused."""
    with pytest.raises((ValueError, OSError)) as error:
        train(arguments)
    return str(error.value)


def flags(images, output, *more):
    """A small run with everything random in it."""
    return [
        *(f"--dataset=folder:{images}", f"--output={output}", f"--image_size={SIZE}"),
        *("--width=0.125", "--epochs=3", "--batch_size=8", "--plan=tiny", "--seed=7"),
        *("--randaugment=5", "--mixup=0.2", "--cutmix=1", "--drop_path_rate=0.2"),
        *("--label_smoothing=0.1", "--sampling=balanced", JIT, *more),
    ]


def simple(images, output, *more):
    """A small run of one epoch."""
    return [
        *(f"--dataset=folder:{images}", f"--output={output}", f"--image_size={SIZE}"),
        *("--width=0.125", "--epochs=1", "--batch_size=8", "--plan=tiny", JIT, *more),
    ]


def weights_of(path):
    """The weights in a `.keras` file, by name."""
    network = keras.models.load_model(path)
    return {name: ops.convert_to_numpy(v) for name, v in named_weights(network).items()}


def history_of(folder):
    """history.csv without the times."""
    with open(folder / "history.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return [{k: float(v) for k, v in line.items() if k != "seconds"} for line in lines]


def logged(folder):
    """What TensorBoard reads of a run: (step, tag) -> tensor."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return {
        (event.step, value.tag): value.tensor
        for path in (folder / "tensorboard").iterdir()
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    }


def trunk_of(folder):
    """The trunk of the best network of a run."""
    return keras.models.load_model(folder / "best.keras").get_layer("trunk")
