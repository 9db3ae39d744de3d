"""Vision networks that pay only for what they look for and for what changed."""

from keras_seqpar.utils.lazy import import_after, lazy_names

_find, __dir__, __all__ = lazy_names(
    __name__,
    {
        "costs.budgets": ["fit_budget"],
        "costs.comparing": ["compare", "plain_twin"],
        "costs.counting": ["cost"],
        "hierarchy.tree": ["Hierarchy"],
        "networks.builders": ["build_nhl", "build_one_branch", "build_phl", "build_plain"],
        "networks.parts": ["with_activation"],
        "networks.thresholds": ["fit_threshold"],
        "presets.loading": ["load_preset", "preset_names"],
        "surgery.attention": ["attend", "attention_input", "gain_names"],
        "surgery.cutout": ["cutout"],
        "surgery.features": ["split_branch"],
        "surgery.fusing": ["fuse", "unfuse"],
        "surgery.growing": ["add_category", "merge"],
        "surgery.slimming": ["from_plain"],
        "surgery.switching": ["SubsetPredictor"],
        "surgery.unknowns": ["none_of_these", "with_threshold"],
        "weights.copies": ["copy_weights"],
    },
    rooms=(
        "costs",
        "data",
        "hierarchy",
        "mobile",
        "plots",
        "presets",
        "selective",
        "weights",
    ),
)


def __getattr__(name: str):
    """A public name, or `__version__`: that of the installed package, made from git's tags."""
    if name != "__version__":
        return _find(name)
    import importlib.metadata  # takes 20 ms

    try:
        return importlib.metadata.version("keras-seqpar")
    except importlib.metadata.PackageNotFoundError:  # a source tree on the path
        return "0.1.0.dev0"


# Registers the layers of this package, so that keras.models.load_model reads its networks.
import_after(
    "keras",
    "keras_seqpar.families.layers",
    "keras_seqpar.networks.layers",
    "keras_seqpar.networks.bank.layers",
)
