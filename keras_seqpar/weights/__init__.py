"""Weights by name: copies, and weights of packages, of timm and of keras.applications."""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "copies": ["copy_weights", "named_weights"],
        "keras_applications": ["from_keras_applications"],
        "loading": ["load"],
        "networks": ["from_network"],
        "packages": ["from_package"],
        "reports": ["Filled"],
        "timm": ["from_timm"],
    },
)
