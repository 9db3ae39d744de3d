"""The attention study: cues put together from columns against networks that are really attended."""

import json
import pathlib
import sys
import types

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import data

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "recipes"))
pytest.importorskip("absl")
Image = pytest.importorskip("PIL.Image")

import attention  # noqa: E402
import cues  # noqa: E402

from tests import harness  # noqa: E402

SIZE = 16
NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}
LABELS = sp.Hierarchy.of(NESTED).categories
AFTER = "stage5_block1_relu"


@pytest.fixture(scope="module")
def network():
    return harness.network(NESTED, include_preprocessing=True)


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, SIZE, SIZE, 3)).astype("uint8")
    return data.Split(tuple("abcdefghi"), np.arange(9) % 6, pixels)


def test_columns_are_those_of_attended_networks(network, split):
    settings = [(None, None, 1.0)]
    settings += [(None, None, 2.0), (None, 1, 2.0), (None, 2, 2.0), (AFTER, None, 2.0)]
    found = cues.run(sp.with_activation(network, None), split, settings, batch_size=4)
    x = split.pixels.astype("float32")
    tree = network.get_layer("categories").hierarchy
    neutral = found[settings[0]]
    assert neutral.shape == (9, 6)
    assert harness.error(neutral, harness.logits(network, x)) < 1e-6
    for setting in settings[1:]:
        after, level, gain = setting
        nodes = cues.nodes_at(tree, level)
        for node in set(nodes) - {None}:  # one node alone has the gain
            cued = np.array([other == node for other in nodes])
            attended = sp.attend(network, {node: gain}, after=after)
            together = np.where(cued, found[setting], neutral)
            assert harness.error(together, harness.logits(attended, x)) < 1e-6
    # and every image another cue, through the gains input
    ids = [node.id for node in tree.nodes]
    gains = np.ones((9, len(ids)), "float32")
    for image, category in enumerate(split.labels):
        gains[image, ids.index(tree.category_ids[category])] = 2
    cued = np.arange(6) == split.labels[:, None]
    together = np.where(cued, found[settings[1]], neutral)
    assert harness.error(together, harness.logits(sp.attention_input(network), x, gains)) < 1e-6


def test_superclasses_of_categories():
    tree = sp.Hierarchy.of(NESTED)
    pets, road = ["pets"] * 2, ["road"] * 2
    assert cues.nodes_at(tree, None) == list(tree.category_ids)
    assert cues.nodes_at(tree, 1) == [*pets, *["vehicles"] * 3, None]
    assert cues.nodes_at(tree, 2) == [None, None, *road, None, None]


@pytest.fixture
def columns():
    """Random logits of 40 images and 5 categories, in two superclasses and beside them."""
    rng = np.random.default_rng(1)
    logits = {gain: rng.normal(size=(40, 5)) for gain in (0.5, 1.0, 2.0)}
    return logits, ["a", "a", "b", "b", None], rng.integers(5, size=40)


def count(logits, gain, nodes, truth, cue) -> np.ndarray:
    """Whether each image is right with a cue on the node `cue(image)`, one by one."""
    found = []
    for i, true in enumerate(truth):
        row = logits[1.0][i].copy()
        for c, node in enumerate(nodes):
            if node is not None and node in cue(i):
                row[c] = logits[gain][i, c]
        found.append(float(row.argmax() == true))
    return np.array(found)


def test_a_sweep_counts_what_cues_do(columns):
    logits, nodes, truth = columns
    report = attention.sweep("name", logits, nodes, truth, absent=0, seed=3)
    assert report["gains"] == [0.5, 1.0, 2.0]
    plain = count(logits, 1.0, nodes, truth, lambda i: [])
    right, wrong = [], []
    for gain in report["gains"]:
        right.append(count(logits, gain, nodes, truth, lambda i: [nodes[truth[i]]]))
        hits = [count(logits, gain, nodes, truth, lambda i, n=n: [n]) for n in "ab"]
        others = [[n != nodes[t] for t in truth] for n in "ab"]
        wrong.append(np.average(hits, axis=0, weights=others))
    assert report["neutral"] == pytest.approx(plain.mean())
    assert report["right"] == pytest.approx([hits.mean() for hits in right])
    assert report["wrong"] == pytest.approx([hits.mean() for hits in wrong])
    best = max(hits.mean() for hits in right)
    assert report["peak"]["top1"] == pytest.approx(best)
    assert report["peak"]["top1"] == report["right"][report["gains"].index(report["peak"]["gain"])]
    found = report["calibrated"]
    assert (found["fitted_on"], found["images"]) == (20, 20)
    order = np.random.default_rng(3).permutation(40)
    fit, other = order[:20], order[20:]
    chosen = report["gains"].index(found["gain"])
    assert right[chosen][fit].mean() == max(hits[fit].mean() for hits in right)
    assert found["right"] == pytest.approx(right[chosen][other].mean())
    assert found["wrong"] == pytest.approx(wrong[chosen][other].mean())
    assert found["neutral"] == pytest.approx(plain[other].mean())
    assert "inhibition" not in report
    half = attention.sweep("name", logits, nodes, truth, absent=0, seed=3, trust=0.5)
    mixed = [(0.5 * (r + w))[fit].mean() for r, w in zip(right, wrong, strict=True)]
    chosen = report["gains"].index(half["calibrated"]["gain"])
    assert mixed[chosen] == pytest.approx(max(mixed))


def test_absent_categories_are_others_and_as_many_as_asked_for(columns):
    logits, _, truth = columns
    high, low = np.zeros((40, 5)), np.full((40, 5), -2.0)
    high[np.arange(40), truth] = -1  # right where all others are lowered, and it is not
    for absent in (1, 3):
        assert not cues.inhibited(high, low, truth, absent, seed=0).any()
    assert cues.inhibited(high, low, truth, 4, seed=0).all()
    drawn = [cues.inhibited(logits[1.0], low - 9, truth, 2, seed) for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    report = attention.sweep("name", logits, list("abcde"), truth, absent=4, seed=0)
    true = np.eye(5, dtype=bool)[truth]
    want = np.where(true, logits[1.0], logits[0.5]).argmax(-1) == truth
    assert report["inhibition"] == {"absent": 4, "gains": [0.5], "top1": [want.mean()]}


def test_one_wrong_cue_is_drawn_where_there_are_many(columns, monkeypatch):
    truth, numbers = columns[2], np.arange(5)
    monkeypatch.setattr(cues, "MOST_CUES", 4)
    lowered, raised = np.full((40, 5), -9.0), np.full((40, 5), 9.0)
    drawn = [cues.wrong_cue(lowered, raised, numbers, truth, seed) for seed in range(20)]
    assert not np.any(drawn)  # the cue is never the true category, and always another one
    numbers = np.array([0, 1, 2, 3, -1])
    monkeypatch.setattr(cues, "MOST_CUES", 3)
    drawn = [cues.wrong_cue(lowered, raised, numbers, truth, seed) for seed in range(20)]
    assert not np.any(drawn)


def test_peak_ebb_and_break_even():
    truth = np.zeros(100, int)
    margins = np.linspace(-1, 1, 100)  # without gains half are right

    def raised(by):
        return np.stack([margins + by, np.zeros(100)], axis=-1)

    logits = {
        0.5: raised(-0.5),
        1.0: raised(0),
        2.0: raised(0.5),
        2.5: raised(0.5),
        3.0: raised(-0.1),
    }
    report = attention.sweep("name", logits, ["a", "b"], truth, absent=1, seed=0)
    assert report["neutral"] == 0.5
    assert report["peak"] == {"gain": 2.0, "top1": 0.75}
    assert report["ebb"] == 3.0
    assert attention.break_even(neutral=0.5, right=0.75, wrong=0.25) == 0.5
    assert attention.break_even(neutral=0.5, right=0.5, wrong=0.25) is None
    assert attention.break_even(neutral=0.5, right=0.75, wrong=0.6) == 0
    text = attention.table(report)
    assert "peak of 75.00 % (+25.00 points) at gain 2; ebbs to 45.00 % at 3, " in text
    assert "no better than without from 3 on" in text
    del logits[2.5], logits[3.0]
    risen = attention.sweep("name", logits, ["a", "b"], truth, absent=1, seed=0)
    assert "at gain 2, the end of the grid: it may lie beyond." in attention.table(risen)
    flat = attention.sweep(
        "name", {1.0: raised(0), 2.0: raised(-1)}, ["a", "b"], truth, absent=1, seed=0
    )
    assert "no gain of the grid raises it" in attention.table(flat)


# The command.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A validation split of the network's categories and one more."""
    path = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for label in (*LABELS, "foreign"):
        category = path / "val" / label
        category.mkdir(parents=True)
        for i in range(2):
            noise = rng.integers(0, 256, (SIZE, SIZE, 3)).astype("uint8")
            Image.fromarray(noise).save(category / f"{i}.png")
    return path


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    """The network with a constant gain: the study starts from 1."""
    path = tmp_path_factory.mktemp("model") / "net.keras"
    sp.attend(network, {"cat": 3, "pets": 0}).save(path)
    return path


def arguments(model, folder, *more):
    return [str(model), f"--dataset=folder:{folder}", "--batch_size=8", "--gains=0.5,2", *more]


def test_the_command_prints_writes_and_draws(network, saved, folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    paths = [tmp_path / "new" / name for name in ("out.json", "out.png")]
    more = (f"--after={AFTER}", f"--json={paths[0]}", f"--plot={paths[1]}", "--absent=2")
    assert attention.main(arguments(saved, folder, *more)) == 0
    text = capsys.readouterr().out
    report = json.loads(paths[0].read_text())
    names = [sweep["name"] for sweep in report["sweeps"]]
    assert names == [
        "Gain on the categories",
        "Gain on superclasses, level 1",
        "Gain on superclasses, level 2",
        f"Gain on the categories, after {AFTER}",
    ]
    assert all(name in text for name in names)
    assert "2 absent inhibited" in text
    assert report["images"] == 12
    assert paths[1].stat().st_size > 1000
    images = data.load(f"folder:{folder}", image_size=SIZE, splits=["validation"])
    truth = [LABELS.index(n) if n in LABELS else -1 for n in images.categories]
    truth = np.array(truth)[images.validation.labels]
    x = images.validation.read(np.flatnonzero(truth >= 0)).astype("float32")
    said = harness.logits(network, x).argmax(-1)
    assert report["sweeps"][0]["neutral"] == pytest.approx((said == truth[truth >= 0]).mean())
    assert all(sweep["neutral"] == report["sweeps"][0]["neutral"] for sweep in report["sweeps"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--gains=1,two"], "--gains=1,two: could not convert string to float: 'two'"),
        (["--gains=-1"], "--gains=-1: The gain of '--gains' must be finite and not negative"),
        (["--absent=6"], "--absent is at most 5, the other categories; got 6."),
        (["--trust=1.5"], "--trust is a share from 0 to 1, got 1.5."),
        (["--after=stage9"], "Unknown layer to act after 'stage9'."),
        (["--after=stage3_block1_conv1"], "Unknown layer to act after 'stage3_block1_conv1'."),
        (["--split=train"], "has no train split"),
        (["--plot=x.xyz"], "--plot must end in .png, .svg or .pdf, got 'x.xyz'."),
    ],
)
def test_bad_flags(saved, folder, capsys, monkeypatch, tmp_path, more, words):
    monkeypatch.chdir(tmp_path)
    assert attention.main(arguments(saved, folder, *more)) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_networks_that_have_no_cues_to_give(folder, tmp_path, capsys):
    options = {"input_shape": (SIZE, SIZE, 3), "stem": "small", "width": 0.125}
    sp.build_plain(LABELS, family="resnet18", **options).save(tmp_path / "net.keras")
    assert attention.main(arguments(tmp_path / "net.keras", folder)) == 1
    assert "is a plain network" in capsys.readouterr().err
    one = types.SimpleNamespace(
        trust=1.0, absent=None, after=None, gains=[1.0, 2.0], seed=0, batch_size=4
    )
    with pytest.raises(ValueError, match="two categories or more"):
        attention.measure(harness.network(["cat"]), None, None, one)


def test_help(capsys):
    with pytest.raises(SystemExit):
        attention.main(["--help"])
    assert "--after" in capsys.readouterr().out
