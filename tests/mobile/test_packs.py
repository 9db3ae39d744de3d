"""Branch packs: files that fit bit for bit, any subset of them, and nothing else."""

import dataclasses
import hashlib
import json
import os
import shutil

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data, mobile
from keras_seqpar.mobile.export.packs import branches, part_files, ranges
from keras_seqpar.mobile.export.packs.adding import add_branch
from keras_seqpar.mobile.export.packs.packing import pack
from keras_seqpar.mobile.format.pack_files import remove_branch
from keras_seqpar.mobile.runtime.manifest import Tensor, read_manifest
from keras_seqpar.mobile.runtime.pack_runner import PackRunner, PartRunner
from tests import harness
from tests.mobile import clients, conftest

pytestmark = pytest.mark.only_backend("tensorflow")

TREE = {"pets": ["cat", "dog"], "car": None, "ships": ["ferry", "tug"]}


def network(tree=TREE, **options):
    """A small network with random weights that takes pixels."""
    return harness.network(tree, include_preprocessing=True, **options)


def noise(count=60, seed=0, size=16) -> np.ndarray:
    """Random images of different brightness: (count, size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    bright = rng.uniform(0.2, 1, (count, 1, 1, 3))
    return (rng.integers(0, 256, (count, size, size, 3)) * bright).astype("uint8")


def scores_of(net, images) -> np.ndarray:
    return harness.predict(net, images.astype("float32"))


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tamper(folder, change) -> None:
    """Edits the manifest by hand."""
    path = folder / "manifest.json"
    config = json.loads(path.read_text("utf-8"))
    change(config)
    path.write_text(json.dumps(config), "utf-8")


@pytest.fixture(scope="module")
def digits():
    """Five categories: 200 images to calibrate on, then 500 to compare on, and their labels."""
    loaded = data.load("digits", image_size=conftest.SIZE)
    images, labels = conftest.choose(loaded, loaded.train, conftest.CATEGORIES)
    return images[:200], images[200:700], np.array(conftest.CATEGORIES)[labels[200:700]]


@pytest.fixture(scope="module")
def trained_pack(trained, digits, tmp_path_factory):
    """The digits network of five branches as a pack in int8 that takes uint8."""
    folder = tmp_path_factory.mktemp("trained") / "digits.pack"
    pack(trained.net, folder, calibration=digits[0], input_dtype="uint8")
    return folder


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Quantization -> the nested network of random weights as a pack."""
    folder = tmp_path_factory.mktemp("packs")
    for kind in ("int8", "float32"):
        pack(network(), folder / kind, quantization=kind, calibration=noise())
    return {kind: folder / kind for kind in ("int8", "float32")}


@pytest.fixture
def copy(packs, tmp_path):
    """A copy of the int8 pack that may be changed."""
    return shutil.copytree(packs["int8"], tmp_path / "copy.pack")


def test_int8_agrees_with_one_file_and_with_keras(trained, trained_pack, digits, tmp_path):
    calibration, images, labels = digits
    options = {"quantization": "int8", "calibration": calibration, "input_dtype": "uint8"}
    runner = PackRunner(trained_pack)
    for net, names in ((trained.net, None), (trained.cutout, conftest.KEPT)):
        fused = mobile.Runner(mobile.convert(net, tmp_path / "fused.tflite", **options).path)
        own = images[np.isin(labels, names or labels)]
        scores = runner(own, names)
        assert scores.shape == (len(own), len(names or conftest.CATEGORIES))
        assert scores.dtype == np.float32
        assert np.mean(scores.argmax(-1) == fused(own).argmax(-1)) >= 0.995
        wanted = scores_of(net, own)
        assert np.mean(scores.argmax(-1) == wanted.argmax(-1)) >= 0.99
        assert np.abs(scores - wanted).max() <= 0.15


def test_float32_equals_keras(packs):
    images = noise(9, seed=3)
    runner = PackRunner(packs["float32"])
    assert harness.error(runner(images), scores_of(network(), images)) < 1e-5
    for names in (["tug", "cat"], ["ships"], ["pets", "car"]):
        wanted = scores_of(sp.cutout(network(), names), images)
        assert harness.error(runner(images, names), wanted) < 1e-5


def test_int8_files_fit_bit_for_bit(packs):
    """As any client of LiteRT sees them."""
    from ai_edge_litert.interpreter import Interpreter

    def ends(file):
        engine = Interpreter(str(packs["int8"] / file))
        (taken,), (given,) = engine.get_input_details(), engine.get_output_details()
        return taken, given

    def traits(detail):
        parameters = detail["quantization_parameters"]
        scale = parameters["scales"].tobytes(), parameters["zero_points"].tolist()
        return detail["name"], detail["dtype"], detail["shape"].tolist(), scale

    trunk = ends("trunk.tflite")
    assert trunk[0]["name"] == "image"
    manifest = read_manifest(packs["int8"])
    for node, feeder, part in manifest.feeds():
        taken, given = ends(part.file)
        assert traits(taken) == traits(ends(feeder.file)[1])
        assert taken["name"] == "features" and taken["dtype"] == np.int8
        assert part.input.scale == taken["quantization"][0] and part.input.scale > 0
        assert (given["name"], given["dtype"]) == (
            ("logit", np.float32) if node.is_category else ("features", np.int8)
        )


@pytest.mark.parametrize("seed", range(3))
def test_converter_gives_back_any_scale(seed):
    """What is computed from the extremes is the scale, for ranges with and without negatives."""
    rng = np.random.default_rng(seed)
    inputs = keras.Input((2, 2, 4))
    outputs = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(inputs))
    branch = keras.Model(inputs, outputs)
    for low in (np.float32(0), np.float32(-rng.uniform(0.01, 3))):
        high = np.float32(rng.uniform(0.01, 30))
        scale = (high - low) / np.float32(255)  # as the converter computes it
        zero = int(np.round(-128 - float(low) / float(scale)))
        tensor = Tensor((1, 2, 2, 4), "int8", float(scale), zero)
        features = rng.integers(-128, 128, (3, 2, 2, 4)).astype("int8")
        content = part_files.convert_part(
            branch,
            tensor.shape,
            "int8",
            lambda: ranges.feature_samples(features, tensor),  # noqa: B023
            ("int8", "float32"),
            ("features", "logit"),
            {},
        )
        from ai_edge_litert.interpreter import Interpreter

        (detail,) = Interpreter(model_content=content).get_input_details()
        assert detail["quantization"] == (tensor.scale, tensor.zero_point)


def test_extremes_give_back_the_scale():
    rng = np.random.default_rng(0)
    lows = np.concatenate([np.zeros(300), -rng.uniform(0.001, 9, 300)]).astype("float32")
    naive = 0
    for low, high in zip(lows, rng.uniform(0.001, 90, 600).astype("float32"), strict=True):
        scale = (high - low) / np.float32(255)
        zero = int(np.round(-128 - float(low) / float(scale)))
        tensor = Tensor((1,), "int8", float(scale), zero)
        found = ranges.extremes(tensor)
        assert (found[1] - found[0]) / np.float32(255) == scale
        ends = [scale * np.float32(q - zero) for q in (-128, 127)]
        naive += (ends[1] - ends[0]) / np.float32(255) != scale
        assert np.allclose(found, ends, rtol=1e-6)
    assert naive > 0  # so that the search is not for nothing


def test_convnext_in_int8(tmp_path):
    """Its features have negatives, its normalizations stay in floats between the integers."""
    net = network(["a", "b"], family="convnext_v2_atto")
    manifest = pack(net, tmp_path / "pack", calibration=noise())
    assert manifest.trunk.output.zero_point > -128
    images = noise(40, seed=1)
    assert np.abs(PackRunner(tmp_path / "pack")(images) - scores_of(net, images)).max() < 0.1


def test_what_is_not_chosen_is_not_run(packs, monkeypatch):
    ran = []
    original = PartRunner.pass_on
    monkeypatch.setattr(
        PartRunner, "pass_on", lambda self, x: ran.append(self.path.stem) or original(self, x)
    )
    runner = PackRunner(packs["int8"], ["tug", "cat"])
    assert runner.categories == ("tug", "cat")
    files = {"trunk.tflite", *(f"branch_{id_}.tflite" for id_ in ("pets", "cat", "ships", "tug"))}
    assert set(runner.loaded) == files
    runner(noise(1))
    assert sorted(ran) == ["branch_cat", "branch_pets", "branch_ships", "branch_tug", "trunk"]
    ran.clear()
    trunk = runner._trunk
    runner(noise(2), ["pets", "car"])  # a superclass once for both of its categories
    once = ["branch_car", "branch_cat", "branch_dog", "branch_pets", "trunk"]
    assert sorted(ran) == sorted(2 * once)
    assert runner._trunk is trunk and set(runner.loaded) == files | {
        "branch_dog.tflite",
        "branch_car.tflite",
    }
    assert runner.categories == ("tug", "cat")


def test_scores_are_the_softmax_over_the_chosen_logits(packs):
    images = noise(7, seed=2)
    runner = PackRunner(packs["int8"], threads=2)
    logits = runner.logits(images)
    order = list(runner.categories)
    assert order == ["cat", "dog", "car", "ferry", "tug"]
    assert np.allclose(runner(images), harness.softmax(logits), atol=1e-6)
    chosen = ["tug", "car", "dog"]
    columns = logits[:, [order.index(name) for name in chosen]]
    assert np.array_equal(runner.logits(images, chosen), columns)
    assert np.allclose(runner(images, chosen), harness.softmax(columns), atol=1e-6)
    assert np.allclose(runner(images.astype("float32"), chosen), runner(images, chosen))


@pytest.mark.parametrize("activation", ["sigmoid", None, "linear"])
def test_other_activations(tmp_path, activation):
    net = sp.with_activation(network(["a", "b"]), activation)
    pack(net, tmp_path / "pack", quantization="float32")
    images = noise(5)
    assert harness.error(PackRunner(tmp_path / "pack")(images), scores_of(net, images)) < 1e-5


def test_manifest(packs, trained_pack):
    manifest = read_manifest(packs["int8"])
    assert manifest.hierarchy == sp.Hierarchy.of(TREE)
    assert (manifest.mean, manifest.std, manifest.threshold) == ((0.0,) * 3, (1.0,) * 3, None)
    assert manifest.classifier_activation == "softmax" and manifest.quantization == "int8"
    listed = {"manifest.json", "trunk.tflite"}
    listed |= {f"branch_{node.id}.tflite" for node in manifest.hierarchy.nodes}
    assert set(contents(packs["int8"])) == listed
    for part in (manifest.trunk, *manifest.branches.values()):
        content = (packs["int8"] / part.file).read_bytes()
        assert (part.bytes, part.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    taken = read_manifest(trained_pack).trunk.input
    assert taken == Tensor((1, 32, 32, 3), "uint8", 1.0, 0)
    config = json.loads((packs["int8"] / "manifest.json").read_text("utf-8"))
    assert (config["format"], config["version"]) == ("keras_seqpar branch pack", 1)
    assert config["branches"]["cat"]["takes"] == config["branches"]["pets"]["sha256"]
    assert config["branches"]["pets"]["takes"] == config["trunk"]["sha256"]


def test_other_networks(tmp_path):
    """Normalized input, mixed precision, constant gains, labels of any kind, any size."""
    images = harness.images(harness.network(), 60)
    tree = ["naïve café", "x/y:z"]
    net = sp.attend(harness.network(tree, input_shape=(None, None, 3)), {"x/y:z": 1.5})
    manifest = pack(net, tmp_path / "a", calibration=images, image_size=(16, 16))
    assert manifest.mean == pytest.approx((123.675, 116.28, 103.53))
    runner = PackRunner(tmp_path / "a")
    assert runner.categories == tuple(tree)
    assert np.abs(runner(images) - harness.predict(net, images)).max() < 0.1
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = harness.build(["a", "b"])
    finally:
        keras.config.set_dtype_policy("float32")
    harness.randomize(half)
    pack(half, tmp_path / "b", quantization="float32")
    assert np.abs(PackRunner(tmp_path / "b")(images) - harness.predict(half, images)).max() < (0.02)


def grown(tree=TREE, category="bus", parent=None, seed=5, **options):
    """The network with a new branch of random weights."""
    net = network(tree, **options)
    bigger = sp.add_category(net, category, parent=parent, seed=seed)
    id_ = bigger.get_layer("categories").hierarchy.find(category).id
    harness.randomize(bigger.get_layer(f"branch_{id_}"), seed=seed)
    return bigger


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
    assert after["branch_bus.tflite"] == (tmp_path / "whole" / "branch_bus.tflite").read_bytes()
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


def test_reload_sees_new_and_removed_branches(copy):
    runner = PackRunner(copy)
    trunk, cat = runner._trunk, runner._branch(runner.manifest.hierarchy.find("cat"))
    add_branch(copy, grown(), "bus", calibration=noise())
    remove_branch(copy, "ships")
    images = noise(2)
    assert runner(images).shape == (2, 5)  # of the files that it has loaded
    runner.reload()
    assert runner.categories == ("cat", "dog", "car", "bus")
    assert runner(images).shape == (2, 4)
    assert "branch_tug.tflite" not in runner.loaded
    assert runner._trunk is trunk
    assert runner._branch(runner.manifest.hierarchy.find("cat")) is cat
    with pytest.raises(ValueError, match="Unknown category or superclass 'tug'.*car, bus"):
        runner(images, ["tug"])
    tamper(copy, lambda config: config["trunk"].update(weights="another"))
    with pytest.raises(ValueError, match="has another trunk now. Make a new PackRunner"):
        runner.reload()


def test_threshold_holds_for_all_categories_only(tmp_path):
    net = network()
    images = noise(60, seed=4)
    threshold = sp.fit_threshold(harness.logits(net, images.astype("float32")), keep=0.5)
    stored = sp.with_threshold(net, threshold)
    folder = tmp_path / "pack"
    pack(stored, folder, quantization="float32")
    runner = PackRunner(folder)
    scores, none = runner.decide(images)
    assert np.array_equal(none, threshold.rejects(harness.logits(net, images.astype("float32"))))
    assert none.mean() == pytest.approx(0.5) and scores.shape == (60, 5)
    assert runner.decide(images, ["tug", "car", "pets", "ferry"])[1].tolist() == none.tolist()
    assert runner.decide(images, ["pets"])[1] is None
    remove_branch(folder, "car")
    assert PackRunner(folder).decide(images)[1] is None
    add_branch(folder, stored, "car")
    assert read_manifest(folder).threshold is None


def flip(content: bytes) -> bytes:
    """Another byte in the middle of the weights."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("file", ["trunk.tflite", "branch_cat.tflite", "branch_ships.tflite"])
def test_damaged_files_are_refused_by_name(copy, file):
    content = (copy / file).read_bytes()
    cases = [
        (flip(content), ValueError, "has the SHA-256 .*, but the manifest says .* Copy it again"),
        (content[:-1], ValueError, "bytes, but the manifest says .* truncated or another file"),
        (b"", ValueError, "has 0 bytes, but the manifest says"),
        (None, FileNotFoundError, f"copy.pack' has no file '{file}'. Copy it there, or choose"),
    ]
    for changed, error, message in cases:
        (copy / file).unlink(missing_ok=True)
        if changed is not None:
            (copy / file).write_bytes(changed)
        with pytest.raises(error, match=message) as raised:
            PackRunner(copy)
        assert file in str(raised.value)
    if file != "trunk.tflite":  # who does not choose it does not need it
        assert PackRunner(copy, ["car"])(noise(2)).shape == (2, 1)
        with pytest.raises(FileNotFoundError, match=file):
            PackRunner(copy, ["car"])(noise(2), ["ferry", "cat"])


def test_branches_of_another_trunk_are_refused_by_name(packs, copy, tmp_path):
    other = network(seed=1)
    other = sp.cutout(other, other.get_layer("categories").hierarchy.categories, copy=True)
    harness.randomize(other, seed=1)
    pack(other, tmp_path / "other", calibration=noise())
    foreign = json.loads((tmp_path / "other" / "manifest.json").read_text("utf-8"))
    shutil.copy(tmp_path / "other" / "branch_car.tflite", copy)
    with pytest.raises(ValueError, match="branch_car.tflite' has "):
        PackRunner(copy)
    tamper(copy, lambda config: config["branches"].update(car=foreign["branches"]["car"]))
    with pytest.raises(ValueError, match=r"'branch_car.tflite' \(car\) .* another trunk: .* Take"):
        PackRunner(copy)
    # A manifest that claims it fits: the file itself knows better.
    trunk = read_manifest(packs["int8"]).trunk
    claim = {"takes": trunk.sha256, "input": dataclasses.asdict(trunk.output)}
    tamper(copy, lambda config: config["branches"]["car"].update(claim))
    with pytest.raises(ValueError, match="branch_car.tflite' takes .* but the manifest says"):
        PackRunner(copy)
    shutil.copy(packs["int8"] / "manifest.json", copy)
    for file in ("branch_pets.tflite", "branch_cat.tflite"):
        shutil.copy(tmp_path / "other" / file, copy)
    for id_ in ("pets", "cat"):
        tamper(
            copy, lambda config, id_=id_: config["branches"].update({id_: foreign["branches"][id_]})
        )
    with pytest.raises(ValueError, match="'branch_pets.tflite' .pets. was calibrated for another"):
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
            "branch_tug.tflite' takes int8",
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


def test_choices_that_cannot_be_made(packs):
    runner = PackRunner(packs["int8"])
    for names, error, message in [
        (["cta"], ValueError, "Unknown category .*'cta'. Did you mean 'cat'"),
        ([], ValueError, "Choose at least one category"),
        (["pets", "cat"], ValueError, "'cat' is chosen twice"),
        ("cat", TypeError, r"Write \['cat'\] for one"),
    ]:
        with pytest.raises(error, match=message):
            runner(noise(1), names)
        with pytest.raises(error, match=message):
            PackRunner(packs["int8"], names)
    for images in (noise(1)[0], noise(1)[:, :9], noise(0)):
        with pytest.raises(ValueError, match=r"takes images of shape \(n, 16, 16, 3\), got"):
            runner(images)
    with pytest.raises(ValueError, match="threads must be"):
        PackRunner(packs["int8"], threads=0)
    with pytest.raises(ValueError, match="Unknown interpreter 'x'"):
        PackRunner(packs["int8"], interpreter="x")
    assert runner.latency(3, 1).shape == (3,) and runner.latency(3, 1, ["car"]).min() > 0


def test_networks_that_cannot_be_packed(tmp_path, monkeypatch):
    net, folder = network(["a", "b"]), tmp_path / "pack"
    plain = sp.build_plain(2, family="resnet18", input_shape=(16, 16, 3), width=0.125, stem="small")
    elu = sp.with_activation(net, "elu")
    cases = [
        ("net.keras", {}, TypeError, "got 'net.keras'"),
        (plain, {}, ValueError, "is a plain network"),
        (sp.attention_input(net), {}, ValueError, "gains input, which branch packs do not"),
        (elu, {}, ValueError, "Unknown activation of packs 'elu'.*with_activation"),
        (net, {"quantization": "dynamic"}, ValueError, "Unknown quantization of packs 'dynamic'"),
        (net, {"input_dtype": "int16"}, ValueError, "Unknown input_dtype 'int16'"),
        (net, {"quantization": "float32", "input_dtype": "uint8"}, ValueError, "needs quantiz"),
        (net, {"calibration": None}, ValueError, "needs calibration"),
        (net, {"calibration": noise() / 255.0}, ValueError, "Multiply them by 255"),
        (net, {"image_size": (8, 8)}, ValueError, "does not fit the model"),
    ]
    for model, options, error, message in cases:
        with pytest.raises(error, match=message):
            pack(model, folder, **{"calibration": noise(), **options})
    with pytest.raises(ValueError, match="The folder .*nowhere' does not exist"):
        pack(net, tmp_path / "nowhere" / "pack", calibration=noise())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for taken in ("full", "full/x"):
        with pytest.raises(ValueError, match="exists already. Choose another folder"):
            pack(net, tmp_path / taken, calibration=noise())
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="needs Keras on TensorFlow, but it runs on jax"):
        pack(net, folder, calibration=noise())
    assert sorted(os.listdir(tmp_path)) == ["full"]


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
        (other, "bus", {}, "The branch of 'pets' is another than that .*branch_pets.tflite"),
        (trunk, "bus", {}, "The trunk is another .*trunk.tflite.*freeze_others=True.*new pack"),
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
    (copy / "trunk.tflite").write_bytes(flip(before["trunk.tflite"]))
    with pytest.raises(ValueError, match="trunk.tflite' has the SHA-256"):
        add_branch(copy, grown(), "bus", calibration=noise())
    (copy / "trunk.tflite").write_bytes(before["trunk.tflite"])
    assert contents(copy) == before
    for name in ("cat", "car", "ships"):
        remove_branch(copy, name)
    for name, message in (("dog", "is all that .* Delete the folder"), ("cat", "Unknown category")):
        with pytest.raises(ValueError, match=message):
            remove_branch(copy, name)
    assert PackRunner(copy)(noise(1)).tolist() == [[1.0]]


def test_a_branch_quantized_otherwise_is_refused(monkeypatch, copy, tmp_path):
    """Without the sample that holds the extremes, the ranges are those of the images."""
    original = branches.feature_samples
    monkeypatch.setattr(
        branches,
        "feature_samples",
        lambda features, tensor: ([0.9 * some[0]] for some in original(features, tensor)),
    )
    before = contents(copy)
    with pytest.raises(ValueError, match="made branch_bus.tflite take int8 .* the two do not fit"):
        add_branch(copy, grown(), "bus", calibration=noise())
    assert contents(copy) == before
    with pytest.raises(ValueError, match="made branch_a.tflite take int8"):
        pack(network(["a", "b"]), tmp_path / "pack", calibration=noise())
    assert os.listdir(tmp_path) == ["copy.pack"]


def test_nothing_is_half_written(monkeypatch, copy, tmp_path):
    before = contents(copy)
    original = os.replace

    def fail(source, target):
        if str(target).endswith("manifest.json"):
            raise OSError("disk full")
        original(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        pack(network(["a", "b"]), tmp_path / "pack", quantization="float32")
    assert os.listdir(tmp_path) == ["copy.pack"]
    with pytest.raises(OSError, match="disk full"):
        add_branch(copy, grown(), "bus", calibration=noise())
    with pytest.raises(OSError, match="disk full"):
        remove_branch(copy, "pets")
    assert {name: x for name, x in contents(copy).items() if name in before} == before
    assert PackRunner(copy).categories == ("cat", "dog", "car", "ferry", "tug")


DEVICE = """
import importlib.util, sys
import numpy as np
for name in ("keras", "tensorflow", "ai_edge_litert"):
    assert importlib.util.find_spec(name) is None, name
from keras_seqpar.mobile.format.pack_files import remove_branch
from keras_seqpar.mobile.runtime.pack_runner import PackRunner
runner = PackRunner(sys.argv[1], ["8", "3", "5"])
np.save(sys.argv[3], runner(np.load(sys.argv[2])))
remove_branch(sys.argv[1], "0")
runner.reload()
print(runner.interpreter, *runner.manifest.hierarchy.categories)
"""


def test_tflite_runtime_names_the_same(
    tflite_runtime_python, root, trained, trained_pack, tmp_path
):
    folder = shutil.copytree(trained_pack, tmp_path / "pack")
    np.save(tmp_path / "in.npy", trained.images)
    files = folder, "in.npy", "out.npy"
    said = clients.on_device(tflite_runtime_python, root, DEVICE, *files, folder=tmp_path)
    assert said == ["tflite-runtime", "2.14.0", "1", "3", "5", "8"]
    scores = PackRunner(trained_pack)(trained.images, conftest.KEPT)
    assert np.mean(np.load(tmp_path / "out.npy").argmax(-1) == scores.argmax(-1)) >= 0.99
