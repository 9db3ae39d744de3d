"""Figures. matplotlib is imported only in here, and only when a figure is drawn.

Each function returns a `matplotlib.figure.Figure` and, given a path, saves it whole or not at
all. Colors are told apart by color-blind people too, and lines differ in more than color.
"""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "accuracy": ["attention", "confusion", "pareto"],
        "costs": ["cost_curve"],
        "features": ["feature_maps"],
        "latencies": ["latency"],
        "trees": ["topology", "tree"],
    },
)
