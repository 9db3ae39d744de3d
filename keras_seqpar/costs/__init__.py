"""Costs: parameters, multiply-accumulates, bytes, latency and budgets."""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "budgets": ["BudgetFit", "fit_budget"],
        "comparing": ["compare"],
        "counting": ["Cost", "NodeCost", "cost"],
        "latency": ["measure_latency"],
    },
)
