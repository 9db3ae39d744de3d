"""ImageNet-1k and well-known subsets of it: labels, WordNet ids and ready hierarchies."""

from keras_seqpar.hierarchy.corpora import table
from keras_seqpar.hierarchy.nesting import check_levels, nest
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.hierarchy.wordnet import from_wordnet
from keras_seqpar.utils.names import unknown_name

# Imagenette and Imagewoof as fast.ai publishes them (github.com/fastai/imagenette); ImageNet-100 as
# arXiv 1906.05849 publishes it (github.com/HobbitLong/CMC, imagenet100.txt); mini-ImageNet as Ravi
# and Larochelle publish it ("Optimization as a model for few-shot learning", ICLR 2017): all 100
# categories of their three splits; "meow" are ImageNet-1k's domestic cats, the example of a small
# cutout in arXiv 2308.05128.
_SUBSETS = {
    "imagenette": (
        *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
        *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
    ),
    "imagewoof": (
        *("n02086240", "n02087394", "n02088364", "n02089973", "n02093754"),
        *("n02096294", "n02099601", "n02105641", "n02111889", "n02115641"),
    ),
    "imagenet100": (
        *("n01558993", "n01692333", "n01729322", "n01735189", "n01749939"),
        *("n01773797", "n01820546", "n01855672", "n01978455", "n01980166"),
        *("n01983481", "n02009229", "n02018207", "n02085620", "n02086240"),
        *("n02086910", "n02087046", "n02089867", "n02089973", "n02090622"),
        *("n02091831", "n02093428", "n02099849", "n02100583", "n02104029"),
        *("n02105505", "n02106550", "n02107142", "n02108089", "n02109047"),
        *("n02113799", "n02113978", "n02114855", "n02116738", "n02119022"),
        *("n02123045", "n02138441", "n02172182", "n02231487", "n02259212"),
        *("n02326432", "n02396427", "n02483362", "n02488291", "n02701002"),
        *("n02788148", "n02804414", "n02859443", "n02869837", "n02877765"),
        *("n02974003", "n03017168", "n03032252", "n03062245", "n03085013"),
        *("n03259280", "n03379051", "n03424325", "n03492542", "n03494278"),
        *("n03530642", "n03584829", "n03594734", "n03637318", "n03642806"),
        *("n03764736", "n03775546", "n03777754", "n03785016", "n03787032"),
        *("n03794056", "n03837869", "n03891251", "n03903868", "n03930630"),
        *("n03947888", "n04026417", "n04067472", "n04099969", "n04111531"),
        *("n04127249", "n04136333", "n04229816", "n04238763", "n04336792"),
        *("n04418357", "n04429376", "n04435653", "n04485082", "n04493381"),
        *("n04517823", "n04589890", "n04592741", "n07714571", "n07715103"),
        *("n07753275", "n07831146", "n07836838", "n13037406", "n13040303"),
    ),
    "miniimagenet": (
        *("n01532829", "n01558993", "n01704323", "n01749939", "n01770081"),
        *("n01843383", "n01855672", "n01910747", "n01930112", "n01981276"),
        *("n02074367", "n02089867", "n02091244", "n02091831", "n02099601"),
        *("n02101006", "n02105505", "n02108089", "n02108551", "n02108915"),
        *("n02110063", "n02110341", "n02111277", "n02113712", "n02114548"),
        *("n02116738", "n02120079", "n02129165", "n02138441", "n02165456"),
        *("n02174001", "n02219486", "n02443484", "n02457408", "n02606052"),
        *("n02687172", "n02747177", "n02795169", "n02823428", "n02871525"),
        *("n02950826", "n02966193", "n02971356", "n02981792", "n03017168"),
        *("n03047690", "n03062245", "n03075370", "n03127925", "n03146219"),
        *("n03207743", "n03220513", "n03272010", "n03337140", "n03347037"),
        *("n03400231", "n03417042", "n03476684", "n03527444", "n03535780"),
        *("n03544143", "n03584254", "n03676483", "n03770439", "n03773504"),
        *("n03775546", "n03838899", "n03854065", "n03888605", "n03908618"),
        *("n03924679", "n03980874", "n03998194", "n04067472", "n04146614"),
        *("n04149813", "n04243546", "n04251144", "n04258138", "n04275548"),
        *("n04296562", "n04389033", "n04418357", "n04435653", "n04443257"),
        *("n04509417", "n04515003", "n04522168", "n04596742", "n04604644"),
        *("n04612504", "n06794110", "n07584110", "n07613480", "n07697537"),
        *("n07747607", "n09246464", "n09256479", "n13054560", "n13133613"),
    ),
    "imagenet1k": None,
    "meow": ("n02123045", "n02123159", "n02123394", "n02123597", "n02124075"),
}
SUBSETS = tuple(_SUBSETS)


def labels_if_subset(categories):
    """The labels of a subset where its name is given, alone; anything else as it is."""
    alone = isinstance(categories, (list, tuple)) and len(categories) == 1
    name = categories[0] if alone else categories
    return subset_labels(name) if isinstance(name, str) and name in SUBSETS else categories


def subset_labels(name: str) -> tuple[str, ...]:
    """The labels of ImageNet-1k's categories, or of a well-known subset of them.

    A label is the first word of a synset in WordNet. Three pairs of labels would get the same
    node id, so their labels also say what they mean: "crane (wading bird)" and "crane (lifting
    device)", "Cardigan (corgi)" and "cardigan (sweater)", "maillot (tights)" and "maillot
    (swimsuit)".

    Args:
        name: "imagenette" (10 categories that are easy to tell apart), "imagewoof" (10
            breeds of dog), "imagenet100" (100 categories, drawn at random for arXiv 1906.05849),
            "miniimagenet" (the 100 of mini-ImageNet; the images are those of ImageNet-1k), "meow"
            (the 5 domestic cats) or "imagenet1k".

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
