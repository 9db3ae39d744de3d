"""The content of a .tflite file before it is written: model, description, metadata, labels."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_seqpar.mobile.export.specification import FileSpecification
from keras_seqpar.mobile.format.files import Converted, write
from keras_seqpar.mobile.network import NetworkFacts
from keras_seqpar.mobile.runtime.runner import NONE, SCORES


@dataclasses.dataclass(frozen=True, eq=False)
class FileContent:
    """A file of one signature that is not written yet.

    Args:
        model: the flatbuffer.
        operations: name of a TFLite operation -> how often the model uses it.
        about: facts on the network, which the model's description stores as JSON.
        labels: one per score; empty for a file without labels.
        files: name -> content of the files that are packed into it.
        more_ends: `"gains"` if it has this input, `"none_of_these"` if it has this output.
    """

    model: bytes
    operations: Mapping[str, int]
    about: Mapping[str, Any]
    labels: tuple[str, ...]
    files: Mapping[str, bytes]
    more_ends: tuple[str, ...]

    def write(self, path: Path) -> Converted:
        """Writes the file, and its label file if it has labels; both whole or not at all.

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
    """Names the outputs of a converted model, and adds its description and metadata.

    Args:
        model: as TensorFlow's converter wrote it.
        spec: the specification that it was made from.
        more: further facts for `FileContent.about`.

    Returns:
        The file.
    """
    from keras_seqpar.mobile.format.flatbuffer import rewrite  # these need the [mobile] extra
    from keras_seqpar.mobile.format.metadata import associated_files, metadata

    network, options = spec.network, spec.options
    build = network.parts.build if network.parts else None
    ends = _more_ends(network)
    about = _about(spec) | dict(more or {})
    hierarchy = network.parts.hierarchy if network.parts else None
    files = associated_files(
        labels=spec.labels,
        gains=[node.label for node in hierarchy.nodes] if hierarchy and "gains" in ends else (),
        none=NONE in ends,
        hierarchy=hierarchy if spec.labels else None,
    )
    model, operations = rewrite(
        model,
        outputs=["scores", NONE] if NONE in ends else ["scores"],
        description=json.dumps(about),
        metadata=metadata(
            files,
            name=network.name,
            description=options.description or f"Scores {network.outputs} categories.",
            author=options.author,
            license=options.license or (build.license if build else None),
            channels=spec.shape[-1],
            normalization=network.normalization,
            graphs={"": ends},
        ),
        ends=(options.input_dtype, options.output_dtype) if spec.gain_limit else None,
    )
    return FileContent(model, operations, about, spec.labels, files, ends)


def _more_ends(network: NetworkFacts) -> tuple[str, ...]:
    """Names of the input besides the image and of the output besides the scores."""
    gains = ("gains",) if network.gains is not None else ()
    return (*gains, NONE) if network.threshold else gains


def _about(spec: FileSpecification) -> dict[str, Any]:
    """Facts on the network, for programs that read the file."""
    network = spec.network
    about: dict[str, Any] = {"network": network.name, "quantization": spec.options.quantization}
    if network.normalization:
        about["mean"], about["std"] = network.normalization
    if network.parts:
        about["activation"] = network.parts.classifier_activation
        if network.parts.build and network.parts.build.weights:
            about["weights"] = network.parts.build.weights
    if spec.options.outputs != SCORES:
        about["outputs"] = spec.options.outputs
    if spec.gain_limit:
        about["max_gain"] = spec.gain_limit
    if network.threshold:
        about[NONE] = network.threshold.get_config()
    return about
