"""Presets: what is written is what is loaded, damage is named, and no network is needed."""

import json
import os
import socket

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import presets
from keras_seqpar.surgery.unknowns import Threshold, threshold_of
from keras_seqpar.weights import named_weights
from tests import harness
from tests.harness import array

Image = pytest.importorskip("PIL.Image")

SIZE = 32
GIVEN = {
    "normalization": {"takes": "pixels", "mean": [0.0] * 3, "std": [1.0] * 3},
    "data": {"name": "noise"},
    "license": "Apache-2.0",
    "accuracy": {"top1": 0.5},
}
LABELS = ["blue", "Zoë's green", "red"]
TREE = {"colors": LABELS[:2], "red": None}


def build(builder=sp.build_phl, source=LABELS, **options) -> keras.Model:
    """A network with random weights."""
    model = builder(
        sp.Hierarchy.of(source),
        **{
            "family": "resnet18",
            "input_shape": (SIZE, SIZE, 3),
            "width": 0.125,
            "stem": "small",
            "include_preprocessing": True,
            "drop_path_rate": 0.1,
            "name": "tiny",
            **options,
        },
    )
    harness.randomize(model)
    return model


@pytest.fixture(scope="module")
def net():
    return build()


@pytest.fixture
def folder(net, tmp_path):
    """A folder with the preset `tiny`."""
    write(net, tmp_path)
    return tmp_path


def write(model, folder, name="tiny", **changes):
    facts, content = presets.pack(model, **GIVEN)
    return presets.write(name, facts | changes, content, folder=folder)


def pixels(count=4) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3))
    return noise.astype("float32")


@pytest.mark.parametrize(
    ("builder", "source"),
    [
        (sp.build_phl, LABELS),
        *(  # what is stored knows no backend; torch builds quickest
            pytest.param(*case, marks=pytest.mark.only_backend("torch"))
            for case in (
                (sp.build_nhl, TREE),
                (sp.build_plain, LABELS),
                (sp.build_one_branch, LABELS),
            )
        ),
    ],
)
def test_a_preset_is_the_network_in_float16(builder, source, tmp_path, monkeypatch):
    model = build(builder, source)
    threshold = Threshold(0.5, "max_logit")
    path = write(sp.with_threshold(model, threshold), tmp_path, "a")
    assert path == tmp_path / "a.json"
    assert sorted(os.listdir(tmp_path)) == ["a.json", "a.npz"]

    def refuse(*args, **kwargs):
        raise AssertionError("no network is needed")

    monkeypatch.setattr(socket, "socket", refuse)
    loaded = sp.load_preset("a", folder=tmp_path)
    assert loaded.get_layer("categories").hierarchy == model.get_layer("categories").hierarchy
    assert threshold_of(loaded) == threshold
    assert loaded.name == "tiny"
    built = [m.get_layer("categories").build_config for m in (loaded, model)]
    assert built[0] == built[1]
    found = named_weights(loaded)
    for name, variable in named_weights(model).items():
        value = array(variable)
        want = value if value.ndim == 1 else value.astype("float16").astype("float32")
        assert np.array_equal(array(found[name]), want)
    assert len(found) == len(named_weights(model))
    want = harness.logits(model, pixels())
    assert np.abs(harness.logits(loaded, pixels()) - want).max() < 0.02 * np.ptp(want)
    count = sum(int(np.prod(v.shape)) for v in model.weights)
    assert (tmp_path / "a.npz").stat().st_size < 2.2 * count + 400 * len(model.weights)


def test_a_preset_stores_where_it_comes_from(folder):
    assert sp.preset_names(folder=folder) == ("tiny",)
    facts = presets.about("tiny", folder=folder)
    assert {key: facts[key] for key in GIVEN} == GIVEN
    assert facts["weights"]["bytes"] == (folder / "tiny.npz").stat().st_size
    assert facts["hierarchy"]["tree"][1] == {"id": "zoe_s_green", "label": "Zoë's green"}


def test_a_loaded_preset_can_be_cut(folder):
    loaded = sp.load_preset("tiny", folder=folder)
    small = sp.cutout(loaded, ["red", "blue"])
    want = harness.logits(loaded, pixels())[:, [2, 0]]
    assert np.array_equal(harness.logits(small, pixels()), want)


def test_every_preset_of_the_package_loads_and_runs():
    """Without presets there is nothing to test."""
    for name in sp.preset_names():
        facts = presets.about(name)
        assert facts["weights"]["bytes"] <= 6_000_000  # the default of recipes/make_preset.py
        assert facts["license"] and 0 < facts["accuracy"]["top1"] <= 1
        model = sp.load_preset(name)  # compares the SHA-256
        height, width, channels = model.inputs[0].shape[1:]
        noise = np.random.default_rng(0).integers(0, 256, (1, height, width, channels))
        scores = harness.predict(model, noise.astype("float32"), compiled=True)
        assert scores.shape == (1, len(facts["hierarchy"]["categories"]))
        assert np.isfinite(scores).all()


def test_unknown_names(folder, tmp_path_factory):
    write(sp.load_preset("tiny", folder=folder), folder, "small")
    with pytest.raises(ValueError, match="preset 'tinny'. Did you mean 'tiny'.*Valid: small, tiny"):
        sp.load_preset("tinny", folder=folder)
    with pytest.raises(ValueError, match="There are none here: make one with recipes/make_preset"):
        sp.load_preset("tiny", folder=tmp_path_factory.mktemp("empty"))
    with pytest.raises(TypeError, match="name of a preset must be a string, got 3"):
        sp.load_preset(3, folder=folder)
    with pytest.raises(ValueError, match="Unknown preset '../tiny'"):
        sp.load_preset("../tiny", folder=folder)


def test_damaged_weights_are_named(folder):
    path = folder / "tiny.npz"
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (bytes(flipped), content[:-9], b""):
        path.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"tiny\.npz is damaged: [\d,]+ bytes with the SHA-256 .* Install"
        ):
            sp.load_preset("tiny", folder=folder)
    path.unlink()
    with pytest.raises(ValueError, match=r"weights .*tiny\.npz of the preset 'tiny' are missing"):
        sp.load_preset("tiny", folder=folder)


def test_damaged_descriptions_are_named(folder):
    path = folder / "tiny.json"
    facts = json.loads(path.read_text("utf-8"))
    for text, words in (
        (path.read_text("utf-8")[:-30], "tiny.json is damaged: Unterminated string"),
        ("[]", "tiny.json is damaged: it has a list instead of named entries"),
        ("{}", "tiny.json is damaged: it lacks format, name"),
        ('{"format": 2}', "it lacks name, .* license, accuracy. Install keras-seqpar again"),
        (json.dumps(facts | {"format": 9}), "has the format 9, this version .* reads 2"),
        ('{"format": 1}', "has the format 1, .* or make the preset again with recipes/make_preset"),
        (json.dumps(facts | {"build": {"builder": "x"}}), "describes no network: .*'family'"),
        (json.dumps(facts | {"input_shape": 3}), "describes no network: .* Install keras-seqpar"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(ValueError, match=words):
            sp.load_preset("tiny", folder=folder)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"tiny\.json is damaged: .*decode"):
        sp.load_preset("tiny", folder=folder)


def test_weights_of_another_network_are_refused(net, tmp_path):
    facts, _ = presets.pack(net, **GIVEN)
    write(net, tmp_path, build=facts["build"] | {"width": 0.25})
    with pytest.raises(ValueError, match="do not fit the preset's network(?s:.*)of another shape"):
        sp.load_preset("tiny", folder=tmp_path)
    with pytest.raises(ValueError, match="weights of the preset are damaged"):
        presets.restore(facts, b"PK no zip")


def test_what_float16_cannot_hold_is_refused(net):
    model = sp.cutout(net, LABELS, copy=True)
    kernel = named_weights(model)["stem_conv/kernel"]
    kernel.assign(array(kernel) * 1e6)
    with pytest.raises(ValueError, match="stem_conv/kernel of .* not finite in float16.*65504"):
        presets.pack(model, **GIVEN)
    with pytest.raises(ValueError, match="Unknown entry of a preset 'licence'.*'license'"):
        presets.pack(net, licence="Apache-2.0")


def test_statistics_of_any_size_are_kept(net, tmp_path):
    model = sp.cutout(net, LABELS, copy=True)
    variance = named_weights(model)["stem_conv_norm/moving_variance"]
    values = np.geomspace(1e-9, 1e7, variance.shape[0]).astype("float32")
    variance.assign(values)
    write(model, tmp_path)
    loaded = named_weights(sp.load_preset("tiny", folder=tmp_path))
    assert np.array_equal(array(loaded["stem_conv_norm/moving_variance"]), values)


def test_writing_is_whole_or_not_at_all(net, folder, monkeypatch):
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    with monkeypatch.context() as patched:

        def full(*args):
            raise OSError(28, "No space left on device")

        patched.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            write(net, folder, license="another")
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before
    for name in ("Tiny", "a-b", "a/b", "", "größe", "3d"):
        with pytest.raises(
            ValueError, match="lower-case letters, digits and underscores and begins"
        ):
            write(net, folder, name)
    with pytest.raises(ValueError, match="'x' lacks the entries license"):
        facts, content = presets.pack(net, **GIVEN)
        del facts["license"]
        presets.write("x", facts, content, folder=folder)
