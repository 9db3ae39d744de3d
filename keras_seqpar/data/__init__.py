"""Data: labeled images from one spec string."""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "loading": [
            "Dataset",
            "MEMORY_LIMIT",
            "SPECS",
            "SPLITS",
            "Split",
            "decode",
            "load",
            "only",
        ],
    },
)
