"""Cost curves: the costs of cutouts, as they are counted one by one."""

import keras_seqpar as sp
from keras_seqpar import plots
from keras_seqpar.hierarchy.tree import Hierarchy
from tests import harness

NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}


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
