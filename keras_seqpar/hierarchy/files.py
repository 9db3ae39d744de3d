"""Hierarchies in JSON and YAML files.

A file holds what `Hierarchy.of` takes: a list of labels, or a mapping from superclasses to
their children, with `null` for a category beside superclasses. Where that would lose something
(the logits are in another order than the tree, or ids differ from those made of the labels) it
holds the result of `Hierarchy.get_config`: a mapping with `tree` and `categories`.

Files are read as data; nothing in them is executed. YAML is read from events without
constructing objects, so tags have no effect. Anchors and aliases are refused, because with them
a small file can describe an endless structure.
"""

import functools
import json
import reprlib
from pathlib import Path

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.utils.files import write_file
from keras_seqpar.utils.names import MOST_CHARACTERS, check_label

MOST_BYTES = 2 * 2**20  # ImageNet-21k with ids has about 1.5 MiB
MOST_LEVELS = 32  # of containers within containers
_SUFFIXES = (".json", ".yaml", ".yml")
_CONFIG = {"tree", "categories"}
_NODE = {"id", "label", "children"}


class _Pairs(list):
    """A mapping as pairs of key and value, so that repeated keys are noticed."""


class _OtherScalar(str):
    """The text of a scalar that is neither a string nor null."""


def from_file(path) -> Hierarchy:
    """Reads a hierarchy from a JSON or YAML file.

    Args:
        path: a file that ends in .json, .yaml or .yml.

    Returns:
        The hierarchy.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it holds no hierarchy. The message names the file and the position in it.
        ImportError: a YAML file without PyYAML.

    Example:

    >>> to_file(Hierarchy.of({"pets": ["cat", "dog"], "car": None}), "tree.yaml")
    >>> from_file("tree.yaml").categories
    ('cat', 'dog', 'car')
    """
    path = Path(path)
    check_suffix(path)
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    try:
        return _parse(content, path)
    except (ValueError, TypeError) as error:
        raise ValueError(f"No hierarchy can be read from {path}: {error}") from error


def to_file(hierarchy: Hierarchy, path) -> None:
    """Writes a hierarchy to a JSON or YAML file; `from_file` reads an equal one from it.

    The file is written whole or not at all.

    Args:
        hierarchy: what to write.
        path: a file that ends in .json, .yaml or .yml; an existing one is replaced.

    Raises:
        TypeError: no hierarchy.
        ValueError: the path has another ending, or a label cannot be written to a file.
        OSError: the file cannot be written.
        ImportError: a YAML file without PyYAML.

    Example:

    >>> to_file(Hierarchy.of({"pets": ["cat", "dog"], "car": None}), "pets.yaml")
    """
    if not isinstance(hierarchy, Hierarchy):
        raise TypeError(f"Expected a Hierarchy, got {hierarchy!r}. Make one with Hierarchy.of.")
    path = Path(path)
    check_suffix(path)
    labels = [node.label for node in hierarchy.nodes]
    data = _as_data(hierarchy.roots)
    try:
        if _is_config(data) or len(set(labels)) < len(labels) or Hierarchy.of(data) != hierarchy:
            data = hierarchy.get_config()
        content = _encoded(data, path, hierarchy)
    except (ValueError, TypeError) as error:
        raise ValueError(f"This hierarchy cannot be written to {path}: {error}") from error
    write_file(path, content)


def check_suffix(path) -> None:
    """Checks that a file name ends like a JSON or YAML file.

    Raises:
        ValueError: another ending than .json, .yaml and .yml.
    """
    if Path(path).suffix.lower() not in _SUFFIXES:
        raise ValueError(f"A hierarchy file ends in {', '.join(_SUFFIXES)}, got {str(path)!r}.")


def _as_data(nodes):
    """Nodes as a list of labels, or as a mapping where there are superclasses."""
    if all(node.is_category for node in nodes):
        return [node.label for node in nodes]
    return {node.label: _as_data(node.children) if node.children else None for node in nodes}


def _encoded(data, path: Path, hierarchy: Hierarchy) -> bytes:
    """The file's content; an error if reading it would not give the same hierarchy."""
    if path.suffix.lower() == ".json":
        texts = [json.dumps(data, indent=1, ensure_ascii=False) + "\n"]
    else:  # PyYAML's unicode output is not sound for rare line breaks (\x85): escape all then
        dump = functools.partial(_pyyaml().safe_dump, data, sort_keys=False)
        texts = [dump(allow_unicode=True), dump()]
    for text in texts:
        content = text.encode("utf-8")
        if _parse(content, path) == hierarchy:
            return content
    raise ValueError("a label would change.")


def _parse(content: bytes, path: Path) -> Hierarchy:
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes, too many for a hierarchy.")
    text = content.decode("utf-8-sig")
    data = _plain(_json(text) if path.suffix.lower() == ".json" else _yaml(text), ())
    if _is_config(data):
        _check_nodes(data["tree"], "tree")
        if not isinstance(data["categories"], list):
            raise ValueError("at categories: expected a list of the ids of all categories.")
        return Hierarchy.from_config(data)
    _check_tree(data, ())
    return Hierarchy.of(data)


def _pyyaml():
    try:
        import yaml
    except ImportError as error:
        raise ImportError("YAML files need PyYAML: pip install pyyaml. JSON needs none.") from error
    return yaml


def _json(text: str):
    try:
        return json.loads(
            text, object_pairs_hook=_Pairs, parse_int=_OtherScalar, parse_float=_OtherScalar
        )
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def _yaml(text: str):
    """Lists, pairs and scalars from the events of a YAML file; no object is constructed."""
    yaml = _pyyaml()
    resolver = yaml.resolver.Resolver()
    stack: list[list] = [[]]  # contents of the open containers, the document first
    mappings = []  # for each open container, whether it is a mapping
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = f"line {event.start_mark.line + 1}"
            if getattr(event, "anchor", None):  # aliases have one, too
                raise ValueError(
                    f"{line}: anchors (&) and aliases (*) are not allowed; every name may be "
                    "used once in a hierarchy."
                )
            if getattr(event, "tag", None):
                raise ValueError(f"{line}: tags (!) are not allowed, got {event.tag!r}.")
            if isinstance(event, yaml.CollectionStartEvent):
                stack.append([])
                mappings.append(isinstance(event, yaml.MappingStartEvent))
                if len(stack) > MOST_LEVELS + 1:
                    raise ValueError(f"{line}: {_TOO_DEEP}")
            elif isinstance(event, yaml.CollectionEndEvent):
                inside = stack.pop()
                if mappings.pop():
                    inside = _Pairs(zip(inside[::2], inside[1::2], strict=True))
                stack[-1].append(inside)
            elif isinstance(event, yaml.ScalarEvent):
                tag = resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
                kinds = {"tag:yaml.org,2002:str": event.value, "tag:yaml.org,2002:null": None}
                stack[-1].append(kinds.get(tag, _OtherScalar(f"{event.value} ({line})")))
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML: {error}") from error
    if len(stack[0]) != 1:
        raise ValueError(f"it has {len(stack[0])} YAML documents, a hierarchy is one.")
    return stack[0][0]


def _plain(value, position: tuple[str, ...]):
    """Turns pairs into dictionaries; refuses labels that are no text and repeated keys."""
    if len(position) > MOST_LEVELS:
        raise ValueError(_TOO_DEEP)
    if value is None:
        return None
    if isinstance(value, _Pairs):
        found: dict = {}
        for key, below in value:
            key = _plain(key, position) if isinstance(key, str) else key
            if not isinstance(key, str):
                raise ValueError(_not_a_label(key, position))
            if key in found:
                raise ValueError(f"{_at(position)}: {key!r} appears twice.")
            found[key] = _plain(below, (*position, key))
        return found
    if isinstance(value, list):
        return [_plain(v, (*position, f"item {i}")) for i, v in enumerate(value, 1)]
    if not isinstance(value, str) or isinstance(value, _OtherScalar):
        raise ValueError(_not_a_label(value, position))
    if len(value) > MOST_CHARACTERS:
        raise ValueError(f"{_at(position)}: a label has more than {MOST_CHARACTERS} characters.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{_at(position)}: {value!r} has half a surrogate pair, which is no text.")
    return value


def _is_config(data) -> bool:
    return isinstance(data, dict) and data.keys() == _CONFIG


def _check_tree(data, position: tuple[str, ...]) -> None:
    """Checks that `Hierarchy.of` takes the data; errors name the position in the file."""
    if isinstance(data, dict):
        for key, below in data.items():
            if below is not None:
                _check_tree(below, (*position, key))
    elif isinstance(data, list):
        for i, item in enumerate(data, 1):
            if isinstance(item, dict):
                _check_tree(item, position)
            elif not isinstance(item, str):
                raise ValueError(_not_a_label(item, (*position, f"item {i}")))
    else:
        hint = f" Write [{data}] for one category." if position else ""
        raise ValueError(f"{_at(position)}: expected a list or a mapping, got {data!r}.{hint}")
    if not data:
        what = "A superclass needs children; null makes it a category." if position else ""
        raise ValueError(f"{_at(position)}: there is no category. {what}".strip())


def _check_nodes(nodes, position: str) -> None:
    """Checks one level of the tree that `Hierarchy.get_config` made."""
    if not isinstance(nodes, list) or not nodes:
        raise ValueError(
            f"at {position}: expected a list of one or more nodes, got {reprlib.repr(nodes)}."
        )
    for i, item in enumerate(nodes, 1):
        here = f"{position} > item {i}"
        if not isinstance(item, dict) or not {"id", "label"} <= item.keys() <= _NODE:
            raise ValueError(
                f"at {here}: beside `categories`, `tree` has mappings with id, label and perhaps "
                f"children, got {reprlib.repr(item)}."
            )
        for key in ("id", "label"):
            if not isinstance(item[key], str) or not item[key]:
                raise ValueError(f"at {here}: {key} must be text, got {reprlib.repr(item[key])}.")
        check_label(item["label"])
        if "children" in item:
            _check_nodes(item["children"], here)


def _not_a_label(value, position: tuple[str, ...]) -> str:
    if isinstance(value, (list, dict)):
        kind = "list" if type(value) is list else "mapping"
        return f"{_at(position)}: expected a label, got a {kind}."
    shown = value[:60] if isinstance(value, _OtherScalar) else json.dumps(value)  # true, null, NaN
    return (
        f"{_at(position)}: a label must be text, got {shown}. If it is one, put it in quotation "
        "marks: a bare yes, no, on, off, null, number or date means something else."
    )


def _at(position: tuple[str, ...]) -> str:
    return "at " + (" > ".join(key[:60] for key in position) or "the top")


_TOO_DEEP = f"it is nested more than {MOST_LEVELS} levels deep."
