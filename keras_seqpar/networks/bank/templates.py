"""Branches under other names, and what makes two branches equal."""

import json
from collections.abc import Callable

import keras

from keras_seqpar.families.layers import TopDownGain
from keras_seqpar.networks.bank.layers import TEMPLATE, Bank

# Settings of layers in which equal branches may differ.
_OWN = ("gain", "seed", "build_config", "shared_object_id")


def clone_branch(
    twin: keras.Model, old: str, new: str, change: Callable[[dict], None]
) -> keras.Model:
    """A branch like another, its layers named after another id and made from changed configs."""

    def renamed(name: str) -> str:
        return new + name.removeprefix(old)

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        config["name"] = renamed(layer.name)
        change(config)
        return type(layer).from_config(config)

    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=renamed(x.name)) for x in twin.inputs]
    given = inputs if len(inputs) > 1 else inputs[0]
    made = keras.models.clone_model(twin, input_tensors=given, clone_function=clone)
    return keras.Model(given, made.outputs[0], name=f"branch_{new}")


def template_of(branch: keras.Model, id_: str) -> keras.Model:
    """A template that computes what the branch of the node `id_` does, with a gain of 1."""

    def neutral(config: dict) -> None:
        if "gain" in config:
            config["gain"] = 1.0

    return clone_branch(branch, id_, TEMPLATE, neutral)


def kind_of(branch: keras.Model, id_: str) -> str:
    """Text that is the same for branches that differ in names, weights, gains and seeds only."""

    def anonymous(value):
        if isinstance(value, dict):
            return {k: anonymous(v) for k, v in value.items() if k not in _OWN}
        if isinstance(value, (list, tuple)):
            return [anonymous(v) for v in value]
        named = isinstance(value, str) and value.startswith((f"{id_}_", f"branch_{id_}"))
        return value.removeprefix("branch_").removeprefix(id_) if named else value

    return json.dumps(anonymous(branch.get_config()), sort_keys=True, default=str)


def gain_of(branch: keras.Model) -> float:
    """The constant gain of a branch."""
    return next((x.gain for x in branch.layers if isinstance(x, TopDownGain)), 1.0)


def branch_of(bank: Bank, node: str) -> keras.Model:
    """A branch of a bank as a model with layers of its own, weights copied."""
    place = bank.nodes.index(node)

    def with_gain(config: dict) -> None:
        if "gain" in config:
            config["gain"] = bank.gains[place]
        config["trainable"] = config.get("trainable", True) and bank.trainable

    branch = clone_branch(bank.template, TEMPLATE, node, with_gain)
    weights = [weight for layer in branch.layers for weight in layer.weights]
    for mine, theirs in zip(weights, bank.stacked, strict=True):
        mine.assign(theirs[place])
    return branch
