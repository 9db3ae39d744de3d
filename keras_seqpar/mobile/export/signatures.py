"""Keras network -> one .tflite file of several signatures that share weights."""

import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_seqpar.mobile.export.converting import make_file
from keras_seqpar.mobile.export.file_content import FileContent
from keras_seqpar.mobile.export.options import FileOptions
from keras_seqpar.mobile.export.specification import specify
from keras_seqpar.mobile.format.files import Converted, check_path, write
from keras_seqpar.mobile.network import NetworkFacts, read_network
from keras_seqpar.mobile.runtime.runner import NONE
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.surgery.cutout import cutout

_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")


def convert_signatures(
    model: keras.Model,
    path: str | os.PathLike,
    signatures: Mapping[str, Sequence[str] | None],
    **options,
) -> Converted:
    """Writes several cutouts of a network into one .tflite file, which stores shared weights once.

    Each cutout is a graph of its own with a signature of its own, and gives bit for bit the scores
    of a file of this cutout alone. An app loads the file once and runs the signature that
    it needs: `Runner(path, signature="pets")`. Memory grows with every signature that is run.
    The signatures have their own labels and hierarchies in the file: `pets.labels.txt`,
    `pets.hierarchy.json`. No label file is written beside it.

    MediaPipe Tasks read files of one graph only: give them files of `convert`. The same holds for
    `quantize` and for other tools that read the first graph alone.

    Only SeqPar networks can have several signatures: plain networks and networks from elsewhere
    have no cutouts. A threshold for none of these is fitted on all logits, so only signatures of
    all categories have the output `none_of_these`.

    Args:
        model: a SeqPar network.
        path: where to write, ending in `.tflite`; the folder must exist.
        signatures: name of a signature -> its categories, as for `cutout`, or `None` for all of
            the network's. Names consist of letters, digits and `_`. The first signature runs by
            default.
        **options: of `convert`, without `labels`. Calibration images serve all signatures, so
            they should show the categories of all.

    Returns:
        What was written.

    Raises:
        TypeError: `signatures` is no mapping of names to sequences of names, or an option is of
            the wrong type or unknown.
        ValueError: no signature; an invalid name; no category, an unknown or a repeated
            one; two signatures with the same categories; a network without branches; or what
            `convert` refuses.
        RuntimeError: Keras does not run on TensorFlow.
        OSError: writing failed. A file that was there before is kept.

    Example:

    >>> made = convert_signatures(pets, "both.tflite", {"cats": ["cat"], "pets": None})
    >>> Runner(made.path, signature="pets")(images).shape
    (60, 2)
    """
    network = read_network(model)  # TypeError
    path = check_path(path)
    if "labels" in options:
        raise TypeError("labels are those of the signatures' categories: leave out labels=.")
    cutouts = _cutouts(model, signatures)
    asked = FileOptions(**options)
    made = make_files((key, net, asked) for key, net in cutouts.items())
    about = {**next(iter(made.values())).about, "network": network.name, "signatures": list(made)}
    about.pop(NONE, None)  # of some signatures only
    if thresholds := {key: one.about[NONE] for key, one in made.items() if NONE in one.about}:
        about[NONE] = thresholds
    return write_joined(path, network, made, about, asked, f"Signatures: {', '.join(made)}.")


def make_files(
    networks: Iterable[tuple[str, keras.Model, FileOptions]],
) -> dict[str, FileContent]:
    """Makes the files of several signatures, one by one.

    Args:
        networks: the key of every signature, the network that it runs, and its file's options.

    Returns:
        Key of a signature -> its file.
    """
    made = {}
    with warnings.catch_warnings():
        for key, model, options in networks:
            made[key] = make_file(specify(read_network(model), options))
            warnings.simplefilter("ignore", UserWarning)  # the first has warned for all
    return made


def write_joined(
    path: Path,
    network: NetworkFacts,
    made: Mapping[str, FileContent],
    about: Mapping[str, Any],
    options: FileOptions,
    description: str,
) -> Converted:
    """Joins files of one signature each into one file, which stores shared weights once.

    Args:
        path: where to write.
        network: the network that they are made of.
        made: key of a signature -> its file.
        about: facts on the network for the new file's description, as in `FileContent`.
        options: description, author and license are for the metadata.
        description: for the metadata where the options have none.

    Returns:
        What was written.
    """
    from keras_seqpar.mobile.format.flatbuffer import merge  # these need the [mobile] extra
    from keras_seqpar.mobile.format.metadata import append, file_name, metadata

    files = {
        file_name(name, key): data for key, one in made.items() for name, data in one.files.items()
    }
    content, operations = merge(
        {key: one.model for key, one in made.items()},
        description=json.dumps(about),
        metadata=metadata(
            files,
            name=network.name,
            description=options.description or description,
            author=options.author,
            license=options.license,
            channels=network.model.inputs[0].shape[-1],
            normalization=network.normalization,
            graphs={key: one.more_ends for key, one in made.items()},
        ),
    )
    content = append(content, files)
    write(path, content, None)
    return Converted(path, None, about["quantization"], len(content), operations, tuple(made))


def _cutouts(model: keras.Model, signatures) -> dict[str, keras.Model]:
    """The network of every signature; refuses invalid signatures."""
    try:
        hierarchy = find_parts(model).hierarchy
    except ValueError as error:
        raise ValueError(
            f"Signatures are cutouts that share a trunk, but {error} Convert it to a file "
            "of one signature with keras_seqpar.mobile.convert."
        ) from None
    if not isinstance(signatures, Mapping):
        raise TypeError(
            "signatures must map names to categories, {'pets': ['cat', 'dog'], 'all': None}, got "
            f"{signatures!r}."
        )
    if not signatures:
        raise ValueError("Name at least one signature: {'pets': ['cat', 'dog'], 'all': None}.")
    cutouts: dict[str, keras.Model] = {}
    holders: dict[tuple[str, ...], str] = {}
    for key, categories in signatures.items():
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            raise ValueError(
                f"{key!r} cannot be the name of a signature. Take letters, digits and _, a letter "
                "first: apps call it by this name."
            )
        try:
            wanted = hierarchy.category_ids if categories is None else categories
            cutouts[key] = cutout(model, wanted, name=model.name)
        except (TypeError, ValueError) as error:
            raise type(error)(f"Signature {key!r}: {error}") from None
        kept = find_parts(cutouts[key]).hierarchy.category_ids
        if kept in holders:
            raise ValueError(
                f"The signatures {holders[kept]!r} and {key!r} have the same categories in the "
                "same order. Leave one out."
            )
        holders[kept] = key
    return cutouts
