"""A network trained on digits, and images for it: what the mobile tests measure on."""

import dataclasses
import os
import time

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data

CATEGORIES = ("0", "1", "3", "5", "8")
KEPT = ("8", "3", "5")  # of the cutout, not in the order of the network
SIZE = 32


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network, a cutout of it, and images of the cutout's categories."""

    net: keras.Model
    cutout: keras.Model
    calibration: np.ndarray
    images: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    """Trains once for all workers of a run: the others wait for the file."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    path = shared / "trained.keras"
    digits = data.load("digits", image_size=SIZE)
    try:
        (shared / "trained.begun").touch(exist_ok=False)
    except FileExistsError:
        deadline = time.monotonic() + 300
        while not path.exists():
            assert time.monotonic() < deadline, f"no other worker wrote {path}"
            time.sleep(0.2)
    else:
        train(digits).save(shared / "part.keras")
        os.replace(shared / "part.keras", path)
    net = keras.models.load_model(path)
    calibration, _ = choose(digits, digits.train, KEPT)
    return Trained(
        net, sp.cutout(net, KEPT), calibration[:200], *choose(digits, digits.validation, KEPT)
    )


def train(digits: data.Dataset) -> keras.Model:
    """Trains a small network for about 20 s."""
    keras.utils.set_random_seed(0)
    net = sp.build_phl(
        CATEGORIES,
        family="resnet18",
        width=0.25,
        input_shape=(SIZE, SIZE, 3),
        stem="small",
        include_preprocessing=True,
        seed=0,
    )
    images, labels = choose(digits, digits.train, CATEGORIES)
    epochs, batch = 6, 64
    steps = epochs * (len(images) // batch + 1)
    net.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        loss="sparse_categorical_crossentropy",
        jit_compile=False,  # compiling would take longer than training
    )
    net.fit(images, labels, epochs=epochs, batch_size=batch, verbose=0)
    return net


@pytest.fixture(scope="session")
def foreign() -> np.ndarray:
    """Validation images of the digits that the cutout cannot name."""
    digits = data.load("digits", image_size=SIZE, splits=["validation"])
    others = [name for name in digits.categories if name not in KEPT]
    return choose(digits, digits.validation, others)[0]


def choose(digits: data.Dataset, split: data.Split, categories) -> tuple[np.ndarray, np.ndarray]:
    """Images of the categories, and the index of each one's category among them."""
    names = np.array(digits.categories)[split.labels]
    chosen = np.flatnonzero(np.isin(names, categories))
    return split.read(chosen), np.array([categories.index(name) for name in names[chosen]])
