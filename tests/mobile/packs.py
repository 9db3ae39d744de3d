"""Small branch packs, and what tests do to their files."""

import json
import re

import numpy as np

import keras_seqpar as sp
from tests import harness

TREE = {"pets": ["cat", "dog"], "car": None, "ships": ["ferry", "tug"]}


def network(tree=TREE, **options):
    """A small network with random weights that takes pixels."""
    return harness.network(tree, include_preprocessing=True, **options)


def scores_of(net, images) -> np.ndarray:
    return harness.predict(net, images.astype("float32"))


def grown(tree=TREE, category="bus", parent=None, seed=5, **options):
    """The network with a new branch of random weights."""
    net = network(tree, **options)
    bigger = sp.add_category(net, category, parent=parent, seed=seed)
    id_ = bigger.get_layer("categories").hierarchy.find(category).id
    harness.randomize(bigger.get_layer(f"branch_{id_}"), seed=seed)
    return bigger


def plain(name: str) -> str:
    """The name of a pack's file without its hash."""
    return re.sub(r"\.[0-9a-f]{12}\.tflite$", ".tflite", name)


def contents(folder) -> dict[str, bytes]:
    """Name of a file without its hash -> its content."""
    return {plain(path.name): path.read_bytes() for path in folder.iterdir()}


def part(folder, name: str):
    """The path of a pack's file, by its name without the hash."""
    (path,) = (path for path in folder.iterdir() if plain(path.name) == name)
    return path


def tamper(folder, change) -> None:
    """Edits the manifest by hand."""
    path = folder / "manifest.json"
    config = json.loads(path.read_text("utf-8"))
    change(config)
    path.write_text(json.dumps(config), "utf-8")


def flip(content: bytes) -> bytes:
    """Another byte in the middle of the weights."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
