"""Streams of branch packs: one network of the trunk and the chosen branches, as PackRunner's."""

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile, selective
from keras_seqpar.networks.thresholds import Threshold
from tests.mobile import packs
from tests.selective.litert_engine.files import change

pytestmark = pytest.mark.only_backend("tensorflow")  # conversion needs it


@pytest.fixture(scope="module", params=["int8", "float32"])
def pack(request, tmp_path_factory):
    """A pack of pets (cat, dog), car and ships (ferry, tug), with a threshold."""
    folder = tmp_path_factory.mktemp("packs") / "net.pack"
    rng = np.random.default_rng(0)
    net = packs.network()
    images = rng.integers(0, 256, (20, *net.input_shape[1:])).astype("uint8")
    net = sp.with_threshold(net, Threshold(1.0, "max_logit"))
    calibration = images if request.param == "int8" else None
    mobile.pack(net, folder, quantization=request.param, calibration=calibration)
    return folder


def play(pack, categories, frames=6):
    """Compares scores and decisions of a few frames; returns the stream."""
    stream = selective.stream(pack, categories=categories)
    runner = mobile.PackRunner(pack, categories)
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 256, stream.input_shape).astype("uint8")
    for i in range(frames):
        frame = change(frame.view("int8"), rng, 1 + i % 2, 0.3).view("uint8") if i else frame
        output = stream(frame).output
        scores, none = runner.decide(frame[None])
        found = output["scores"] if isinstance(output, dict) else output
        assert found.tobytes() == scores.tobytes(), i
        assert isinstance(output, dict) == (none is not None)
        if none is not None:
            assert (output["none_of_these"][:, 0] > 0.5).tolist() == none.tolist()
    return stream


@pytest.mark.parametrize("categories", [None, ["tug", "cat"], ["ships", "dog"], ["car"]])
def test_scores_equal_those_of_the_runner(pack, categories):
    play(pack, categories)


def test_only_chosen_branches_are_read_and_computed(pack):
    one, all_ = (selective.stream(pack, categories=x) for x in (["car"], None))
    frame = np.zeros(one.input_shape, "uint8")
    assert one(frame).stats.macs_dense < all_(frame).stats.macs_dense
    assert not any(name.startswith("cat/") for name in one.maps)
    assert one.fingerprint != all_.fingerprint


def test_a_change_elsewhere_is_followed_through_trunk_and_branches(pack):
    stream = play(pack, ["tug", "car"])
    frame = np.zeros(stream.input_shape, "uint8")
    stream(frame)
    frame[3, 4] = 255
    stats = stream(frame).stats
    assert 0 < stats.macs < stats.macs_dense


def test_what_is_refused(pack, tmp_path):
    with pytest.raises(ValueError, match="no signatures"):
        selective.stream(pack, signature="serving_default")
    with pytest.raises(ValueError, match="'cow'"):
        selective.stream(pack, categories=["cow"])
    with pytest.raises(FileNotFoundError, match="no branch pack"):
        selective.stream(tmp_path)
    with pytest.raises(ValueError, match="categories can be chosen of a branch pack"):
        selective.stream(packs.part(pack, "trunk.tflite"), categories=["cat"])
