"""Converts the trunk or one branch of a network to a file of a pack."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import keras

from keras_seqpar.mobile.export.converter import to_tflite
from keras_seqpar.mobile.export.specification import require_tensorflow
from keras_seqpar.mobile.format.files import seal
from keras_seqpar.mobile.network import NetworkFacts, in_float32
from keras_seqpar.mobile.runtime.activations import ACTIVATIONS
from keras_seqpar.mobile.runtime.manifest import Part, part_file
from keras_seqpar.mobile.runtime.pack_runner import PartRunner
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.parts import Parts, find_parts, traits
from keras_seqpar.utils.files import write_file
from keras_seqpar.utils.names import unknown_name
from keras_seqpar.weights import named_weights
from keras_seqpar.weights.differences import settings_text


@dataclasses.dataclass(frozen=True)
class LoadedPart:
    """A file of a pack that can be run.

    Args:
        part: its record in the manifest.
        runner: runs it.
    """

    part: Part
    runner: PartRunner


def packable_parts(network: NetworkFacts) -> Parts:
    """The parts of a network in float32.

    Raises:
        ValueError: a network that cannot be packed.
        RuntimeError: Keras does not run on TensorFlow.
    """
    require_tensorflow()
    find_parts(network.model)  # ValueError, also for plain networks
    if network.gains is not None:
        raise ValueError(
            f"The model {network.name!r} has a gains input, which branch packs do not. Pack the "
            "network without it, or set constant gains with keras_seqpar.attend."
        )
    parts = find_parts(in_float32(network.model))
    if parts.classifier_activation not in ACTIVATIONS:
        raise ValueError(
            unknown_name("activation of packs", parts.classifier_activation, map(str, ACTIVATIONS))
            + " Choose one with keras_seqpar.with_activation."
        )
    return parts


def fingerprint(part: keras.Model, *, earlier: bool = False) -> str:
    """Hashes what a trunk or branch computes: names, kinds, settings and weights of its layers.

    Args:
        part: a sub-model of a network of this package.
        earlier: as packs of earlier versions have it, with four of the settings.

    Returns:
        A SHA-256, hexadecimal. It is the same after saving and reloading.
    """
    digest = hashlib.sha256()
    for layer in leaf_layers(part):
        settings = traits(layer) if earlier else settings_text(layer)
        digest.update(repr((layer.name, type(layer).__name__, settings)).encode())
    for name, variable in named_weights(part).items():
        value = keras.ops.convert_to_numpy(variable)
        digest.update(repr((name, value.shape, value.dtype.str)).encode() + value.tobytes())
    return digest.hexdigest()


def convert_part(
    model: keras.Model,
    shape: tuple[int, ...],
    quantization: str,
    samples: Callable[[], Iterator],
    ends: tuple[str, str],
    names: tuple[str, str],
    about: Mapping,
) -> bytes:
    """Converts a trunk or a branch.

    Args:
        model: in float32.
        shape: of what it takes, the batch of 1 included.
        quantization: of the pack.
        samples: returns the calibration samples.
        ends: dtypes of input and output.
        names: of input and output.
        about: facts that the file's description stores as JSON.

    Returns:
        The content of its file.
    """
    from keras_seqpar.mobile.format.flatbuffer import rewrite  # these need the [mobile] extra
    from keras_seqpar.mobile.format.schema import pack, unpack

    converted = unpack(to_tflite(model, shape, quantization, samples, ends))
    converted.signatureDefs[0].inputs[0].name = names[0].encode()
    return rewrite(pack(converted), outputs=names[1:], description=json.dumps(about))[0]


def write_part(
    folder: Path, file: str, content: bytes, model: keras.Model, takes: str | None
) -> LoadedPart:
    """Writes the file of a trunk or a branch, and loads it.

    Args:
        folder: where to write.
        file: its name without its hash.
        content: from `convert_part`.
        model: what it was made of.
        takes: SHA-256 of the file whose output it was calibrated for; `None` for the trunk.
    """
    content = seal(content)
    sha256 = hashlib.sha256(content).hexdigest()
    file = part_file(file, sha256)
    write_file(folder / file, content)
    runner = PartRunner(folder / file)
    part = Part(
        file=file,
        bytes=len(content),
        sha256=sha256,
        weights=fingerprint(model),
        takes=takes,
        input=runner.input,
        output=runner.output,
    )
    return LoadedPart(part, runner)
