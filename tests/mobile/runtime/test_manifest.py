"""Manifests say what a pack is; damaged files and files of other packs are refused by name."""

import dataclasses
import hashlib
import json
import shutil

import pytest

import keras_seqpar as sp
from keras_seqpar.mobile.export.packs.packing import pack
from keras_seqpar.mobile.runtime.manifest import Tensor, read_manifest
from keras_seqpar.mobile.runtime.pack_runner import PackRunner
from tests import harness
from tests.mobile.clients import noise
from tests.mobile.packs import TREE, contents, flip, network, part, tamper

pytestmark = pytest.mark.only_backend("tensorflow")


def test_manifest(packs, trained_pack):
    manifest = read_manifest(packs["int8"])
    assert manifest.hierarchy == sp.Hierarchy.of(TREE)
    assert (manifest.mean, manifest.std, manifest.threshold) == ((0.0,) * 3, (1.0,) * 3, None)
    assert manifest.classifier_activation == "softmax" and manifest.quantization == "int8"
    listed = {"manifest.json", "trunk.tflite"}
    listed |= {f"branch_{node.id}.tflite" for node in manifest.hierarchy.nodes}
    assert set(contents(packs["int8"])) == listed
    for one in (manifest.trunk, *manifest.branches.values()):
        content = (packs["int8"] / one.file).read_bytes()
        assert one.file.split(".")[1] == one.sha256[:12]
        assert (one.bytes, one.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    taken = read_manifest(trained_pack).trunk.input
    assert taken == Tensor((1, 32, 32, 3), "uint8", 1.0, 0)
    config = json.loads((packs["int8"] / "manifest.json").read_text("utf-8"))
    assert (config["format"], config["version"]) == ("keras_seqpar branch pack", 1)
    assert config["branches"]["cat"]["takes"] == config["branches"]["pets"]["sha256"]
    assert config["branches"]["pets"]["takes"] == config["trunk"]["sha256"]


@pytest.mark.parametrize("file", ["trunk.tflite", "branch_cat.tflite", "branch_ships.tflite"])
def test_damaged_files_are_refused_by_name(copy, file):
    path = part(copy, file)
    content, name = path.read_bytes(), path.name
    cases = [
        (flip(content), ValueError, "has the SHA-256 .*, but the manifest says .* Copy it again"),
        (content[:-1], ValueError, "bytes, but the manifest says .* truncated or another file"),
        (b"", ValueError, "has 0 bytes, but the manifest says"),
        (None, FileNotFoundError, f"copy.pack' has no file '{name}'. Copy it there, or choose"),
    ]
    for changed, error, message in cases:
        path.unlink(missing_ok=True)
        if changed is not None:
            path.write_bytes(changed)
        with pytest.raises(error, match=message) as raised:
            PackRunner(copy)
        assert name in str(raised.value)
    if file != "trunk.tflite":  # who does not choose it does not need it
        assert PackRunner(copy, ["car"])(noise(2)).shape == (2, 1)
        with pytest.raises(FileNotFoundError, match=name):
            PackRunner(copy, ["car"])(noise(2), ["ferry", "cat"])


def test_branches_of_another_trunk_are_refused_by_name(packs, copy, tmp_path):
    other = network(seed=1)
    other = sp.cutout(other, other.get_layer("categories").hierarchy.categories, copy=True)
    harness.randomize(other, seed=1)
    pack(other, tmp_path / "other", calibration=noise())
    other_config = json.loads((tmp_path / "other" / "manifest.json").read_text("utf-8"))
    shutil.copy(part(tmp_path / "other", "branch_car.tflite"), part(copy, "branch_car.tflite"))
    with pytest.raises(ValueError, match=r"branch_car.*tflite' has "):
        PackRunner(copy)
    shutil.copy(part(tmp_path / "other", "branch_car.tflite"), copy)
    tamper(copy, lambda config: config["branches"].update(car=other_config["branches"]["car"]))
    with pytest.raises(ValueError, match=r"'branch_car.*tflite' \(car\) .* another trunk: .* Take"):
        PackRunner(copy)
    # A manifest that claims it fits: the file itself knows better.
    trunk = read_manifest(packs["int8"]).trunk
    claim = {"takes": trunk.sha256, "input": dataclasses.asdict(trunk.output)}
    tamper(copy, lambda config: config["branches"]["car"].update(claim))
    with pytest.raises(ValueError, match="branch_car.*tflite' takes .* but the manifest says"):
        PackRunner(copy)
    shutil.copy(packs["int8"] / "manifest.json", copy)
    for file in ("branch_pets.tflite", "branch_cat.tflite"):
        shutil.copy(part(tmp_path / "other", file), copy)
    for id_ in ("pets", "cat"):
        tamper(
            copy,
            lambda config, id_=id_: config["branches"].update({id_: other_config["branches"][id_]}),
        )
    with pytest.raises(ValueError, match="'branch_pets.*tflite' .pets. was calibrated for another"):
        PackRunner(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="x"), "is no manifest of a branch pack"),
        (lambda c: c.update(version=2), "format version 2; this keras_seqpar reads 1. Make"),
        (lambda c: c.pop("trunk"), r"damaged \(KeyError: 'trunk'\). Copy it again"),
        (lambda c: c["trunk"].pop("sha256"), "is damaged .TypeError"),
        (lambda c: c.update(hierarchy=[]), "is damaged .TypeError"),
        (lambda c: c.update(branches=[]), "is damaged .AttributeError"),
        (lambda c: c["branches"].pop("tug"), "hierarchy and branches differ in tug"),
        (lambda c: c["branches"]["tug"].update(file="../x.tflite"), "'../x.tflite' should be"),
        (
            lambda c: c["branches"]["tug"]["input"].update(scale=1.0),
            "branch_tug.*tflite' takes int8",
        ),
        (lambda c: c["branches"]["tug"].update(takes="x"), "another superclass branch"),
        (lambda c: c.update(classifier_activation="gelu"), "applies the activation 'gelu'"),
    ],
)
def test_damaged_manifests(copy, change, message):
    tamper(copy, change)
    with pytest.raises(ValueError, match=message) as raised:
        PackRunner(copy)
    assert "manifest.json" in str(raised.value)


def test_folders_that_are_no_packs(copy, tmp_path):
    with pytest.raises(FileNotFoundError, match="'nowhere' is no branch pack: .* no such folder"):
        PackRunner("nowhere")
    with pytest.raises(FileNotFoundError, match="no file 'manifest.json' in it. Make one with"):
        PackRunner(tmp_path)
    path = copy / "manifest.json"
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\xff\xfe"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="manifest.json' is truncated or damaged"):
            PackRunner(copy)
