"""Figures are written whole or not at all, whatever their labels."""

import os
import sys

import pytest

from keras_seqpar import plots
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.plots import drawing


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


def test_without_matplotlib_a_figure_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with drawing.optional(tmp_path / "curves.png"):
        drawing.new_figure(1, 1)
    assert capsys.readouterr().out == "No curves.png: the package matplotlib is not installed.\n"
