"""Any categories of a pack can be run, and nothing else is."""

import pickle
import shutil
import warnings

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.mobile.export.packs.adding import add_branch
from keras_seqpar.mobile.export.packs.packing import pack
from keras_seqpar.mobile.format.pack_files import remove_branch
from keras_seqpar.mobile.runtime.manifest import read_manifest
from keras_seqpar.mobile.runtime.pack_runner import PackRunner, PartRunner
from tests import harness
from tests.mobile import clients, conftest
from tests.mobile.clients import noise
from tests.mobile.packs import grown, network, part, plain, tamper

pytestmark = pytest.mark.only_backend("tensorflow")


def test_what_is_not_chosen_is_not_run(packs, monkeypatch):
    ran = []
    original = PartRunner.pass_on
    monkeypatch.setattr(
        PartRunner,
        "pass_on",
        lambda self, x: ran.append(plain(self.path.name)[:-7]) or original(self, x),
    )
    runner = PackRunner(packs["int8"], ["tug", "cat"])
    assert runner.categories == ("tug", "cat")
    files = {"trunk.tflite", *(f"branch_{id_}.tflite" for id_ in ("pets", "cat", "ships", "tug"))}
    assert set(map(plain, runner.loaded)) == files
    runner(noise(1))
    assert sorted(ran) == ["branch_cat", "branch_pets", "branch_ships", "branch_tug", "trunk"]
    ran.clear()
    trunk = runner._trunk
    runner(noise(2), ["pets", "car"])  # a superclass once for both of its categories
    once = ["branch_car", "branch_cat", "branch_dog", "branch_pets", "trunk"]
    assert sorted(ran) == sorted(2 * once)
    assert runner._trunk is trunk and set(map(plain, runner.loaded)) == files | {
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


def test_threads_may_share_a_runner(packs):
    runner = PackRunner(packs["int8"], ["cat"])  # other files are loaded by whoever needs them
    images = noise(3, seed=1), noise(4, seed=2)
    names = ["tug", "cat"], ["pets", "car"]
    alone = PackRunner(packs["int8"])
    wanted = [alone.logits(*pair) for pair in zip(images, names, strict=True)]
    calls = [lambda pair=pair: runner.logits(*pair) for pair in zip(images, names, strict=True)]
    calls.append(lambda: (runner.reload(), runner.loaded, runner.latency(1, 0)))
    *answers, _ = clients.answers_of_threads(calls, rounds=20)
    for right, given in zip(wanted, answers, strict=True):
        assert all(np.array_equal(right, logits) for logits in given)


def test_a_runner_stays_in_its_process(packs):
    with pytest.raises(TypeError, match="A PackRunner cannot be pickled or copied"):
        pickle.dumps(PackRunner(packs["float32"], ["cat"]))


def test_images_that_contradict_the_pack(packs):
    images = noise(2)
    for kind in ("int8", "float32"):
        runner = PackRunner(packs[kind], ["cat", "car"])
        for wrong, words in [
            (images * np.nan, "must be finite"),
            (images / 64 - 2, f"do not fit .*{kind}', which takes pixels of 0 to 255"),
            (images.astype("int64") * 256, "int64 in .* takes pixels of 0 to 255"),
        ]:
            with pytest.raises(ValueError, match=words):
                runner(wrong)
        with pytest.raises(TypeError, match="integers or floats, got object"):
            runner.logits(images.astype(object))
        with pytest.warns(UserWarning, match="0 .. .*takes pixels of 0 to 255. Multiply them by"):
            runner.decide(images / 255)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            runner(images / 255)


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
    assert "branch_tug.tflite" not in map(plain, runner.loaded)
    assert runner._trunk is trunk
    assert runner._branch(runner.manifest.hierarchy.find("cat")) is cat
    with pytest.raises(ValueError, match="Unknown category or superclass 'tug'.*car, bus"):
        runner(images, ["tug"])
    part(copy, "trunk.tflite").rename(copy / "trunk.tflite")  # a name of earlier versions
    tamper(copy, lambda config: config["trunk"].update(file="trunk.tflite"))
    runner.reload()
    assert runner._trunk is trunk and runner(images).shape == (2, 4)
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
