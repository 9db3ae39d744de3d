"""Ready hierarchies: ImageNet-1k and well-known subsets of it, grouped by WordNet."""

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
NAMES = tuple(_SUBSETS)


def subset(name: str) -> tuple[str, ...]:
    """The categories of ImageNet-1k, or of a well-known part of it.

    Labels are the first words of WordNet's synsets. The three pairs that would have the same
    id say what they are: "crane (wading bird)" and "crane (lifting device)", "Cardigan
    (corgi)" and "cardigan (sweater)", "maillot (tights)" and "maillot (swimsuit)".

    Args:
        name: "imagenette" (10 categories that are easy to tell apart), "imagewoof" (10
            breeds of dog), "meow" (the 5 domestic cats) or "imagenet1k".

    Returns:
        The labels, in the order of ImageNet-1k's logits.

    Raises:
        ValueError: an unknown name; the message lists the valid ones.

    Example:

    >>> subset("meow")
    ('tabby', 'tiger cat', 'Persian cat', 'Siamese cat', 'Egyptian cat')
    """
    return tuple(row[1] for row in _rows(name))


def wnids(name: str) -> tuple[str, ...]:
    """The ids of a subset's categories in WordNet 3.0, which ImageNet's folders are called by.

    Args:
        name: as for `subset`.

    Returns:
        The ids, in the order of `subset`'s labels.

    Raises:
        ValueError: an unknown name; the message lists the valid ones.

    Example:

    >>> wnids("meow")[0]
    'n02123045'
    """
    return tuple(row[0] for row in _rows(name))


def ready(name: str, *, levels: int = 2) -> Hierarchy:
    """A ready hierarchy of a subset, grouped by WordNet as `from_wordnet` does.

    Nothing is downloaded. ImageNet-1k has 32 superclasses with 2 split-points, 11 and 99
    with 3, and 5, 29 and 175 with 4.

    Args:
        name: as for `subset`.
        levels: split-points wanted, 1 (flat) to 4. Small subsets have fewer: Imagenette
            and Imagewoof at most 3. The five cats of "meow" are flat: WordNet has nothing between
            them. They are a part of "imagenet1k": prune that to have them below superclasses.

    Returns:
        The hierarchy, its categories in the order of ImageNet-1k's logits.

    Raises:
        TypeError: `levels` is no integer.
        ValueError: an unknown name or wrong `levels`.

    Example:

    >>> print(ready("imagewoof"))
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
        raise ValueError(unknown_name("subset", name, NAMES))
    wanted = _SUBSETS[name]
    return [row for row in table("imagenet1k.tsv") if not wanted or row[0] in wanted]
