"""Branches come to a pack and go, and nothing else changes."""

import shutil

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.mobile.export.packs.adding import add_branch
from keras_seqpar.mobile.export.packs.packing import pack
from keras_seqpar.mobile.format.pack_files import remove_branch
from keras_seqpar.mobile.runtime.manifest import read_manifest
from keras_seqpar.mobile.runtime.pack_runner import PackRunner
from tests import harness
from tests.mobile.clients import noise
from tests.mobile.packs import contents, flip, grown, network, part

pytestmark = pytest.mark.only_backend("tensorflow")


@pytest.mark.parametrize(
    ("kind", "parent"), [("int8", None), ("int8", "ships"), ("float32", "ships")]
)
def test_added_branches_equal_those_packed_at_once(packs, tmp_path, kind, parent):
    bigger = grown(parent=parent)
    pack(bigger, tmp_path / "whole", quantization=kind, calibration=noise())
    folder = shutil.copytree(packs[kind], tmp_path / "grown")
    before = contents(folder)
    reloaded = harness.reload(bigger, tmp_path)  # as after training elsewhere
    manifest = add_branch(folder, reloaded, "bus", calibration=noise())
    after = contents(folder)
    assert set(after) - set(before) == {"branch_bus.tflite"}
    assert all(after[name] == before[name] for name in before if name != "manifest.json")
    assert after["branch_bus.tflite"] == contents(tmp_path / "whole")["branch_bus.tflite"]
    assert manifest == read_manifest(folder) == read_manifest(tmp_path / "whole")
    images = noise(5)
    wanted = PackRunner(tmp_path / "whole")(images)
    assert np.array_equal(PackRunner(folder)(images), wanted)
    remove_branch(folder, "bus")
    assert contents(folder) == before


def test_superclasses_come_and_go_with_their_categories(packs, copy):
    remove_branch(copy, "pets")
    files = contents(copy)
    assert not {"branch_pets.tflite", "branch_cat.tflite", "branch_dog.tflite"} & set(files)
    remove_branch(copy, "ferry")
    assert PackRunner(copy).categories == ("car", "tug")
    assert "branch_ships.tflite" in contents(copy)
    manifest = add_branch(copy, network(), "dog", calibration=noise())
    assert manifest.hierarchy.categories == ("car", "tug", "dog")
    assert [node.id for node in manifest.hierarchy.superclasses] == ["ships", "pets"]
    add_branch(copy, network(), "cat", calibration=noise())
    original = contents(packs["int8"])
    assert all(original[name] == x for name, x in contents(copy).items() if "tflite" in name)
    images, names = noise(4), ["dog", "tug", "cat"]
    wanted = PackRunner(packs["int8"])(images, names)
    assert np.array_equal(PackRunner(copy)(images, names), wanted)


def test_branches_that_cannot_be_added(copy):
    before = contents(copy)
    other = sp.add_category(network(), "bus", parent="pets")
    other = sp.cutout(other, other.get_layer("categories").hierarchy.categories, copy=True)
    first = other.get_layer("branch_pets").weights[0]
    first.assign(first + 1e-6)
    trunk = sp.cutout(grown(), ["bus"], copy=True)
    trunk.get_layer("trunk").weights[-1].assign(trunk.get_layer("trunk").weights[-1] * 1.01)
    moved = network({"car": ["bus", "x"], "y": ["z"]})
    cases = [
        (other, "bus", {}, "The branch of 'pets' is another than that .*branch_pets.*tflite"),
        (trunk, "bus", {}, "The trunk is another .*trunk.*tflite.*freeze_others=True.*new pack"),
        (network(), "cat", {}, "has 'cat' already. Take it out first, with .*remove_branch"),
        (network(), "pets", {}, "has 'cat' already"),
        (moved, "bus", {}, "'car' is both a superclass and a category"),
        (grown(), "plane", {}, "Unknown category or superclass 'plane'"),
        (grown(), "bus", {"calibration": None}, "needs calibration"),
        (grown(), "bus", {"calibration": noise(size=8)}, r"shape \(n, 16, 16, 3\)"),
    ]
    for model, category, options, message in cases:
        with pytest.raises(ValueError, match=message):
            add_branch(copy, model, category, **{"calibration": noise(), **options})
    part(copy, "trunk.tflite").write_bytes(flip(before["trunk.tflite"]))
    with pytest.raises(ValueError, match=r"trunk\..*tflite' has the SHA-256"):
        add_branch(copy, grown(), "bus", calibration=noise())
    part(copy, "trunk.tflite").write_bytes(before["trunk.tflite"])
    assert contents(copy) == before
    for name in ("cat", "car", "ships"):
        remove_branch(copy, name)
    for name, message in (("dog", "is all that .* Delete the folder"), ("cat", "Unknown category")):
        with pytest.raises(ValueError, match=message):
            remove_branch(copy, name)
    assert PackRunner(copy)(noise(1)).tolist() == [[1.0]]
