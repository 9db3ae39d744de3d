"""Hierarchies from WordNet: finds the categories and groups them by their hypernyms.

How categories are grouped: a set of synsets divides the categories into groups. Each category
belongs to the nearest synset of the set above it. The set with the lowest cost is taken:

    sum over groups of  size**2 + target**2 (+ target**2 / 2 for a remainder)

Without the last term the cost is lowest when every group has `target` members. A remainder is a
group whose synset is also above other groups. The synset's name promises more than the group
has, so the group costs more and is called "dog (other)". A single group of all categories is not
allowed, and a group of one category is allowed only directly under the trunk. Where WordNet
lists several hypernyms, the first one counts. All costs are integers and the first of equal
costs wins, so the result is the same on every machine. For more than two split-points the groups
are grouped again, with targets that give all nodes about the same number of children.
"""

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from keras_seqpar.hierarchy.corpora import Corpus, Synset, open_corpus, suggestions, table
from keras_seqpar.hierarchy.nesting import check_labels, check_levels, nest
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.utils.names import make_id, same_form

_NEVER = np.iinfo(np.int64).max // 4  # the cost of what is not allowed


def from_wordnet(names, *, levels: int = 2, corpus=None) -> Hierarchy:
    """Groups categories by their meaning, according to WordNet.

    A superclass is named by the first word of its synset, for example "dog", or "dog (other)"
    if dogs of other groups exist. If a category has that name already, the next word of the
    synset is used.

    Args:
        names: the categories in the order of the logits: nouns as WordNet spells them
            ("golden retriever") or ids of WordNet 3.0 as ImageNet uses them ("n02099601"),
            or a mapping label -> noun or id, for your own labels.
            A label of ImageNet-1k has the meaning it has there. For any other noun the most
            frequent meaning is taken that ImageNet-1k has a category of, or else the most
            frequent one that is a physical thing. Give an id for any other meaning.
        levels: number of split-points, 2 to 4. The result has fewer if WordNet has no finer
            groups (it has none among the breeds of domestic cats).
        corpus: where to look, as for `open_corpus`; by default the extract of WordNet that
            comes with the package: ImageNet-1k's categories and all synsets above them.

    Returns:
        The hierarchy, its categories in the order given.

    Raises:
        TypeError: arguments of the wrong type.
        ValueError: a name is not in the corpus or is repeated, `levels` is not 2 to 4, or there
            is no corpus at that path.

    Example:

    >>> print(from_wordnet(["beagle", "tabby", "whippet", "lion"]))
    2 split-points, 4 categories
    ├── hound
    │   ├── beagle
    │   └── whippet
    └── feline
        ├── tabby
        └── lion
    """
    check_levels(levels)
    corpus = corpus if isinstance(corpus, Corpus) else open_corpus(corpus)
    synsets = look_up(names, corpus)
    paths = [corpus.path(synset.id) for synset in synsets.values()]
    return nest(list(synsets), superclasses(list(synsets), paths, levels))


def look_up(names, corpus: Corpus) -> dict[str, Synset]:
    """Finds the synset of every category.

    Args:
        names: as for `from_wordnet`.
        corpus: where to look.

    Returns:
        Label -> synset, in the order given. The label of an id is that of ImageNet-1k, or else
        the first word of its synset.

    Raises:
        TypeError: a name is no string.
        ValueError: a name is not in the corpus, or is repeated.
    """
    if isinstance(names, Mapping):
        check_labels(list(names))
        found = _find(list(names.values()), corpus)
        return dict(zip(names, found, strict=True))
    names = check_labels(names)
    found = _find(names, corpus)
    known = {row[0]: row[1] for row in table("imagenet1k.tsv")}
    labels = [
        known.get(name, synset.lemmas[0]) if _is_wnid(name) else name
        for name, synset in zip(names, found, strict=True)
    ]
    above = [s.hypernyms[0] if s.hypernyms else s.id for s in found]
    labels = unique_labels(labels, [corpus.synset(id_).lemmas[0] for id_ in above])
    check_labels(labels)
    return dict(zip(labels, found, strict=True))


def unique_labels(labels: Sequence[str], above: Sequence[str]) -> list[str]:
    """Makes labels that would get the same id distinct: "crane" becomes "crane (wading bird)".

    Args:
        labels: the labels.
        above: for each label the name of its hypernym.

    Returns:
        The labels; where two would get the same id, with the hypernym in brackets.
    """
    ids = [make_id(label) for label in labels]
    pairs = zip(labels, ids, above, strict=True)
    return [f"{label} ({kind})" if ids.count(id_) > 1 else label for label, id_, kind in pairs]


def superclasses(
    labels: Sequence[str], paths: Sequence[Sequence[Synset]], levels: int
) -> list[list[str]]:
    """Chooses and names the superclasses above categories.

    Args:
        labels: the categories; no superclass gets the name of one.
        paths: for each category its synsets from WordNet's root down.
        levels: number of split-points.

    Returns:
        For each category the names of its superclasses from the trunk down, at most
        `levels - 1`.
    """
    synsets = {synset.id: synset for path in paths for synset in path}
    below = {id_: 0 for id_ in synsets}  # categories at or below each synset
    for path in paths:
        for synset in path:
            below[synset.id] += 1
    chains = group([[synset.id for synset in path] for path in paths], levels)
    members: dict[tuple, int] = {}
    for chain in chains:
        for key in chain:
            members[key] = members.get(key, 0) + 1

    taken = {make_id(label) for label in labels}
    names: dict[tuple, str] = {}
    for key in sorted(members, key=lambda key: key[0]):  # from the trunk down
        words = synsets[key[1]].lemmas
        if members[key] == below[key[1]]:
            choices = [*words, f"{words[0]} (superclass)"]
        else:
            choices = [f"{words[0]} (other)"]
        choices += [f"{choices[-1][:-1]} {i})" for i in range(2, len(members) + 2)]
        names[key] = next(c for c in choices if make_id(c) not in taken)
        taken.add(make_id(names[key]))
    return [[names[key] for key in chain] for chain in chains]


def group(paths: Sequence[Sequence[str]], levels: int) -> list[list[tuple[int, str]]]:
    """Groups categories over several levels.

    Args:
        paths: for each category the ids of its synsets from the root down.
        levels: number of split-points.

    Returns:
        For each category its groups from the trunk down, each as `(level, id of its synset)`.
    """
    chains: list[list[tuple[int, str]]] = [[] for _ in paths]
    units = [(tuple(path), [i]) for i, path in enumerate(paths)]  # path, categories
    for level in range(levels - 1, 0, -1):
        target = max(2, round(len(units) ** (1 / (level + 1))))
        groups: dict[object, list] = {}
        for i, id_ in enumerate(partition([path for path, _ in units], target)):
            groups.setdefault(i if id_ is None else id_, []).append(units[i])
        units = []
        for id_, inside in groups.items():
            path, categories = inside[0][0], [c for unit in inside for c in unit[1]]
            if isinstance(id_, str):
                path = path[: path.index(id_) + 1]
                for c in categories:
                    chains[c].insert(0, (level, id_))
            units.append((path, categories))
    return chains


def partition(paths: Sequence[Sequence[str]], target: int) -> list[str | None]:
    """Divides the members of a tree into groups of about `target`, at the lowest cost.

    The cost is that of the module's docstring. Dynamic programming from the leaves to the root
    finds for every node the lowest cost of leaving 0, 1, 2, ... of the members below it to a
    group further up.

    Args:
        paths: for each member the ids of the nodes from the root down to the member's own.
        target: wanted size of a group.

    Returns:
        For each member the id of the node of its group; `None` for a member that stays alone
        at the root.
    """
    root = object()
    children: dict[object, list] = {root: []}
    here: dict[object, int] = {}
    for path in paths:
        for parent, child in itertools.pairwise((root, *path)):
            if child not in children:
                children[child] = []
                children[parent].append(child)
        here[path[-1]] = here.get(path[-1], 0) + 1
    steps: dict[object, tuple[int | None, list]] = {}  # the choices behind the lowest costs

    def solve(node) -> np.ndarray:
        cost = np.full(here.get(node, 0) + 1, _NEVER)
        cost[-1] = 0
        picks = []
        for child in children[node]:
            below = solve(child)
            joined = np.full(len(cost) + len(below) - 1, _NEVER)
            pick = np.zeros(len(joined), int)
            for left in np.flatnonzero(below < _NEVER):
                window = slice(left, left + len(cost))
                better = cost + below[left] < joined[window]
                joined[window][better] = (cost + below[left])[better]
                pick[window][better] = left
            cost = joined
            picks.append((child, pick))
        size = np.arange(len(cost))
        closed = cost + 2 * size**2 + np.where(size < len(cost) - 1, 3, 2) * target**2
        closed[:2] = closed[len(paths) :] = _NEVER  # a group of one, of all
        close = int(closed.argmin())
        if node is root or closed[close] >= cost[0]:
            close = None
        else:
            cost[0] = closed[close]
        steps[node] = close, picks
        return cost

    def trace(node, left: int) -> None:
        close, picks = steps[node]
        if left == 0 and close is not None:
            chosen.add(node)
            left = close
        for child, pick in reversed(picks):
            trace(child, int(pick[left]))
            left -= int(pick[left])

    chosen: set = set()
    total = solve(root) + (2 + 2 * target**2) * np.arange(len(paths) + 1)  # groups of one
    trace(root, int(total.argmin()))
    return [next((id_ for id_ in reversed(path) if id_ in chosen), None) for path in paths]


def _find(names: Sequence[str], corpus: Corpus) -> list[Synset]:
    try:
        labels = {make_id(row[1]): corpus.of_wnid(row[0]) for row in table("imagenet1k.tsv")}
        depicted = {corpus.of_wnid(row[0]) for row in table("wordnet_nouns.tsv")}
    except ValueError:  # another version of WordNet
        labels, depicted = {}, set()

    def find(name: str) -> Synset:
        if not isinstance(name, str):
            raise TypeError(f"A category must be a noun or an id of WordNet, got {name!r}.")
        if _is_wnid(name):
            return corpus.synset(corpus.of_wnid(name))
        if make_id(name) in labels:
            return corpus.synset(labels[make_id(name)])
        senses = corpus.senses(same_form(name))
        if not senses:
            raise ValueError(
                f"{corpus.name} has no noun {name!r}.{suggestions(name, corpus)} Map the label to "
                f"another noun or an id, {{{name!r}: ...}}, or change it.{_hint(corpus)}"
            )
        choices = [id_ for id_ in senses if id_ in depicted] or [
            id_
            for id_ in senses
            if any("physical entity" in synset.lemmas for synset in corpus.path(id_))
        ]
        return corpus.synset((choices or senses)[0])

    found = []
    for name in names:
        try:
            found.append(find(name))
        except KeyError as error:
            raise ValueError(f"{corpus.name} has no synset {error}.{_hint(corpus)}") from error
    return found


def _is_wnid(name: str) -> bool:
    return re.fullmatch(r"n\d{8}", name) is not None


def _hint(corpus: Corpus) -> str:
    if not corpus.name.startswith("the package's"):
        return ""
    return " All of WordNet is in the corpora of nltk and wn: give the path of one as corpus."
