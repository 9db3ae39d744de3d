"""Weights by name: copies between networks, and weights of timm and keras.applications."""

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
