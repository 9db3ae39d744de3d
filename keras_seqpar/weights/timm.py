"""Weights of PyTorch Image Models (timm): names, layouts and files."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers as kl

from keras_seqpar.families.base import LayerNames
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.networks.plans import FAMILIES
from keras_seqpar.utils.names import unknown_name
from keras_seqpar.weights.filling import Target, fill, find_target
from keras_seqpar.weights.reports import Filled
from keras_seqpar.weights.state_dicts import SUFFIXES, StateDict, clean, read_state_dict

# timm's names of the architectures that are families of this package
ARCHITECTURES = tuple(family.timm.network for family in FAMILIES.values() if family.timm)

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
    model: keras.Model,
    source,
    *,
    classifier: bool = True,
    partial: bool = False,
    ema: bool = False,
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
            weights timm downloads. The state dict may be inside a checkpoint (`state_dict`,
            `model`, ...), and its names may have the prefixes that DistributedDataParallel,
            torch.compile and others add (`module.`, `_orig_mod.`, `model.`).
        classifier: whether the layer `logits` of a plain network is filled; `False` for
            other categories than the source's.
        partial: fill every layer that fits and leave the others as they are.
        ema: take a checkpoint's averaged weights (`state_dict_ema`, `model_ema`, ...). A
            checkpoint that has no others gives them without being asked.

    Returns:
        What was filled, what was left, and what of the source was not needed.

    Raises:
        TypeError: `model` is no Keras model, or `source` is none of the above.
        ValueError: the source does not fit (the message lists the weights that are missing, too
            many or of another shape), cannot be read, or is no architecture of this package.
        ImportError: timm, torch or safetensors is needed and not installed.

    Example:

    >>> import timm
    >>> own = build_phl(["cat", "dog"], family="resnet18")
    >>> resnet = timm.create_model("resnet18")  # or "resnet18.a1_in1k", which downloads weights
    >>> print(from_timm(own, resnet))
    """
    target = find_target(model)
    names = target.names("timm")
    state = read_state_dict(source, ema=ema)
    if state is None and ema:
        raise ValueError(
            f"ema=True is for checkpoints in files, not for the timm model {source!r}."
        )
    state = state or _download(source)
    return fill_from_state(target, state, names, classifier=classifier, partial=partial)


def fill_from_state(
    target: Target, state: StateDict, names: LayerNames, *, classifier: bool, partial: bool
) -> Filled:
    """Fills a network from a state dict of PyTorch.

    Args:
        target: the network.
        state: the state dict.
        names: the layer names of the package that it comes from.
        classifier: as for `from_timm`.
        partial: as for `from_timm`.

    Returns:
        As `from_timm`.

    Raises:
        ValueError: as for `from_timm`.
    """
    arrays, original = {}, {}
    depthwise = {x.name for x in leaf_layers(target.trunk) if isinstance(x, kl.DepthwiseConv2D)}
    dense = {x.name for x in target.model.layers if isinstance(x, kl.Dense)}
    for key, array in state.arrays.items():
        ours = _our_name(key, names)
        layer = ours.split("/")[0]
        arrays[ours] = _to_keras_layout(array, layer in depthwise, layer in dense)
        original[ours] = key
    try:
        return fill(
            target,
            arrays,
            state.name,
            classifier=classifier,
            original=original,
            notes=state.notes,
            partial=partial,
        )
    except ValueError as error:
        hints = (*state.notes, *_other_prefix(state.arrays, names))
        raise ValueError("\n  ".join([str(error), *hints])) from None


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


def _other_prefix(arrays: Mapping[str, np.ndarray], names: LayerNames) -> list[str]:
    """A sentence on a prefix behind which the architecture's names are; none if there is none."""
    fitting: dict[str, int] = {}
    for key in arrays:
        parts = key.split(".")
        for i in range(1, len(parts) - 1):
            if names.find(".".join(parts[i:-1])):
                prefix = ".".join(parts[:i]) + "."
                fitting[prefix] = fitting.get(prefix, 0) + 1
    known = sum(bool(names.find(key.rpartition(".")[0])) for key in arrays)
    if not fitting or max(fitting.values()) <= known:
        return []
    best = max(fitting, key=lambda prefix: fitting[prefix])
    return [
        f"{fitting[best]} of its {len(arrays)} names begin with {best!r}, and the rest of them "
        f"fits. Take that prefix off: {{k.removeprefix({best!r}): v for k, v in state.items() if "
        f"k.startswith({best!r})}}."
    ]


def _download(name: str) -> StateDict:
    architecture = name.split(".")[0]
    if architecture not in ARCHITECTURES:
        files = f"A file's name ends in {', '.join(SUFFIXES)}."
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
    note = f"License: {license or 'not stated'}."
    return StateDict(clean(net.state_dict(), f"timm:{name}"), f"timm:{name}", (note,))
