"""Weights by name: strict copies, and filling networks from timm and keras.applications."""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "copies": ["copy_weights", "named_weights"],
        "keras_applications": ["from_keras_applications"],
        "loading": ["load"],
        "networks": ["from_network"],
        "reports": ["Filled"],
        "timm": ["from_timm"],
    },
)
