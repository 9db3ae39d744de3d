import os

import harness
import matplotlib
import matplotlib.image
import pytest
from hypothesis import given, settings

from keras_seqpar import hierarchies, plots
from keras_seqpar.hierarchy import Hierarchy


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
    figure = plots.tree(hierarchies.ready("imagewoof", levels=3), title="Ten breeds, $3")
    figure.canvas.draw()
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_large_hierarchies_are_drawn_short(tmp_path):
    hierarchy = hierarchies.ready("imagenet1k")
    figure = plots.tree(hierarchy, tmp_path / "tree.png")
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
