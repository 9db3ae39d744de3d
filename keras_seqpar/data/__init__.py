"""Data: labeled images from one spec string, augmentation, and batches of them."""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "datasets": ["Dataset", "Split", "only"],
        "loading": ["MEMORY_LIMIT", "SPECS", "load"],
        "sources.trees": ["SPLITS"],
        "streaming": ["decode"],
    },
)
