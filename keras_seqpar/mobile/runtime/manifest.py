"""The manifest of a branch pack: its files with their inputs and outputs. Needs no Keras.

A branch pack is a folder: a trunk, one branch per node of the hierarchy, and `manifest.json`. The
name of a file has its kind and the beginning of its SHA-256: `trunk.0123456789ab.tflite`,
`branch_cat.ba9876543210.tflite`. So another version of a branch has another name, both may be in
the folder, and the manifest decides. Packs of earlier versions have `trunk.tflite` and
`branch_cat.tflite`. The trunk turns an image into features, a superclass's branch features into
features, a category's branch features into one logit.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from keras_seqpar.hierarchy.tree import Hierarchy, Node
from keras_seqpar.mobile.runtime.activations import ACTIVATIONS
from keras_seqpar.mobile.runtime.checks.facts import is_number
from keras_seqpar.networks.thresholds import Threshold

MANIFEST = "manifest.json"
TRUNK = "trunk.tflite"
FORMAT = "keras_seqpar branch pack"
VERSION = 1
MOST_BYTES = 64 * 2**20  # of a manifest
_HASHES = ("sha256", "weights", "takes")  # upper case is the same
# What reading a manifest of other values raises.
_DAMAGE = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError)


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output of a file. Two files fit if output and input are equal.

    Args:
        shape: all dimensions, the batch of 1 included.
        dtype: `"float32"`, `"uint8"` or `"int8"`.
        scale: an integer `q` stands for `scale * (q - zero_point)`; 0 for floats.
        zero_point: see `scale`; 0 for floats.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(self.shape))

    @classmethod
    def from_config(cls, config: Mapping) -> "Tensor":
        """Rebuilds a description from a manifest's data."""
        tensor = cls(**config)
        whole = [*tensor.shape, tensor.zero_point]
        if not all(isinstance(n, int) and abs(n) < 2**31 for n in whole):
            raise ValueError(f"the shape {tensor.shape!r:.80} or its zero point is no whole number")
        if not isinstance(tensor.dtype, str) or not is_number(tensor.scale) or tensor.scale < 0:
            raise ValueError(f"the dtype {tensor.dtype!r:.80} or the scale {tensor.scale!r:.80}")
        return tensor

    def __str__(self) -> str:
        scaled = f", scale {self.scale!r}, zero point {self.zero_point}" if self.scale else ""
        return f"{self.dtype} {self.shape}{scaled}"


@dataclasses.dataclass(frozen=True)
class Part:
    """A file of a pack.

    Args:
        file: its name.
        bytes: its size.
        sha256: its hash, hexadecimal.
        weights: hash of the Keras weights that it was made of (`fingerprint`).
        takes: `sha256` of the file whose output it was calibrated for; `None` for the trunk.
        input: its input.
        output: its output.
    """

    file: str
    bytes: int
    sha256: str
    weights: str
    takes: str | None
    input: Tensor
    output: Tensor

    @classmethod
    def from_config(cls, config: Mapping) -> "Part":
        """Rebuilds a record from a manifest's data."""
        found: dict = {name: Tensor.from_config(config[name]) for name in ("input", "output")}
        found |= {key: config[key].lower() for key in _HASHES if config.get(key) is not None}
        part = cls(**{**config, **found})
        if not isinstance(part.file, str) or not isinstance(part.bytes, int):
            raise ValueError(f"a file {part.file!r:.80} of {part.bytes!r:.80} bytes")
        if not re.fullmatch("[0-9a-f]{64}", part.sha256):
            raise ValueError(f"the SHA-256 {part.sha256!r:.80} of {part.file!r}")
        return part

    def check_file(self, folder: Path) -> None:
        """Checks that the file in `folder` is the one that this record describes.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it has another size or hash.
        """
        path = folder / self.file
        if not path.is_file():
            raise FileNotFoundError(
                f"The branch pack {str(folder)!r} has no file {self.file!r}. Copy it there, or "
                "choose categories that do not need it."
            )
        if (size := path.stat().st_size) != self.bytes:
            raise ValueError(
                f"{str(path)!r} has {size:,} bytes, but the manifest says "
                f"{self.bytes:,}: it is truncated or another file. Copy it again, together with "
                "the manifest."
            )
        if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != self.sha256:
            raise ValueError(
                f"{str(path)!r} has the SHA-256 {found}, but the manifest says {self.sha256}: it "
                "is damaged or of another pack. Copy it again, together with the manifest."
            )


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Args:
        network: name of the network that the pack was made of.
        quantization: `"int8"` or `"float32"`.
        classifier_activation: turns the logits of the chosen categories into scores.
        hierarchy: which file feeds which, and the labels.
        mean: per channel, in pixels: `(pixel - mean) / std` is the trunk's input; `None` if
            unknown.
        std: see `mean`.
        threshold: below it an image shows none of all categories; `None` if unknown.
        trunk: the trunk's file.
        branches: node id -> the branch's file, in `hierarchy.nodes` order.

    Example:

    >>> manifest = read_manifest("pets.pack")
    >>> manifest.quantization, manifest.hierarchy.categories, list(manifest.branches)
    ('float32', ('cat', 'dog'), ['cat', 'dog'])
    """

    network: str
    quantization: str
    classifier_activation: str | None
    hierarchy: Hierarchy
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    threshold: Threshold | None
    trunk: Part
    branches: Mapping[str, Part]

    def get_config(self) -> dict:
        """Returns the manifest as JSON-ready data; `from_config` reads it back."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "network": self.network,
            "quantization": self.quantization,
            "classifier_activation": self.classifier_activation,
            "mean": self.mean,
            "std": self.std,
            "none_of_these": self.threshold and self.threshold.get_config(),
            "hierarchy": self.hierarchy.get_config(),
            "trunk": dataclasses.asdict(self.trunk),
            "branches": {
                node.id: dataclasses.asdict(self.branches[node.id]) for node in self.hierarchy.nodes
            },
        }

    @classmethod
    def from_config(cls, config: Mapping) -> "Manifest":
        """Rebuilds a manifest from `get_config`'s data."""
        mean, std = (config[key] and tuple(map(float, config[key])) for key in ("mean", "std"))
        if not all(map(is_number, [*(mean or ()), *(std or ())])) or not all(std or (1,)):
            raise ValueError(f"the mean {mean} or std {std} of pixels")
        if not isinstance(config["network"], str) or not isinstance(config["quantization"], str):
            raise ValueError("network and quantization should be text")
        return cls(
            config["network"],
            config["quantization"],
            config["classifier_activation"],
            Hierarchy.from_config(config["hierarchy"]),
            mean,
            std,
            Threshold.of(config["none_of_these"]),
            Part.from_config(config["trunk"]),
            {id_: Part.from_config(part) for id_, part in config["branches"].items()},
        )

    def feeds(self) -> Iterator[tuple[Node, Part, Part]]:
        """Yields every node with the part that feeds it and its own part, parents first."""
        for node in self.hierarchy.nodes:
            above = self.hierarchy.path(node)[:-1]
            feeder = self.branches[above[-1].id] if above else self.trunk
            yield node, feeder, self.branches[node.id]

    def check(self) -> None:
        """Checks that the files fit together.

        Raises:
            ValueError: a file does not fit; the message names it.
        """
        if self.classifier_activation not in ACTIVATIONS:
            raise ValueError(f"nothing here applies the activation {self.classifier_activation!r}")
        channels = self.trunk.input.shape[-1:]
        if any(known and (len(known),) not in ((1,), channels) for known in (self.mean, self.std)):
            raise ValueError(f"mean {self.mean} and std {self.std} do not fit images {channels}")
        ids = {node.id for node in self.hierarchy.nodes}
        if unmatched := sorted(ids ^ set(self.branches)):
            raise ValueError(f"hierarchy and branches differ in {', '.join(unmatched)}")
        files = [(self.trunk, TRUNK), *((self.branches[id_], branch_file(id_)) for id_ in ids)]
        for part, name in files:
            if part.file not in (name, part_file(name, part.sha256)):  # also: in no other folder
                raise ValueError(
                    f"the file {part.file!r} should be called {part_file(name, part.sha256)!r}"
                )
        for node, feeder, part in self.feeds():
            if part.takes != feeder.sha256:
                kind = "trunk" if feeder is self.trunk else "superclass branch"
                raise ValueError(
                    f"{part.file!r} ({node.label}) was calibrated for another {kind}: it takes "
                    f"the output of the file with the SHA-256 {part.takes}, {feeder.file!r} has "
                    f"{feeder.sha256}. Take the branch of a pack with this trunk, or make it with "
                    "keras_seqpar.mobile.add_branch"
                )
            if part.input != feeder.output:
                raise ValueError(
                    f"{part.file!r} takes {part.input}, but {feeder.file!r} gives {feeder.output}"
                )


def branch_file(node_id: str) -> str:
    """The name of a branch's file, without its hash."""
    return f"branch_{node_id}.tflite"


def part_file(name: str, sha256: str) -> str:
    """The name of a file with the beginning of its hash: `trunk.0123456789ab.tflite`."""
    return f"{name.removesuffix('.tflite')}.{sha256[:12]}.tflite"


def read_manifest(folder: str | os.PathLike) -> Manifest:
    """Reads and checks a pack's manifest, not the other files.

    Args:
        folder: the pack.

    Returns:
        The manifest.

    Raises:
        FileNotFoundError: no such folder, or no manifest in it.
        ValueError: the manifest is damaged or of another version, or its files do not fit
            together: a branch of another trunk.

    Example:

    >>> read_manifest("pets.pack").hierarchy.categories
    ('cat', 'dog')
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        missing = f"no file {MANIFEST!r} in it" if path.parent.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"{str(folder)!r} is no branch pack: there is {missing}. Make one with "
            "keras_seqpar.mobile.pack or tflite/pack.py."
        )
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{str(path)!r} has more than {MOST_BYTES:,} bytes: no manifest has.")
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{str(path)!r} is truncated or damaged ({error}). Copy it again."
        ) from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} is no manifest of a branch pack.")
    if config.get("version") != VERSION:
        raise ValueError(
            f"{str(path)!r} has the format version {config.get('version')!r}; this keras_seqpar "
            f"reads {VERSION}. Make the pack again, or install the keras_seqpar that made it."
        )
    try:
        manifest = Manifest.from_config(config)
    except _DAMAGE as error:
        raise ValueError(
            f"{str(path)!r} is damaged ({type(error).__name__}: {error}). Copy it again."
        ) from None
    try:
        manifest.check()
    except ValueError as error:
        raise ValueError(f"{str(path)!r} does not fit together: {error}.") from None
    return manifest
