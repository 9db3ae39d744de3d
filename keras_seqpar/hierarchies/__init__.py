"""Where hierarchies come from: files, WordNet, a trained network, chance, and ready ones."""

from keras_seqpar.hierarchies.clusters import dissimilar, random, similarity
from keras_seqpar.hierarchies.files import from_file, to_file
from keras_seqpar.hierarchies.named import ready, subset, wnids
from keras_seqpar.hierarchies.wordnet import from_wordnet

__all__ = [
    "dissimilar",
    "from_file",
    "from_wordnet",
    "random",
    "ready",
    "similarity",
    "subset",
    "to_file",
    "wnids",
]
