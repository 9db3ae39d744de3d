"""Trees of images, PATH/<split>/<category>/<image>: one layout for folders and archives.

- The layout begins at the topmost folder that has a split in it, so it may be wrapped in others.
- All images below a category's folder belong to it, however deep.
- Hidden and system files and folders are skipped without a word (`is_hidden`).
- Other files of a category, and files outside of the layout, are counted in one sentence.
- Labels are the folders' names in Unicode NFC; `%2F` stands for a slash (`folder_name`).
"""

import collections
import functools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_seqpar.data.sources.archives import Listing, normal, open_archive, reading
from keras_seqpar.utils.images import PLUGINS, image_endings
from keras_seqpar.utils.names import check_label, same_form

SPLITS = {"train": ("train", "training"), "validation": ("validation", "val", "valid", "test")}
"""Name of a split -> the names that its folder may have.

Example:

>>> SPLITS["validation"]
('validation', 'val', 'valid', 'test')
"""
_SPLIT_FOLDERS = {folder for folders in SPLITS.values() for folder in folders}
_LAYOUT = "Expected: PATH/train/<category>/<image> and PATH/validation/<category>/<image>."
# What operating systems and programs put beside images, apart from names that begin with a dot.
_SYSTEM = {
    *("__macosx", "thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db"),
    *("desktop.ini", "icon\r", "$recycle.bin", "recycler", "system volume information"),
    *("lost+found", "@eadir", "#recycle", "#snapshot", "__pycache__"),
}


class Tree(NamedTuple):
    """Labels and images of a folder or archive.

    Args:
        categories: the labels, sorted.
        records: split -> its images, by category and name: (name, category, where it is).
        left_out: the files that are not used, counted, or "".
    """

    categories: tuple[str, ...]
    records: dict[str, list[tuple[str, int, Any]]]
    left_out: str


def read_folder(path: str, splits: Sequence[str]) -> Tree:
    """Lists the images of a folder; they are not read.

    Args:
        path: the folder.
        splits: which splits to list.

    Raises:
        ValueError: no such folder, or its layout is not as expected.
        OSError: a folder in it cannot be listed.
    """
    root = Path(path).expanduser()
    if root.is_file():
        raise ValueError(f"{path!r} is a file, no folder. Use archive:PATH for a .zip or .tar.")
    if not root.is_dir():
        raise ValueError(f"The data folder {path!r} does not exist. {_LAYOUT}")
    tree = _arrange(_walk(root), path, splits)
    records = {
        split: [(name, index, Path(file)) for name, index, file in listed]
        for split, listed in tree.records.items()
    }
    return tree._replace(records=records)


def read_archive(path: str, splits: Sequence[str], memory_limit: int, pixels: int) -> Tree:
    """Reads the encoded images of some splits of an archive, or finds where they are in it.

    Args:
        path: the archive.
        splits: which splits to read.
        memory_limit: largest number of bytes of encoded images, and of a split's decoded ones,
            with which the encoded ones are read into memory. A larger archive must be a .zip, or
            a .tar that is not compressed: its records have a `Span` in place of bytes.
        pixels: bytes of a decoded image.

    Raises:
        ValueError: no such archive, it is damaged or too large, or its layout is not as expected.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise ValueError(f"{path!r} is a folder, no archive. Use folder:PATH.")
    if not file.is_file():
        raise ValueError(f"The archive {path!r} does not exist. {_LAYOUT}")
    with open_archive(path) as listing:
        tree = _arrange(_without_hidden(listing), path, splits)
        members = {
            record[2].offset: record[2] for listed in tree.records.values() for record in listed
        }
        encoded = sum(member.size for member in members.values())
        decoded = max(len(listed) for listed in tree.records.values()) * pixels
        contents: dict[int, Any] = {offset: member.span for offset, member in members.items()}
        if max(encoded, decoded) <= memory_limit or None in contents.values():
            if encoded > memory_limit:
                raise ValueError(
                    f"The archive {path!r} is larger than {memory_limit / 2**30:.1f} GiB, and "
                    "compressed so that it is read from its start only. Unpack it and use "
                    "folder:PATH, or pack it as a .zip or a plain .tar."
                )
            with reading(path):  # in the archive's order: compressed ones cannot jump back
                contents = {offset: members[offset].read() for offset in sorted(members)}
    records = {
        split: [(name, index, contents[member.offset]) for name, index, member in listed]
        for split, listed in tree.records.items()
    }
    return tree._replace(records=records)


def is_hidden(name: str) -> bool:
    """Whether files and folders of this name are skipped: hidden ones, and the system's."""
    return name.startswith(".") or name.casefold() in _SYSTEM


def folder_name(label: str) -> str:
    """The folder of a category, from which the label is read again.

    Args:
        label: free text. Slashes, and a first character that would hide the folder, become `%`
            and two hexadecimal digits.

    Example:

    >>> folder_name("AC/DC"), folder_name(".net")
    ('AC%2FDC', '%2Enet')
    """
    name = re.sub(r"[/\\\x00-\x1f]|%(?=[0-7][0-9A-F])", _escape, label)
    return re.sub("^.", _escape, name) if is_hidden(name) else name


def _escape(found: re.Match) -> str:
    return f"%{ord(found[0]):02X}"


@functools.lru_cache(2**16)
def _label(folder: str) -> str:
    return same_form(re.sub("%([0-7][0-9A-F])", lambda found: chr(int(found[1], 16)), folder))


def _walk(root: Path) -> Listing:
    """Lists a folder and all below it. Links are followed, but not in circles."""
    listing = Listing()
    waiting: list[tuple[str, str, tuple]] = [(str(root), "", ())]
    while waiting:
        folder, prefix, above = waiting.pop()
        about = os.stat(folder)
        here = about.st_dev, about.st_ino
        if here in above:
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                name = normal(prefix + entry.name)
                if any(map(is_hidden, name[len(prefix) :].split("/"))):
                    continue
                link = entry.is_symlink()  # entry.is_dir raises where links lead to each other
                if os.path.isdir(entry.path) if link else entry.is_dir():
                    listing.folders.add(name)
                    waiting.append((entry.path, name + "/", (*above, here)))
                elif os.path.isfile(entry.path) if link else entry.is_file():
                    listing.files[name] = entry.path
                else:
                    listing.lost.append(name)
    return listing


def _without_hidden(listing: Listing) -> Listing:
    def seen(name: str) -> bool:
        return not any(map(is_hidden, name.split("/")))

    return Listing(
        {name: member for name, member in listing.files.items() if seen(name)},
        set(filter(seen, listing.folders | _parents(listing.files))),
        list(filter(seen, listing.lost)),
    )


def _arrange(listing: Listing, path: str, splits: Sequence[str]) -> Tree:
    """Finds splits, categories and their images in a listing, and checks them."""
    folders = (listing.folders | _parents(listing.files)) - {""}  # tars list their top as "."
    if not listing.files:
        raise ValueError(f"There are no images in {path!r}. {_LAYOUT}")
    root = _find_root(folders, path)
    inner = [name.removeprefix(root) for name in folders if name.startswith(root)]
    found = _find_splits({name for name in inner if "/" not in name}, path, root, splits)
    images: dict[str, dict[str, list]] = {folder: {} for folder in found.values()}
    for name in inner:
        if name.count("/") == 1 and name.partition("/")[0] in images:
            images[name.partition("/")[0]].setdefault(_label(name.partition("/")[2]), [])

    endings = image_endings()
    others: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    outside = []
    for name, source in listing.files.items():
        ending = os.path.splitext(name)[1].lower()
        split, _, rest = name.removeprefix(root).partition("/")
        category, _, file = rest.partition("/")
        if not (name.startswith(root) and split in images and file):
            above = name.rpartition("/")[0]
            if ending in endings or not root.startswith(above + "/" if above else ""):
                outside.append(_printable(name))
        elif ending in endings:
            images[split][_label(category)].append((_printable(f"{split}/{rest}"), source))
        else:
            others[f"{split}/{_label(category)}"][ending] += 1
    _check(images, others, path)
    categories = tuple(sorted(images[found[splits[0]]]))
    records = {
        split: [
            (name, index, source)
            for index, label in enumerate(categories)
            for name, source in sorted(images[found[split]][label], key=lambda image: image[0])
        ]
        for split in splits
    }
    kinds = sum(others.values(), collections.Counter())
    lost = [_printable(name) for name in listing.lost]
    return Tree(categories, records, _left_out(kinds, outside, lost, list(images)))


def _parents(files: Iterable[str]) -> set[str]:
    folders: set[str] = set()
    for folder in {name.rpartition("/")[0] for name in files}:
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def _find_root(folders: set[str], path: str) -> str:
    """The folder in which the layout begins, with a slash at its end, or ""."""
    roots: dict[str, set[str]] = collections.defaultdict(set)
    for folder in folders:
        root, _, name = folder.rpartition("/")
        if name in _SPLIT_FOLDERS:
            roots[root].add("train" if name in SPLITS["train"] else "validation")
    # The topmost; of several, those with both splits.
    best = min(((_depth(root), -len(found)) for root, found in roots.items()), default=None)
    begins = sorted(root for root, found in roots.items() if (_depth(root), -len(found)) == best)
    if len(begins) > 1:
        raise ValueError(
            f"{path!r} has splits in {len(begins)} folders: {_some(begins)}. Give one of them: "
            f"folder:PATH/{_printable(begins[0])}. {_LAYOUT}"
        )
    return begins[0] + "/" if begins and begins[0] else ""


def _depth(folder: str) -> int:
    return folder.count("/") + 1 if folder else 0


def _find_splits(top: set[str], path: str, root: str, splits: Sequence[str]) -> dict[str, str]:
    found = {
        split: folder
        for split, names in SPLITS.items()
        if (folder := next((name for name in names if name in top), None))
    }
    for split in splits:
        if split not in found:
            raise ValueError(
                f"{path!r} has no {split} split: none of the folders {', '.join(SPLITS[split])}. "
                f"Found{root and f' in {_printable(root)}'}: {_some(sorted(top)) or 'no folder'}. "
                f"{_LAYOUT}"
            )
    return found


def _check(
    images: Mapping[str, Mapping[str, Sequence]],
    others: Mapping[str, collections.Counter],
    path: str,
) -> None:
    """Checks that the same categories have images in all splits."""
    for folder, categories in images.items():
        if not categories:
            raise ValueError(f"The folder {folder!r} in {path!r} is empty. {_LAYOUT}")
        for label in categories:
            try:
                check_label(label)
            except ValueError as error:
                raise ValueError(f"A folder in {folder} of {path!r}: {error}") from None
        empty = sorted(f"{folder}/{label}" for label, listed in categories.items() if not listed)
        if empty:
            kinds = sum((others[name] for name in empty if name in others), collections.Counter())
            raise ValueError(
                f"No images in {_some(empty)} of {path!r}. Found there: "
                f"{_kinds(kinds) or 'no files'}. Remove empty categories from all splits, or give "
                "them images of a kind that Pillow reads, such as .jpg or .png."
            )
    if len(images) == 2:
        (train, one), (validation, other) = images.items()
        if set(one) != set(other):
            raise ValueError(
                f"The splits of {path!r} have different categories. "
                f"Only in {train}: {_some(sorted(set(one) - set(other))) or 'none'}. "
                f"Only in {validation}: {_some(sorted(set(other) - set(one))) or 'none'}. "
                "Both need the same category folders."
            )


def _left_out(
    kinds: collections.Counter, outside: Sequence[str], lost: Sequence[str], folders: Sequence[str]
) -> str:
    parts = []
    if kinds:
        parts.append(f"{_kinds(kinds)}, of kinds that Pillow does not read here")
    if outside:
        layout = " and ".join(f"{folder}/<category>" for folder in folders)
        parts.append(f"{len(outside)} file(s) outside of {layout} ({_some(sorted(outside), 2)})")
    if lost:
        parts.append(f"{len(lost)} link(s) to nothing ({_some(sorted(lost), 2)})")
    return "; ".join(parts)


def _kinds(counts: collections.Counter) -> str:
    return ", ".join(
        f"{counts[ending]} {_printable(ending) or 'without an ending'}"
        + (f" (pip install {PLUGINS[ending]})" if ending in PLUGINS else "")
        for ending in sorted(counts)
    )


def _some(names: Sequence[str], most: int = 30) -> str:
    """The first names of many, as text."""
    return ", ".join(map(_printable, names[:most])) + (", ..." if len(names) > most else "")


def _printable(name: str) -> str:
    """A name in which bytes that are no UTF-8 are spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()
