"""Hierarchies, and their sources: files, WordNet, similarity, chance, named subsets."""

from keras_seqpar.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "tree": ["Hierarchy", "Node"],
        "clustering": ["from_dissimilarity", "from_similarity", "random_hierarchy"],
        "files": ["from_file", "to_file"],
        "subsets": ["from_subset", "subset_labels", "subset_wnids"],
        "wordnet": ["from_wordnet"],
    },
)
