import os

import keras
import matplotlib
import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings

import keras_seqpar as sp
from keras_seqpar import hierarchy, plots
from keras_seqpar.hierarchy.tree import Hierarchy
from tests import harness

NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}
SWEEP = {
    "name": "Gain on $x_{",
    "gains": [0.5, 1.0, 2.0, 3.0],
    "neutral": 0.7,
    "right": [0.5, 0.7, 0.8, 0.6],
    "wrong": [0.75, 0.7, 0.5, None],
    "inhibition": {"absent": 2, "gains": [0.5], "top1": [0.72]},
}


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@settings(max_examples=10)
@given(tree=harness.trees())
def test_a_tree_shows_every_node_once_and_every_edge(tree):
    figure = plots.tree(tree)
    assert sorted(texts(figure)) == sorted(["trunk", *(node.label for node in tree.nodes)])
    dots = {
        tuple(line.get_xydata()[0]) for line in figure.axes[0].lines if len(line.get_xdata()) == 1
    }
    edges = [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xdata()) > 1]
    assert len(dots) == len(tree.nodes) + 1
    assert len(edges) == len(tree.nodes)
    assert {tuple(point) for edge in edges for point in (edge[0], edge[-1])} == dots


def test_labels_lie_inside_the_figure_and_not_on_each_other():
    figure = plots.tree(hierarchy.from_subset("imagewoof", levels=3), title="Ten breeds, $3")
    figure.canvas.draw()
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_large_hierarchies_are_drawn_short(tmp_path):
    tree = hierarchy.from_subset("imagenet1k")
    figure = plots.tree(tree, tmp_path / "tree.png")
    shown = texts(figure)
    assert len(shown) == 1 + 2 * 32 and "55 categories" in shown
    assert matplotlib.image.imread(tmp_path / "tree.png").shape[0] < 2000


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_figures_are_written_whole(tmp_path, ending):
    path = tmp_path / f"tree.{ending}"
    hostile = Hierarchy.of({"$x_{": ["a\\frac", "<b>&amp;"], "%s {}": None})
    plots.tree(hostile, path)
    assert path.stat().st_size > 1000
    assert os.listdir(tmp_path) == [path.name]


def test_bad_input_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="Make one with Hierarchy.of"):
        plots.tree(["a", "b"])
    with pytest.raises(ValueError, match="'xyz' is not supported"):
        plots.tree(Hierarchy.of(["a"]), tmp_path / "tree.xyz")

    def fail(self, *_, **__):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "replace", fail)
        plots.tree(Hierarchy.of(["a"]), tmp_path / "tree.png")
    assert not os.listdir(tmp_path)


def inside(figure, labels) -> None:
    """All texts lie within the figure."""
    figure.canvas.draw()
    width, height = figure.get_size_inches() * figure.dpi
    for box in (text.get_window_extent() for text in labels):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_topology_shows_what_every_node_costs():
    model = harness.network({"trunk": ["cat", "dog"], "car": None})  # a superclass called so, too
    figure = plots.topology(model)
    inside(figure, figure.axes[0].texts)
    counted = sp.cost(model)
    numbers = [
        f"{plots.figure.short(n.params)} / {plots.figure.short(n.macs)}" for n in counted.nodes
    ]
    shown = texts(figure)
    for node, number in zip(counted.nodes, numbers, strict=True):
        assert f"{node.label}  {number}" in shown
    total = f"{plots.figure.short(counted.params)} / {plots.figure.short(counted.macs)}"
    assert shown[-1].endswith(f"one image of 16x16; in all {total}")
    with pytest.raises(ValueError, match="is a plain network"):
        plots.topology(sp.build_plain(3, family="resnet18", width=0.125, input_shape=(64, 64, 3)))


def test_cost_curves_are_the_costs_of_cutouts():
    plain = sp.build_plain(4, family="resnet18", width=0.125, input_shape=(32, 32, 3))
    flat = harness.network()
    figure = plots.cost_curve(flat, plain)
    for axes, key in zip(figure.axes, ("params", "macs"), strict=True):
        kept, values = axes.lines[0].get_data()
        cuts = [sp.cutout(flat, harness.LABELS[:n]) for n in kept]
        assert list(values) == [getattr(sp.cost(cut), key) for cut in cuts]
        assert set(axes.lines[1].get_ydata()) == {getattr(sp.cost(plain), key)}
    nested = harness.network(NESTED)
    axes = plots.cost_curve(nested).axes[0]
    band = axes.collections[0].get_paths()[0].vertices
    one = [sp.cost(sp.cutout(nested, [name])).params for name in tree_of(nested).categories]
    assert {y for x, y in band if x == 1} == {min(one), max(one)}
    assert axes.lines[0].get_ydata()[-1] == sp.cost(nested).params


def tree_of(model) -> Hierarchy:
    return model.get_layer("categories").hierarchy


def test_pareto_joins_what_no_other_beats():
    points = [
        {"name": name, "group": group, "cost": cost, "top1": top1}
        for name, group, cost, top1 in [
            ("dear", "cutouts", 3e9, 0.95),
            ("cheap", "cutouts", 1e9, 0.9),
            ("beaten", "cutouts", 2e9, 0.85),
            ("$plain_{", "plain", 4e9, 0.96),
        ]
    ]
    axes = plots.pareto(points).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[1e9, 90], [3e9, 95]]
    assert len(axes.lines[1].get_xdata()) == 3
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cutouts", "plain"]
    with pytest.raises(ValueError, match="cost, top1 missing"):
        plots.pareto([{"name": "a", "group": "b"}])
    with pytest.raises(ValueError, match="cost must be above 0 and top1 from 0 to 1"):
        plots.pareto([{**points[0], "top1": 96.0}])
    with pytest.raises(ValueError, match="Give at least one point"):
        plots.pareto([])


def test_attention_curves_show_cues_and_the_peak(tmp_path):
    figure = plots.attention([SWEEP, {**SWEEP, "inhibition": None}], tmp_path / "sweep.png")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["right cue"], [50, 70, 80, 60])
    np.testing.assert_allclose(lines["wrong cue"], [75, 70, 50, np.nan])
    np.testing.assert_allclose(lines["2 absent inhibited"], [72])
    assert "peak: 80.0 % at 2" in texts(figure)
    assert plots.attention(SWEEP).axes[0].get_xlabel() == "gain (factor on the features)"
    assert os.listdir(tmp_path) == ["sweep.png"]
    with pytest.raises(ValueError, match="wrong missing"):
        plots.attention({"gains": [1], "neutral": 0.5, "right": [0.5]})


def test_confusion_shows_shares_of_rows():
    figure = plots.confusion([[3, 1, 0], [0, 0, 0], [1, 1, 2]], ["a $", "b", "c"])
    shares = figure.axes[0].images[0].get_array()
    assert shares.tolist() == [[75, 25, 0], [0, 0, 0], [25, 25, 50]]
    assert texts(figure)[:2] == ["75", "25"]
    for matrix, labels, words in (
        ([[1, 2]], ["a"], r"must be \(categories, categories\), got \(1, 2\)"),
        ([[1]], ["a", "b"], "has 1 categories, got 2 labels"),
        ([[-1]], ["a"], "counts of 0 or more"),
    ):
        with pytest.raises(ValueError, match=words):
            plots.confusion(matrix, labels)


@pytest.mark.parametrize("at", ["gain", "last"])
def test_feature_maps_show_the_features_of_each_branch(at, tmp_path):
    model = harness.network(["cat", "dog"], include_preprocessing=True)
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype("uint8")
    attended = harness.reload(sp.attend(model, {"dog": 2}), tmp_path)
    figure = plots.feature_maps(attended, image, at=at)
    x = attended.get_layer("trunk")(image[None].astype("float32"))
    for panel, id_ in zip(figure.axes[1:3], ("cat", "dog"), strict=True):
        branch = attended.get_layer(f"branch_{id_}")
        layer = branch.get_layer(f"{id_}_gain" if at == "gain" else f"{id_}_stage3_block1_relu")
        want = np.abs(harness.array(keras.Model(branch.input, layer.output)(x))[0]).mean(-1)
        assert harness.error(panel.images[1].get_array(), want) < 1e-6
        score = harness.predict(attended, image[None].astype("float32"))[0, int(id_ == "dog")]
        assert panel.get_title() == f"{id_}\n{score:.3g}"


def test_feature_maps_of_large_and_steerable_networks_and_of_bad_images():
    model = harness.network([f"c{i}" for i in range(21)])
    image = np.zeros((16, 16, 3), "uint8")
    figure = plots.feature_maps(model, image)
    assert sum(len(axes.images) == 2 for axes in figure.axes) == 20
    small = harness.network()
    titles = [
        [axes.get_title() for axes in plots.feature_maps(net, image).axes]
        for net in (small, sp.attention_input(small))
    ]
    assert titles[0] == titles[1]
    with pytest.raises(TypeError, match="pixels of 0 to 255 as uint8, got float64"):
        plots.feature_maps(small, image / 255)
    with pytest.raises(ValueError, match=r"shape \(16, 16, 3\), got \(1, 16, 16, 3\). Give one"):
        plots.feature_maps(small, image[None])
    with pytest.raises(ValueError, match="Unknown place 'x'. Valid: gain, last"):
        plots.feature_maps(small, image, at="x")
