"""A network that knows digits, and images for it: what the mobile tests measure on."""

import dataclasses
import functools
import shutil

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data, mobile
from keras_seqpar.mobile.export.packs.packing import pack
from keras_seqpar.networks.thresholds import known_score
from keras_seqpar.surgery.unknowns import threshold_of
from tests import harness
from tests.mobile import packs as packs_of_tests
from tests.mobile.clients import noise
from tests.references import digits_nets
from tests.references.digits_nets import SIZE, choose

CATEGORIES = digits_nets.NETS["mobile"][0]
KEPT = ("8", "3", "5")  # of the cutout, not in the order of the network
ROUNDING = 0.4  # of scores that are compared with thresholds; int8 moves them by 0.2 here


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network, a cutout of it, and images of the cutout's categories."""

    net: keras.Model
    cutout: keras.Model
    calibration: np.ndarray
    images: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="session")
def trained() -> Trained:
    """The stored network: it decides clearly on all images, so that rounding changes no decision.

    The best of its scores is 0.3 or more above the next.
    """
    digits = data.load("digits", image_size=SIZE)
    net = digits_nets.load("mobile")
    calibration, _ = choose(digits, digits.train, KEPT)
    return Trained(
        net, sp.cutout(net, KEPT), calibration[:200], *choose(digits, digits.validation, KEPT)
    )


@pytest.fixture(scope="session")
def digits_file(trained, tmp_path_factory):
    """Quantization -> the converted cutout, made once; int8 with uint8 in and out."""
    folder = tmp_path_factory.mktemp("digits")

    @functools.cache
    def convert(kind):
        return mobile.convert(
            trained.cutout,
            folder / f"{kind}.tflite",
            quantization=kind,
            calibration=trained.calibration,
            **({"input_dtype": "uint8", "output_dtype": "uint8"} if kind == "int8" else {}),
        )

    return convert


@pytest.fixture(scope="session")
def outside() -> np.ndarray:
    """Validation images of the digits that the cutout cannot name."""
    digits = data.load("digits", image_size=SIZE, splits=["validation"])
    others = [name for name in digits.categories if name not in KEPT]
    return choose(digits, digits.validation, others)[0]


def clearly(net: keras.Model, images: np.ndarray) -> np.ndarray:
    """The images that the network decides on clearly: no rounding of a file changes a decision.

    Neither which of its categories is the best, nor whether it is none of these.
    """
    logits, threshold = harness.logits(net, images.astype("float32")), threshold_of(net)
    best = np.sort(logits, -1)
    clear = best[:, -1] - best[:, -2] > 2 * ROUNDING
    if threshold is not None:
        scores = known_score(logits, threshold.score, temperature=threshold.temperature)
        clear &= np.abs(scores - threshold.value) > ROUNDING
    return images[clear]


@pytest.fixture(scope="session")
def pack_digits():
    """Five categories: 200 images to calibrate on, then 500 to compare on, and their labels."""
    loaded = data.load("digits", image_size=SIZE)
    images, labels = choose(loaded, loaded.train, CATEGORIES)
    return images[:200], images[200:700], np.array(CATEGORIES)[labels[200:700]]


@pytest.fixture(scope="session")
def trained_pack(trained, pack_digits, tmp_path_factory):
    """The digits network of five branches as a pack in int8 that takes uint8."""
    folder = tmp_path_factory.mktemp("trained") / "digits.pack"
    pack(trained.net, folder, calibration=pack_digits[0], input_dtype="uint8")
    return folder


@pytest.fixture(scope="session")
def packs(tmp_path_factory):
    """Quantization -> the nested network of random weights as a pack."""
    folder = tmp_path_factory.mktemp("packs")
    for kind in ("int8", "float32"):
        pack(packs_of_tests.network(), folder / kind, quantization=kind, calibration=noise())
    return {kind: folder / kind for kind in ("int8", "float32")}


@pytest.fixture
def copy(packs, tmp_path):
    """A copy of the int8 pack that may be changed."""
    return shutil.copytree(packs["int8"], tmp_path / "copy.pack")
