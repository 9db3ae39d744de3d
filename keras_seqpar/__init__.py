"""Vision networks that pay only for what they look for and for what changed."""

import importlib.util

__version__ = "0.1.0"

if importlib.util.find_spec("keras"):  # on a device without it, keras_seqpar.mobile.run works
    from keras_seqpar.attention import attend, attention_input, gain_names
    from keras_seqpar.builders import build_nhl, build_phl, build_plain
    from keras_seqpar.cost import compare, cost, plan
    from keras_seqpar.cutout import add_category, cutout, merge, with_activation
    from keras_seqpar.hierarchy import Hierarchy
    from keras_seqpar.presets import load_preset, preset_names
    from keras_seqpar.unknowns import fit_threshold, none_of_these, with_threshold
    from keras_seqpar.weights import copy_weights

__all__ = [
    "Hierarchy",
    "add_category",
    "attend",
    "attention_input",
    "build_nhl",
    "build_phl",
    "build_plain",
    "compare",
    "copy_weights",
    "cost",
    "cutout",
    "fit_threshold",
    "gain_names",
    "load_preset",
    "merge",
    "none_of_these",
    "plan",
    "preset_names",
    "with_activation",
    "with_threshold",
]
