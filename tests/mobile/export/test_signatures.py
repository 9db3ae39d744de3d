"""Files of several signatures, and gains in integer files."""

import json
import os
import zipfile

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.format import flatbuffer
from keras_seqpar.mobile.runtime import reading
from tests import harness
from tests.mobile import clients

pytestmark = pytest.mark.only_backend("tensorflow")

TREE = {"pets": ["cat", "dog"], "car": None, "ships": ["ferry", "tug"]}
USES = {"mixed": ["tug", "cat"], "pets": ["pets"], "all": None}
LABELS = {
    "mixed": ("tug", "cat"),
    "pets": ("cat", "dog"),
    "all": ("cat", "dog", "car", "ferry", "tug"),
}
KINDS = {
    "float32": {"quantization": "float32"},
    "int8": {"quantization": "int8", "input_dtype": "uint8", "output_dtype": "uint8"},
    "litert": {"quantization": "dynamic", "quantizer": "litert"},
}


def network(**options):
    return harness.network(TREE, include_preprocessing=True, **options)


@pytest.fixture(scope="module")
def net():
    """A network that knows when it knows none."""
    logits = harness.logits(network(), clients.noise(50).astype("float32"))
    return sp.with_threshold(network(), sp.fit_threshold(logits, keep=0.5))


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_is_the_file_of_its_cutout(net, tmp_path, kind):
    """Bit for bit, with what they share stored once."""
    options = {**KINDS[kind], "calibration": clients.noise()}
    (tmp_path / "net.labels.txt").write_text("of a file that was there before\n")
    made = mobile.convert_signatures(net, tmp_path / "net.tflite", USES, license="X", **options)
    assert os.listdir(tmp_path) == ["net.tflite"]
    assert made.bytes == made.path.stat().st_size and made.quantization == options["quantization"]
    assert str(made).endswith("signatures mixed, pets, all") and made.signatures == tuple(USES)
    images = clients.noise(20, seed=1)
    alone, size = mobile.convert(net, tmp_path / "alone.tflite", **options), 0
    for key, labels in LABELS.items():
        cut = sp.cutout(net, USES[key]) if USES[key] else net
        single = alone
        if key == "mixed":
            single = mobile.convert(cut, tmp_path / "cut.tflite", **options)
            size = single.bytes
        runner = mobile.Runner(made.path, signature=key)
        assert runner.signature == key and runner.signatures == tuple(USES)
        assert runner.labels == labels and runner.about["activation"] == "softmax"
        scores, none = runner.decide(images)
        if key != "pets":
            expected, decided = mobile.Runner(single.path).decide(images)
            assert np.array_equal(scores, expected)
            assert np.array_equal(none, decided) and (none is None) == (key == "mixed")
        wanted = harness.predict(cut, images.astype("float32"))
        assert harness.error(scores, wanted) < (1e-5 if kind == "float32" else 0.2)
    assert np.array_equal(
        mobile.Runner(made.path)(images), mobile.Runner(made.path, signature="mixed")(images)
    )
    merged, weights = data(made), sum(map(len, data(alone)))
    assert made.bytes < alone.bytes + size  # the third, at least, came free
    assert len(set(merged)) == len(merged)
    if kind == "float32":
        assert sum(map(len, merged)) < 1.1 * weights
    report = mobile.verify(
        made.path,
        sp.cutout(net, ["pets"]),
        images,
        signature="pets",
        min_agreement=0.5,
        max_error=0.4,
    )
    assert report.signature == "pets" and "net.tflite, signature pets (" in str(report.check())


def data(made) -> list[bytes]:
    """What the buffers of a file hold."""
    buffers = flatbuffer.unpack(made.path.read_bytes()).buffers
    return [bytes(buffer.data) for buffer in buffers if buffer.data is not None]


def test_what_the_file_says(net, tmp_path):
    made = mobile.convert_signatures(
        sp.attention_input(network()), tmp_path / "net.tflite", {"ships": ["ships"], "all": None}
    )
    with zipfile.ZipFile(made.path) as archive:
        assert archive.namelist() == [
            f"{key}.{name}"
            for key in ("all", "ships")
            for name in ("gains.txt", "hierarchy.json", "labels.txt")
        ]
        assert archive.read("ships.gains.txt") == b"ships\nferry\ntug\n"
        tree = sp.Hierarchy.from_config(json.loads(archive.read("ships.hierarchy.json")))
        assert tree.categories == ("ferry", "tug")
    contents = reading.read_tflite(made.path)
    assert contents.signatures == {"ships": LABELS["all"][3:], "all": LABELS["all"]}
    assert contents.labels == ("ferry", "tug") and contents.about["signatures"] == ["ships", "all"]
    runner, images = mobile.Runner(made.path, signature="all"), clients.noise(5)
    gains = np.array([1, 2, 1, 1, 0.5, 1, 1], "float32")
    wanted = harness.predict(
        sp.attention_input(network()), images.astype("float32"), np.tile(gains, (5, 1))
    )
    assert harness.error(runner(images, gains), wanted) < 0.1
    with pytest.raises(ValueError, match=r"no signature 'pets'\. It has: ships, all\."):
        mobile.Runner(made.path, signature="pets")
    with pytest.raises(ValueError, match="several signatures, and only files of one"):
        float_file = mobile.convert_signatures(
            network(),
            tmp_path / "float.tflite",
            {"a": ["car", "cat"], "b": ["cat", "car"]},
            quantization="float32",
        )
        mobile.quantize(float_file.path, tmp_path / "small.tflite")
    alone = mobile.convert(sp.cutout(network(), ["car", "cat"]), tmp_path / "alone.tflite")
    with pytest.raises(ValueError, match="one signature only, so there is no 'pets'"):
        mobile.Runner(alone.path, signature="pets")


@pytest.mark.parametrize(
    ("signatures", "error", "message"),
    [
        ({}, ValueError, "at least one signature"),
        (["cat"], TypeError, r"must map names to categories.*got \['cat'\]"),
        ({"my pets": ["cat"]}, ValueError, "'my pets' cannot be the name of a signature"),
        ({"": None}, ValueError, "'' cannot be the name"),
        ({1: None}, ValueError, "1 cannot be the name"),
        ({"pets": []}, ValueError, "Signature 'pets': .*at least one"),
        ({"pets": "cat"}, TypeError, "Signature 'pets': "),
        (
            {"pets": ["cat", "horse"]},
            ValueError,
            "Signature 'pets': Unknown category or superclass 'horse'",
        ),
        ({"pets": ["cat", "pets"]}, ValueError, "Signature 'pets': .*'?cat'?"),
        (
            {"pets": ["pets"], "own": ["cat", "dog"]},
            ValueError,
            "signatures 'pets' and 'own' have the same categories",
        ),
    ],
)
def test_signatures_that_cannot_be(tmp_path, signatures, error, message):
    with pytest.raises(error, match=message):
        mobile.convert_signatures(network(), tmp_path / "net.tflite", signatures)
    assert not os.listdir(tmp_path)


def test_networks_and_options_that_cannot_be(tmp_path):
    path = tmp_path / "net.tflite"
    plain = sp.build_plain(["a", "b"], family="resnet18", width=0.125, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="share a trunk, but .*is a plain network.*file of one"):
        mobile.convert_signatures(plain, path, {"all": None})
    with pytest.raises(TypeError, match="leave out labels="):
        mobile.convert_signatures(network(), path, {"all": None}, labels=["a"])
    with pytest.raises(TypeError, match="unexpected keyword argument 'quantize'"):
        mobile.convert_signatures(network(), path, {"all": None}, quantize="int8")
    with pytest.raises(ValueError, match="Unknown quantization 'int7'"):
        mobile.convert_signatures(network(), path, {"all": None}, quantization="int7")
    assert not os.listdir(tmp_path)


def test_gains_of_an_int8_file_are_clipped_and_said(tmp_path):
    net, images = sp.attention_input(network()), clients.noise(20, seed=1)
    options = {"quantization": "int8", "calibration": clients.noise(), "input_dtype": "uint8"}
    for wrong in (0.5, 300):
        with pytest.raises(ValueError, match=f"max_gain must be in 1 .. 255, got {wrong}"):
            mobile.convert(net, tmp_path / "net.tflite", max_gain=wrong, **options)
    with pytest.raises(ValueError, match="without a limit.*max_gain=2"):
        mobile.convert(net, tmp_path / "net.tflite", **options)
    with pytest.raises(ValueError, match="max_gain=2 limits .* a dynamic file needs no limit"):
        mobile.convert(net, tmp_path / "net.tflite", max_gain=2)
    with pytest.raises(ValueError, match="quantizer='litert' calibrates images only"):
        mobile.convert(net, tmp_path / "net.tflite", max_gain=2, quantizer="litert", **options)
    made = mobile.convert(net, tmp_path / "net.tflite", max_gain=2, **options)
    runner = mobile.Runner(made.path)
    limit = runner.about["max_gain"]
    assert limit == 255 / 127  # so that 1 is a whole number of steps
    details = {d["name"]: d for d in clients.interpreter(made.path).get_input_details()}
    assert details["image"]["dtype"] == np.uint8 and details["gains"]["dtype"] == np.float32
    assert details["image"]["quantization"] == (1, 0)
    gains = np.ones(7, "float32")
    for gain in (0, 0.5, 2):
        gains[0] = gain  # of the superclass pets
        wanted = harness.predict(net, images.astype("float32"), np.tile(gains, (20, 1)))
        assert np.abs(runner(images, gains) - wanted).max() < 0.1
    gains[:] = 1, 2, 1, 0.5, 1, 1, 1
    wanted = harness.predict(net, images.astype("float32"), np.tile(gains, (20, 1)))
    fine = mobile.convert(
        net,
        tmp_path / "fine.tflite",
        quantization="int16x8",
        max_gain=2,
        calibration=clients.noise(),
    )
    assert np.abs(mobile.Runner(fine.path)(images, gains) - wanted).max() < 0.01
    largest = np.full(7, limit)
    with pytest.warns(UserWarning, match=r"Gains up to 5 are clipped to 2.00787: net.tflite was"):
        clipped = runner(images, np.full(7, 5.0))
    assert np.array_equal(clipped, runner(images, largest))
    for wrong in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="gains must be finite and not negative"):
            runner(images, np.full(7, wrong))
