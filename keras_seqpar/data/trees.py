"""Trees of images, PATH/<split>/<category>/<image>, in folders and in archives."""

import contextlib
import functools
import tarfile
import zipfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path, PurePosixPath

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
SPLITS = {"train": ("train", "training"), "validation": ("validation", "val", "valid", "test")}

# What a source lists: (name, category index, encoded image or its path).
Record = tuple[str, int, bytes | Path]
# Folder tree: split folder -> category -> [(name, encoded image or its path)].
Tree = dict[str, dict[str, list[tuple[str, bytes | Path]]]]


def read_folder(path: str) -> Tree:
    """Lists the images of a folder; they are not read."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"The data folder {path!r} does not exist. {_LAYOUT}")
    return {
        split.name: {
            category.name: [
                (item.relative_to(root).as_posix(), item)
                for item in sorted(category.iterdir())
                if _is_image(item.name)
            ]
            for category in _folders(split)
        }
        for split in _folders(root)
    }


def _folders(parent: Path) -> list[Path]:
    return sorted(p for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))


def read_archive(path: str, splits: Sequence[str], memory_limit: int) -> Tree:
    """Reads the encoded images of some splits into memory."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"The archive {path!r} does not exist. {_LAYOUT}")
    needed = {folder for split in splits for folder in SPLITS[split]}
    tree: Tree = {}
    total = 0
    try:
        with contextlib.closing(_members(file)) as members:
            for member, size, read in members:
                parts = PurePosixPath(member).parts
                if len(parts) < 3 or not _is_image(parts[-1]) or parts[0] == "__MACOSX":
                    continue
                split, category, name = parts[-3:]
                total += size if split in needed else 0
                if total > memory_limit:
                    raise ValueError(
                        f"The archive {path!r} is larger than {memory_limit / 2**30:.1f} GiB. "
                        "Unpack it and use folder:PATH."
                    )
                content = read() if split in needed else b""
                images = tree.setdefault(split, {}).setdefault(category, [])
                images.append((f"{split}/{category}/{name}", content))
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"The archive {path!r} cannot be read: {error}") from error
    for categories in tree.values():
        for images in categories.values():
            images.sort(key=lambda image: image[0])
    return tree


def _members(file: Path) -> Generator[tuple[str, int, Callable[[], bytes]]]:
    """Yields name, size and a reader for every file in a .zip or .tar."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for item in archive.infolist():
                if not item.is_dir():
                    yield item.filename, item.file_size, functools.partial(archive.read, item)
    else:
        with tarfile.open(file) as tar:
            for member in tar:
                if member.isfile():
                    yield member.name, member.size, functools.partial(_extract, tar, member)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    return stream.read() if stream else b""


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


_LAYOUT = "Expected: PATH/train/<category>/<image> and PATH/validation/<category>/<image>."


def check_tree(tree: Tree, path: str, splits: Sequence[str]):
    """Checks a folder tree and numbers its categories.

    Returns:
        The labels, and split -> list of records.
    """
    if not tree:
        raise ValueError(f"There are no images in {path!r}. {_LAYOUT}")
    found = {
        split: folder
        for split, names in SPLITS.items()
        if (folder := next((name for name in names if name in tree), None))
    }
    for split in splits:
        if split not in found:
            raise ValueError(
                f"{path!r} has no {split} split: none of the folders {', '.join(SPLITS[split])}. "
                f"Found: {', '.join(sorted(tree))}. {_LAYOUT}"
            )
    for folder in found.values():
        if not tree[folder]:
            raise ValueError(f"The folder {folder!r} in {path!r} is empty. {_LAYOUT}")
        if empty := sorted(label for label, images in tree[folder].items() if not images):
            raise ValueError(
                f"No images in {', '.join(f'{folder}/{label}' for label in empty)} of {path!r}. "
                f"Files count as images if they end in {', '.join(EXTENSIONS)}."
            )
    if len(found) == 2:
        one, other = (set(tree[found[split]]) for split in ("train", "validation"))
        if one != other:
            raise ValueError(
                f"The splits of {path!r} have different categories. "
                f"Only in {found['train']}: {', '.join(sorted(one - other)) or 'none'}. "
                f"Only in {found['validation']}: {', '.join(sorted(other - one)) or 'none'}. "
                "Both need the same category folders."
            )
    categories = tuple(sorted(tree[found[splits[0]]]))
    records = {
        split: [
            (name, index, source)
            for index, label in enumerate(categories)
            for name, source in tree[found[split]][label]
        ]
        for split in splits
    }
    return categories, records
