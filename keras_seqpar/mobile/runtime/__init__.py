"""Running converted files and packs: NumPy and an interpreter are all it needs."""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "manifest": ["Manifest", "read_manifest"],
        "pack_runner": ["PackRunner"],
        "interpreters": ["INTERPRETERS"],
        "runner": ["Runner"],
    },
)
