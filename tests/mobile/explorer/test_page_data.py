"""What the page is given: its numbers are those of the package, its files give them."""

import json

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.explorer.page_data import cutter, write_page_data
from tests.mobile.clients import noise
from tests.mobile.packs import network, scores_of

pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.only_backend("tensorflow")
TREE = {"pets": ["cat", "dog"], "car": None}
GAINS = {"pets": 1.5, "dog": 0.25, "car": 2.0}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A nested network, the folder of its page in float32, and the facts."""
    net, folder = network(TREE), tmp_path_factory.mktemp("page") / "data"
    examples = {"Gray": np.full((30, 40, 3), 127, "uint8")}
    return net, folder, write_page_data(net, folder, title="Three", examples=examples)


def test_facts_are_those_of_the_costs_and_of_the_files(page):
    net, folder, facts = page
    assert json.loads((folder / "explorer.json").read_text("utf-8")) == facts
    plain, counted = facts["networks"]["plain"], sp.cost(sp.plain_twin(net))
    assert (plain["params"], plain["macs"]) == (counted.params, counted.macs)
    assert plain["bytes"] == (folder / plain["file"]).stat().st_size
    manifest = mobile.read_manifest(folder / "pack")
    for some in (["cat"], ["dog", "car"], TREE):
        cut = sp.cutout(net, list(some))
        nodes = ["trunk", *(node.id for node in manifest.hierarchy.prune(list(some)).nodes)]
        counted = sp.cost(cut)
        for key in ("params", "macs"):
            assert sum(facts["parts"][id_][key] for id_ in nodes) == getattr(counted, key)
    for id_, part in {"trunk": manifest.trunk, **manifest.branches}.items():
        assert facts["parts"][id_]["bytes"] == part.bytes
    assert [(folder / each["file"]).is_file() for each in facts["examples"]] == [True]


def run_steerable(folder, facts, images, gains):
    """Logits and activities of the steerable branches, fed by the pack's trunk, in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    manifest = mobile.read_manifest(folder / "pack")
    trunk = Interpreter(str(folder / "pack" / manifest.trunk.file)).get_signature_runner()
    logits, activity = [], []
    for image in images:
        found, maps = {}, {}

        def visit(node, features, found=found, maps=maps):
            file = str(folder / facts["steerable"][node.id])
            gain = np.full((1, 1), gains.get(node.id, 1.0), "float32")
            outputs = Interpreter(file).get_signature_runner()(features=features, gain=gain)
            maps[node.id] = outputs["activity"]
            found[node.id] = outputs.get("logit")
            for child in node.children:
                visit(child, outputs["features"])

        for root in manifest.hierarchy.roots:
            visit(root, trunk(image=image[None].astype("float32"))["features"])
        logits.append([float(found[id_][0, 0]) for id_ in manifest.hierarchy.category_ids])
        activity.append(maps)
    return np.array(logits), activity


def test_steerable_branches_have_the_gains_of_attend(page):
    net, folder, facts = page
    images = noise(2, net.input_shape[1])
    attended = sp.attend(net, GAINS)
    wanted = scores_of(sp.with_activation(attended, None), images)
    logits, activity = run_steerable(folder, facts, images, GAINS)
    np.testing.assert_allclose(logits, wanted, atol=1e-4, rtol=1e-4)
    for id_ in GAINS:
        features = scores_of(sp.split_branch(attended, id_)[0], images)
        maps = np.concatenate([each[id_] for each in activity])
        np.testing.assert_allclose(maps, np.abs(features).mean(-1), atol=1e-4, rtol=1e-4)


def test_a_cutter_makes_the_file_of_the_cutout(page, tmp_path):
    net, _, _ = page
    path = tmp_path / "cutout.tflite"
    path.write_bytes(cutter(net)(["car", "cat"]))
    images = noise(2, net.input_shape[1])
    scores = mobile.Runner(path)(images)
    np.testing.assert_allclose(scores, scores_of(sp.cutout(net, ["car", "cat"]), images), atol=1e-5)
    with pytest.raises(ValueError, match="cow"):
        cutter(net)(["cow"])


def test_other_images_than_color_squares_are_refused(tmp_path):
    wide = sp.build_phl(["a", "b"], family="resnet18", width=0.125, input_shape=(32, 48, 3))
    with pytest.raises(ValueError, match="square color images, not of"):
        write_page_data(wide, tmp_path / "data", title="Wide")
    assert not (tmp_path / "data").exists()
