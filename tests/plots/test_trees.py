"""Trees: every node and edge, within the figure, large ones in short."""

import matplotlib.image
import pytest
from hypothesis import given, settings

import keras_seqpar as sp
from keras_seqpar import hierarchy, plots
from keras_seqpar.plots import drawing
from tests import harness


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def inside(figure, labels) -> None:
    """All texts lie within the figure."""
    figure.canvas.draw()
    width, height = figure.get_size_inches() * figure.dpi
    for box in (text.get_window_extent() for text in labels):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


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


def test_topology_shows_what_every_node_costs():
    model = harness.network({"trunk": ["cat", "dog"], "car": None})  # a superclass called so, too
    figure = plots.topology(model)
    inside(figure, figure.axes[0].texts)
    counted = sp.cost(model)
    numbers = [f"{drawing.short(n.params)} / {drawing.short(n.macs)}" for n in counted.nodes]
    shown = texts(figure)
    for node, number in zip(counted.nodes, numbers, strict=True):
        assert f"{node.label}  {number}" in shown
    total = f"{drawing.short(counted.params)} / {drawing.short(counted.macs)}"
    assert shown[-1].endswith(f"one image of 16x16; in all {total}")
    with pytest.raises(ValueError, match="is a plain network"):
        plots.topology(sp.build_plain(3, family="resnet18", width=0.125, input_shape=(64, 64, 3)))
