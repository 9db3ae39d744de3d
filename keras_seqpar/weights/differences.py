"""Compares two networks before weights are copied: names, shapes and functions."""

import json
from collections.abc import Mapping, Sequence

import keras
from keras import layers as kl

from keras_seqpar.families.layers import StochasticDepth, TopDownGain
from keras_seqpar.networks.bank.layers import Bank
from keras_seqpar.networks.build_config import BuildConfig
from keras_seqpar.networks.graph import called_layers
from keras_seqpar.networks.layers import CategoryScores, GainSplit
from keras_seqpar.networks.quantized import quantization_mode

# Layers without weights in which networks of the same function may differ: layers that only
# training uses, gains, and the scores over the logits.
_FREE = (kl.InputLayer, kl.Dropout, StochasticDepth, TopDownGain, GainSplit, CategoryScores)
# Settings that do not change inference, or that the shapes of weights show.
_IGNORED = {
    *("name", "trainable", "dtype", "autocast", "seed", "momentum", "synchronized"),
    *("filters", "units", "depth_multiplier"),
}
_IGNORED_ENDS = ("_initializer", "_regularizer", "_constraint")
PREPROCESSING = "preprocessing"


def refuse_difference(
    have: Mapping,
    want: Mapping,
    title: str,
    *,
    builds: Sequence[str] = (),
    functions: Sequence[str] = (),
) -> None:
    """Compares two sets of named arrays or variables.

    Args:
        have: the source's.
        want: the target's.
        title: first line of the message.
        builds: lines on settings that the networks were built with, from `build_differences`.
        functions: lines on layers that compute something else, from `function_differences`.

    Raises:
        ValueError: they differ in names or shapes, or there are lines on other differences; the
            message lists all.
    """
    missing = [key for key in want if key not in have]
    extra = [key for key in have if key not in want]
    shapes = [
        f"{key}: {shape_of(have[key])} given, {shape_of(want[key])} wanted"
        for key in want
        if key in have and shape_of(have[key]) != shape_of(want[key])
    ]
    if missing or extra or shapes or builds or functions:
        raise ValueError(
            title
            + _listing("other settings in building", builds)
            + _listing("missing in the source", missing)
            + _listing("without a place in the target", extra)
            + _listing("of another shape", shapes)
            + _listing("layers that compute something else", functions)
        )


def build_differences(source: keras.Model, target: keras.Model) -> list[str]:
    """Compares how two networks were built, where both store it.

    Family, stem and the normalization of pixels are compared. Another width or plan shows in the
    shapes and names of weights.

    Returns:
        Lines such as "family: resnet50_v1 in the source, resnet50 in the target".
    """
    found = [getattr(x.layers[-1], "build_config", None) for x in (source, target) if x.layers]
    have, want = (x if isinstance(x, BuildConfig) else None for x in found)
    if have is None or want is None:
        return []
    return [
        f"{name}: {getattr(have, name)} in the source, {getattr(want, name)} in the target"
        for name in ("family", "stem", "mean", "std")
        if getattr(have, name) != getattr(want, name)
        and (name not in ("mean", "std") or None not in (getattr(have, name), getattr(want, name)))
    ]


def function_differences(
    source: Mapping[str, kl.Layer], target: Mapping[str, kl.Layer]
) -> list[str]:
    """Compares what layers of the same name compute, beside their weights.

    A strided convolution, another epsilon or another kind of pooling changes what a network
    computes without changing the name or the shape of any weight.

    Args:
        source: name -> layer, from `function_layers`.
        target: name -> layer.

    Returns:
        One line per layer that differs, or that only one of the two has.
    """
    lines = []
    for name in target:
        if name in source and (found := layer_differences(source[name], target[name])):
            lines.append(f"{name}: {', '.join(found)}")
    only = {
        "source": [layer for name, layer in source.items() if name not in target],
        "target": [layer for name, layer in target.items() if name not in source],
    }
    if any(layer.weights for layers in only.values() for layer in layers):
        return lines  # whole blocks are missing: the names of their weights say so
    pairs = list(zip(*only.values(), strict=False))
    if all(len(x) == len(pairs) for x in only.values()):
        if not any(layer_differences(*pair) for pair in pairs):
            return lines  # Keras counts names up from build to build: re_lu, re_lu_1
    for owner, layers in only.items():
        # The same normalization may be inside the network or outside.
        odd = [layer for layer in layers if layer.name != PREPROCESSING]
        lines += [f"{x.name} ({type(x).__name__}): only in the {owner}" for x in odd]
    return lines


def layer_differences(source: kl.Layer, target: kl.Layer) -> list[str]:
    """What one layer computes differently from another, beside weights and their shapes.

    Returns:
        Texts such as "strides (2, 2) in the source, (1, 1) in the target".
    """
    if type(source).__name__ != type(target).__name__:
        return [f"a {type(source).__name__} in the source, a {type(target).__name__} in the target"]
    if isinstance(source, Bank) and isinstance(target, Bank):
        return _bank_differences(source, target)
    have, want = _settings(source), _settings(target)
    if have["quantization"] != want["quantization"]:  # the rest follows from it
        want = {**have, "quantization": want["quantization"]}
    return [
        f"{key} {have.get(key)} in the source, {want.get(key)} in the target"
        for key in {**want, **have}
        if _comparable(have.get(key)) != _comparable(want.get(key))
    ]


def _bank_differences(source: Bank, target: Bank) -> list[str]:
    """What two banks compute differently; gains may differ, as those of branches may."""

    def some(ids: Sequence) -> str:
        return ", ".join(map(str, ids[:5])) + (", ..." if len(ids) > 5 else "")

    lines = function_differences(function_layers(source.template), function_layers(target.template))
    if source.nodes != target.nodes or source.parents != target.parents:
        found = [some(x.nodes) + (f" below {some(x.parents)}" if x.parents else "")
                 for x in (source, target)]  # fmt: skip
        lines.insert(0, f"branches of {found[0]} in the source, of {found[1]} in the target")
    return lines


def settings_text(layer: kl.Layer) -> str:
    """The settings of a layer that `layer_differences` compares, as text for a hash."""
    return json.dumps({key: _comparable(x) for key, x in sorted(_settings(layer).items())})


def function_layers(model: keras.Model) -> dict[str, kl.Layer]:
    """The layers that make up a model's function: name -> layer, nested models included."""
    return {x.name: x for x in called_layers(model) if not isinstance(x, _FREE)}


def shape_of(value) -> tuple[int, ...]:
    """The shape of an array or variable."""
    return tuple(value.shape)


def _settings(layer: kl.Layer) -> dict:
    ignored = _IGNORED | ({"kernel_size"} if layer.weights else set())
    settings = {
        key: value
        for key, value in layer.get_config().items()
        if key not in ignored and not key.endswith(_IGNORED_ENDS)
    }
    # Of two weights with the same name and shape, one may hold integers.
    return {"quantization": quantization_mode(layer), **settings}


def _comparable(value) -> str:
    """A setting as text that is the same for tuples, lists and arrays."""
    return json.dumps(value, default=lambda x: x.tolist() if hasattr(x, "tolist") else str(x))


def _listing(title: str, names: Sequence[str], most: int = 8) -> str:
    if not names:
        return ""
    rest = [f"... and {len(names) - most} more"] if len(names) > most else []
    return f"\n  {len(names)} {title}:" + "".join(f"\n    {n}" for n in [*names[:most], *rest])
