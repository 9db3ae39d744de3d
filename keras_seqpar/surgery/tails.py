"""The part of a plain network behind a trunk: its blocks, and what its channels matter."""

import re
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
from keras import layers

from keras_seqpar.networks.graph import behind, build_model, one_at_a_time, replay
from keras_seqpar.networks.parts import Parts, with_activation
from keras_seqpar.surgery.gradients import gradients_of

_NORMS = (layers.BatchNormalization, layers.LayerNormalization)


class Tail:
    """What of a plain network stands behind the end of a trunk.

    Args:
        plain: the network.
        parts: its parts.
        end: name of the last layer of the trunk.
        features: of some images, behind the trunk.

    Attributes:
        layers: name -> layer, in the order of computation.
        outputs: 1x1 convolution -> what it gives for these images.
        moments: normalization -> mean and deviation of what it gets, per channel.
        logits: a network from the trunk's features to the logits; for a softmax, which does not
            notice it, less their mean.
    """

    def __init__(self, plain: keras.Model, parts: Parts, end: str, features: np.ndarray):
        self.features = features
        self.network = with_activation(plain, None)
        self._is_softmax = parts.classifier_activation == "softmax"
        self.trunk = parts.trunk
        self.end = self.trunk.get_layer(end)
        self._body = behind(self.trunk, self.end)
        self.layers = {x.name: x for x in self._body.layers if not _is_input(x)}
        self.outputs: dict[str, np.ndarray] = {}
        self.moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        replay(self._body, keras.ops.convert_to_tensor(features), self._note)
        self.logits, _ = self._build([])
        gated = [x.name for x in self.layers.values() if isinstance(x, (*_NORMS, layers.Add))]
        self._gated, self._names = self._build(gated)
        self._gradients = gradients_of(self._gated)

    def _note(self, layer, *args, **kwargs):
        y = layer(*args, **kwargs)
        if is_1x1(layer):
            self.outputs[layer.name] = keras.ops.convert_to_numpy(y)
        elif isinstance(layer, layers.BatchNormalization):
            x = keras.ops.convert_to_numpy(args[0])
            self.moments[layer.name] = moments(x)
        return y

    @one_at_a_time
    def _build(self, gated: Sequence[str]) -> tuple[keras.Model, list[str]]:
        """A network from features, and one factor per channel behind some layers, to logits."""
        output = self.end.output
        features = keras.Input(output.shape[1:], dtype=output.dtype, name="features")
        factors: dict[str, keras.KerasTensor] = {}

        def inside(layer, *args, **kwargs):
            y = layer(*args, **kwargs)
            if layer.name not in gated:
                return y
            factors[layer.name] = keras.Input((1, 1, y.shape[-1]), dtype=y.dtype)
            return y * factors[layer.name]

        body = replay(self._body, features, inside)

        def outside(layer, *args, **kwargs):
            return body if layer is self.trunk else layer(*args, **kwargs)

        image = keras.Input(self.network.input_shape[1:], dtype=self.network.input.dtype)
        logits = replay(self.network, image, outside)
        if self._is_softmax:
            logits = logits - keras.ops.mean(logits, axis=1, keepdims=True)
        inputs = [features, *factors.values()]
        return build_model(inputs if gated else features, logits), list(factors)

    def importance(self, column: int, batch_size: int) -> dict[str, np.ndarray]:
        """How much each channel behind each layer matters for a category's logit."""
        total = {name: np.zeros(self.layers[name].output.shape[-1]) for name in self._names}
        for first in range(0, len(self.features), batch_size):
            batch = self.features[first : first + batch_size]
            ones = [np.ones((len(batch), 1, 1, len(x)), batch.dtype) for x in total.values()]
            for name, found in zip(self._names, self._gradients(batch, ones, column), strict=True):
                total[name] += np.abs(np.asarray(found)).sum(axis=(0, 1, 2))
        return total

    def twins(
        self, branch: keras.Model, id_: str, done: int
    ) -> tuple[dict[str, keras.layers.Layer], int]:
        """Layer of a branch -> layer here; and how many blocks that comes to.

        Args:
            branch: the branch.
            id_: id of its node.
            done: how many blocks are parts of the branches above.
        """
        blocks = list(_blocks(self.layers.values()))
        twins: dict[str, keras.layers.Layer] = {}
        for name, parts in _blocks(branch.layers, f"{id_}_"):
            parts = {key: x for key, x in parts.items() if x.weights or isinstance(x, layers.Add)}
            while done < len(blocks) and not _fits(parts, blocks[done][1]):
                done += 1
            if done == len(blocks):
                passed = ", ".join(name for name, _ in blocks) or "none"
                raise ValueError(
                    f"The plain network has no block that {name!r} of the plan could be a part of: "
                    "it needs the same kernels and strides, and as many channels or more. Blocks "
                    f"behind the trunk: {passed}. Take a plan whose branches are made of such "
                    'blocks in their order, for example "late_sp" of efficientnet_lite0.'
                )
            twins |= {x.name: blocks[done][1][key] for key, x in parts.items()}
            done += 1
        return twins, done


def _is_input(layer) -> bool:
    return isinstance(layer, layers.InputLayer)


def is_1x1(layer) -> bool:
    """Whether a layer is a convolution of single positions."""
    return isinstance(layer, layers.Conv2D) and layer.kernel_size == (1, 1)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation per channel."""
    axes = tuple(range(x.ndim - 1))
    return x.mean(axes), x.std(axes)


def _blocks(found, prefix: str = "") -> Iterator[tuple[str, dict[str, keras.layers.Layer]]]:
    """Name -> layers, by the rest of their names, of all blocks in turn."""
    blocks: dict[str, dict[str, keras.layers.Layer]] = {}
    for layer in found:
        if match := re.fullmatch(rf"{re.escape(prefix)}(stage\d+_block\d+)_(.+)", layer.name):
            blocks.setdefault(match[1], {})[match[2]] = layer
    yield from blocks.items()


def _fits(parts: Mapping, block: Mapping) -> bool:
    """Whether layers can be a part of a block."""
    weighted = [{key for key, x in each.items() if x.weights} for each in (parts, block)]
    return weighted[0] == weighted[1] and all(
        key in block
        and type(block[key]) is type(layer)
        and block[key].output.shape[-1] >= layer.output.shape[-1]
        and all(
            getattr(block[key], name, None) == getattr(layer, name, None)
            for name in ("kernel_size", "strides")
        )
        for key, layer in parts.items()
    )
