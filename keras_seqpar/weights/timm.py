"""Weights of PyTorch Image Models (timm): names, layouts and files."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers as kl

from keras_seqpar.families.base import LayerNames
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.plans import FAMILIES
from keras_seqpar.utils.names import unknown_name
from keras_seqpar.weights.filling import fill, find_target
from keras_seqpar.weights.reports import Filled

# timm's names of the architectures that are families of this package
ARCHITECTURES = tuple(family.timm.network for family in FAMILIES.values() if family.timm)
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".npz")

_WEIGHTS = {
    "weight": "kernel",
    "bias": "bias",
}
_NORM_WEIGHTS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def from_timm(
    model: keras.Model, source, *, classifier: bool = True, partial: bool = False
) -> Filled:
    """Fills a plain network, or the trunk of a SeqPar network, with weights of timm.

    Weights are matched by name. All of the trunk (of a plain network: all of the network) is
    filled; if the source has another architecture, nothing is filled. A SeqPar network gets the
    beginning of the source into its trunk, and its branches stay as they are. ResNets of
    torchvision have the same names and the same arithmetic, so they fit as well.

    Pretrained weights have licenses of their own (those of ConvNeXt V2 forbid commercial use).
    Most expect ImageNet-normalized input, as the networks of this package do.

    Args:
        model: a network of this package, or its sub-model `trunk` alone.
        source: a state dict (torch tensors or NumPy arrays), a torch module, the path of a
            state dict (.safetensors, .pth, .pt, .bin, .npz; nothing in it is executed), or
            the name of a timm model such as `"resnet50"` or `"resnet50.a1_in1k"`, whose
            weights timm downloads.
        classifier: whether the layer `logits` of a plain network is filled; `False` for
            other categories than the source's.
        partial: fill every layer that fits and leave the others as they are.

    Returns:
        What was filled, what was left, and what of the source was not needed.

    Raises:
        TypeError: `model` is no Keras model, or `source` is none of the above.
        ValueError: the source does not fit (the message lists the weights that are missing, too
            many or of another shape), cannot be read, or is no architecture of this package.
        ImportError: timm, torch or safetensors is needed and not installed.

    Example:

    >>> model = build_phl(["cat", "dog"], family="resnet50")
    >>> print(from_timm(model, "resnet50.a1_in1k"))
    """
    target = find_target(model)
    names = target.names("timm")
    state, name, notes = _read(source)
    arrays, original = {}, {}
    depthwise = {x.name for x in leaf_layers(target.trunk) if isinstance(x, kl.DepthwiseConv2D)}
    dense = {x.name for x in model.layers if isinstance(x, kl.Dense)}
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):  # counts training steps; inference does not use it
            continue
        ours = _our_name(key, names)
        layer = ours.split("/")[0]
        array = _array(value, key)
        arrays[ours] = _to_keras_layout(array, layer in depthwise, layer in dense)
        original[ours] = key
    return fill(
        target,
        arrays,
        name,
        classifier=classifier,
        original=original,
        notes=notes,
        partial=partial,
    )


def _our_name(key: str, names: LayerNames) -> str:
    """This package's name for a timm weight, or `key` if it has none."""
    module, _, weight = key.rpartition(".")
    layer = names.find(module)
    kinds = _NORM_WEIGHTS if layer and layer.endswith(names.norms) else _WEIGHTS
    return f"{layer}/{kinds[weight]}" if layer and weight in kinds else key


def _to_keras_layout(array: np.ndarray, depthwise: bool, dense: bool) -> np.ndarray:
    if array.ndim == 4:  # (out, in, height, width)
        return array.transpose(2, 3, 0, 1) if depthwise else array.transpose(2, 3, 1, 0)
    if array.ndim == 2:  # (out, in); timm writes 1x1 convolutions as linear layers in large nets
        return array.T if dense else array.T[None, None]
    return array


def _array(value, key: str) -> np.ndarray:
    if hasattr(value, "detach"):  # a torch tensor; NumPy has no bfloat16
        value = value.detach().cpu().float().numpy()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"A state dict maps names to arrays, got {value!r:.60} for {key!r}.")
    return np.asarray(value, "float32")


def _read(source) -> tuple[Mapping, str, tuple[str, ...]]:
    """A source's state dict, what to call it, and notes."""
    if hasattr(source, "state_dict"):
        return source.state_dict(), type(source).__name__, ()
    if isinstance(source, Mapping):
        return _unwrap(source), "the state dict", ()
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            "source must be a state dict, its path, or the name of a timm model, "
            f"got {source!r:.60} of type {type(source).__name__}."
        )
    if Path(source).suffix in _SUFFIXES:
        return _unwrap(_read_file(Path(source))), str(source), ()
    return _download(str(source))


def _unwrap(state: Mapping) -> Mapping:
    """Takes the state dict out of a checkpoint, and off the prefix of a parallel module."""
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), Mapping):
            state = state[key]
    if not all(isinstance(key, str) for key in state):
        raise TypeError("A state dict maps names to arrays; this one has keys that are no names.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _read_file(path: Path) -> Mapping:
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file  # bfloat16 too: ml_dtypes came with Keras

            return load_file(path)
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise ImportError(f"Reading {path} needs {error.name}: pip install {error.name}") from error
    except Exception as error:  # what is raised depends on what was found in the file
        raise ValueError(f"{path} is no readable state dict: {error}") from error
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} holds a {type(state).__name__}, not a state dict.")
    return state


def _download(name: str) -> tuple[Mapping, str, tuple[str, ...]]:
    architecture = name.split(".")[0]
    if architecture not in ARCHITECTURES:
        files = f"A file's name ends in {', '.join(_SUFFIXES)}."
        raise ValueError(unknown_name("timm architecture", architecture, ARCHITECTURES, files))
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            f"Weights by name ({name!r}) need timm: pip install timm. Or give the path of a "
            "state dict."
        ) from error
    try:
        net: Any = timm.create_model(name, pretrained=True)
    except Exception as error:  # no such weights, no network, an incomplete download, ...
        raise ValueError(f"timm cannot load the weights {name!r}: {error}") from error
    license = net.pretrained_cfg.get("license")
    return net.state_dict(), f"timm:{name}", (f"License: {license or 'not stated'}.",)
