"""Figures. matplotlib is imported only in here, and only when a figure is drawn.

Each function returns a `matplotlib.figure.Figure` and, given a path, saves it whole or not at
all. Colours are told apart by colour-blind people too, and lines differ in more than colour.
"""

from keras_seqpar.plots.accuracy import attention, confusion, pareto
from keras_seqpar.plots.costs import cost_curve
from keras_seqpar.plots.features import feature_maps
from keras_seqpar.plots.latencies import latency
from keras_seqpar.plots.trees import topology, tree

__all__ = [
    "attention",
    "confusion",
    "cost_curve",
    "feature_maps",
    "latency",
    "pareto",
    "topology",
    "tree",
]
