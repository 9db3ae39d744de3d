"""Trained networks that come with the package: no download, no other library."""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "loading": [
            "FOLDER",
            "about",
            "check_name",
            "load_preset",
            "pack",
            "preset_names",
            "restore",
            "write",
        ],
    },
)
