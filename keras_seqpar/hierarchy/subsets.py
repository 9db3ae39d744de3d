"""ImageNet-1k and well-known subsets of it: labels, WordNet ids and ready hierarchies."""

from keras_seqpar.hierarchy.corpora import table
from keras_seqpar.hierarchy.nesting import check_levels, nest
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.hierarchy.wordnet import from_wordnet
from keras_seqpar.utils.names import unknown_name

# Imagenette and Imagewoof as fast.ai publishes them (github.com/fastai/imagenette); "meow" are
# ImageNet-1k's domestic cats, the example of a small cutout in arXiv 2308.05128.
_SUBSETS = {
    "imagenette": (
        *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
        *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
    ),
    "imagewoof": (
        *("n02086240", "n02087394", "n02088364", "n02089973", "n02093754"),
        *("n02096294", "n02099601", "n02105641", "n02111889", "n02115641"),
    ),
    "imagenet1k": None,
    "meow": ("n02123045", "n02123159", "n02123394", "n02123597", "n02124075"),
}
SUBSETS = tuple(_SUBSETS)


def labels_if_subset(categories):
    """The labels of a subset where its name is given; anything else as it is."""
    named = isinstance(categories, str) and categories in SUBSETS
    return subset_labels(categories) if named else categories


def subset_labels(name: str) -> tuple[str, ...]:
    """The labels of ImageNet-1k's categories, or of a well-known subset of them.

    A label is the first word of a synset in WordNet. Three pairs of labels would get the same
    node id, so their labels also say what they mean: "crane (wading bird)" and "crane (lifting
    device)", "Cardigan (corgi)" and "cardigan (sweater)", "maillot (tights)" and "maillot
    (swimsuit)".

    Args:
        name: "imagenette" (10 categories that are easy to tell apart), "imagewoof" (10
            breeds of dog), "meow" (the 5 domestic cats) or "imagenet1k".

    Returns:
        The labels, in the order of ImageNet-1k's logits.

    Raises:
        ValueError: an unknown name; the message lists the valid ones.

    Example:

    >>> subset_labels("meow")
    ('tabby', 'tiger cat', 'Persian cat', 'Siamese cat', 'Egyptian cat')
    """
    return tuple(row[1] for row in _rows(name))


def subset_wnids(name: str) -> tuple[str, ...]:
    """The WordNet 3.0 ids of a subset's categories; ImageNet's folders have these names.

    Args:
        name: as for `subset_labels`.

    Returns:
        The ids, in the order of `subset_labels`.

    Raises:
        ValueError: an unknown name; the message lists the valid ones.

    Example:

    >>> subset_wnids("meow")[0]
    'n02123045'
    """
    return tuple(row[0] for row in _rows(name))


def from_subset(name: str, *, levels: int = 2) -> Hierarchy:
    """A ready hierarchy of a subset, grouped as `from_wordnet` groups it.

    Nothing is downloaded. The hierarchy of ImageNet-1k has 32 superclasses with 2 split-points,
    11 and 99 with 3, and 5, 29 and 175 with 4.

    Args:
        name: as for `subset_labels`.
        levels: number of split-points, 1 (flat) to 4. Small subsets have fewer: Imagenette
            and Imagewoof have at most 3, and the five cats of "meow" are always flat, because
            WordNet has no groups among them. To get the cats below superclasses, prune
            "imagenet1k" to them.

    Returns:
        The hierarchy, its categories in the order of ImageNet-1k's logits.

    Raises:
        TypeError: `levels` is no integer.
        ValueError: the name is unknown, or `levels` is not 1 to 4.

    Example:

    >>> print(from_subset("imagewoof"))
    2 split-points, 10 categories
    ├── canine (other)
    │   ├── Shih-Tzu
    │   ├── Old English sheepdog
    │   ├── Samoyed
    │   └── dingo
    ├── hunting dog (other)
    │   ├── Rhodesian ridgeback
    │   ├── beagle
    │   ├── English foxhound
    │   └── golden retriever
    └── terrier
        ├── Border terrier
        └── Australian terrier
    """
    rows = _rows(name)
    check_levels(levels, 1)
    labels = [row[1] for row in rows]
    if levels == 1:
        return Hierarchy.of(labels)
    if name != "imagenet1k":
        return from_wordnet(labels, levels=levels)
    return nest(labels, [row[levels + 1].split(" > ") for row in rows])


def _rows(name: str) -> list[list[str]]:
    if not isinstance(name, str) or name not in _SUBSETS:
        raise ValueError(unknown_name("subset", name, SUBSETS))
    wanted = _SUBSETS[name]
    return [row for row in table("imagenet1k.tsv") if not wanted or row[0] in wanted]
