"""Weights by name: copies, and weights of packages, timm, keras.applications and KerasCV."""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "copies": ["copy_weights", "named_weights"],
        "keras_applications": ["from_keras_applications"],
        "keras_cv": ["from_keras_cv"],
        "loading": ["load"],
        "networks": ["from_network"],
        "packages": ["from_package"],
        "reports": ["Filled"],
        "timm": ["from_timm"],
    },
)
