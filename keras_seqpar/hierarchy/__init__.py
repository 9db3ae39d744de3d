"""Hierarchies, and where they come from: files, WordNet, similarity, chance, named subsets."""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "tree": ["Hierarchy", "Node"],
        "clustering": ["dissimilar", "random", "similarity"],
        "files": ["from_file", "to_file"],
        "subsets": ["ready", "subset", "wnids"],
        "wordnet": ["from_wordnet"],
    },
)
