"""Figures. matplotlib is imported only in here, and only when a figure is drawn.

Each function returns a `matplotlib.figure.Figure` and, given a path, saves it: a complete file or
none. Color-blind readers can tell the colors apart; lines also differ in marker or dash.
"""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "accuracy": ["attention", "confusion", "pareto", "rejection"],
        "costs": ["cost_curve"],
        "features": ["feature_maps"],
        "latencies": ["latency"],
        "learning": ["compare_curves", "learning_curves", "write_curves"],
        "streams": ["stream_costs", "stream_timeline"],
        "summaries": ["calibration_error"],
        "trees": ["topology", "tree"],
    },
)
