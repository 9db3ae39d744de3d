"""A .tflite file before it is written: its model, and what it says about itself."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_seqpar.mobile.export.specification import FileSpecification
from keras_seqpar.mobile.format.files import Converted, write
from keras_seqpar.mobile.network import NetworkFacts
from keras_seqpar.mobile.runtime.runner import NONE


@dataclasses.dataclass(frozen=True, eq=False)
class FileContent:
    """A file of one signature that is not written yet.

    Args:
        model: the flatbuffer.
        operations: name of a TFLite operation -> how often the model uses it.
        about: what the file says of its network: the model's description, as data.
        labels: one per score; empty for a file without labels.
        files: name -> content of the files that travel in the file.
        beside_images: the input beside images and the output beside scores, where it has them.
    """

    model: bytes
    operations: Mapping[str, int]
    about: Mapping[str, Any]
    labels: tuple[str, ...]
    files: Mapping[str, bytes]
    beside_images: tuple[str, ...]

    def write(self, path: Path) -> Converted:
        """Writes the file, and its label file where it has labels; both whole or not at all.

        Raises:
            OSError: writing failed. Files that were there before are kept.
        """
        from keras_seqpar.mobile.format.metadata import append

        content = append(self.model, self.files)
        labels = "".join(f"{label}\n" for label in self.labels).encode() if self.labels else None
        return Converted(
            path=path,
            labels_path=write(path, content, labels),
            quantization=self.about["quantization"],
            bytes=len(content),
            operations=self.operations,
        )


def describe(
    model: bytes, spec: FileSpecification, more: Mapping[str, Any] | None = None
) -> FileContent:
    """Names inputs and outputs of a converted model and writes into it what it is.

    Args:
        model: as TensorFlow's converter wrote it.
        spec: what it was made for.
        more: what else the file says of its network.

    Returns:
        The file.
    """
    from keras_seqpar.mobile.format.flatbuffer import rewrite  # these need the [mobile] extra
    from keras_seqpar.mobile.format.metadata import associated_files, metadata

    network, options = spec.network, spec.options
    beside = _beside_images(network)
    about = _about(spec) | dict(more or {})
    hierarchy = network.parts.hierarchy if network.parts else None
    files = associated_files(
        labels=spec.labels,
        gains=[node.label for node in hierarchy.nodes] if hierarchy and "gains" in beside else (),
        none=NONE in beside,
        hierarchy=hierarchy if spec.labels else None,
    )
    model, operations = rewrite(
        model,
        outputs=["scores", NONE] if NONE in beside else ["scores"],
        description=json.dumps(about),
        metadata=metadata(
            files,
            name=network.name,
            description=options.description or f"Scores {network.outputs} categories.",
            author=options.author,
            license=options.license,
            channels=spec.shape[-1],
            normalization=network.normalization,
            graphs={"": beside},
        ),
        ends=(options.input_dtype, options.output_dtype) if spec.gain_limit else None,
    )
    return FileContent(model, operations, about, spec.labels, files, beside)


def _beside_images(network: NetworkFacts) -> tuple[str, ...]:
    gains = ("gains",) if network.gains is not None else ()
    return (*gains, NONE) if network.threshold else gains


def _about(spec: FileSpecification) -> dict[str, Any]:
    """What the file says of its network, for whoever reads it."""
    network = spec.network
    about: dict[str, Any] = {"network": network.name, "quantization": spec.options.quantization}
    if network.normalization:
        about["mean"], about["std"] = network.normalization
    if network.parts:
        about["activation"] = network.parts.classifier_activation
    if spec.gain_limit:
        about["max_gain"] = spec.gain_limit
    if network.threshold:
        about[NONE] = network.threshold.get_config()
    return about
