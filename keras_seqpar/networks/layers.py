"""The Keras layers that join branches: gains by node, scores of the categories."""

import keras
from keras import ops

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.build_config import BuildConfig
from keras_seqpar.networks.graph import saved_twice
from keras_seqpar.networks.thresholds import Threshold


@keras.saving.register_keras_serializable(package="keras_seqpar")
class CategoryScores(keras.layers.Layer):
    """Joins the logits of all categories and turns them into scores.

    The last layer of every network of this package. Its configuration carries the hierarchy and
    how the network was built, so that a reloaded network can still be cut, attended, costed and
    compared with its plain network.

    Input: a list of `(batch, 1)` logits in category order, or one `(batch, categories)`
    tensor. Output: `(batch, categories)` scores.

    Args:
        hierarchy: a `Hierarchy` or its configuration.
        classifier_activation: name of a Keras activation, or `None` for logits. Softmax
            over all branches' logits is equation 3 of arXiv 2308.05128. With a single
            category softmax is the constant 1; use `"sigmoid"` for a detector.
        threshold: the `Threshold` fitted on these logits, its configuration, or `None`. It
            changes no score: it travels with the network (see `NoneOfThese`).
        build: the `BuildConfig` of the network, its configuration, or `None` for networks that
            were saved before they stored it.
    """

    def __init__(
        self, hierarchy, classifier_activation="softmax", threshold=None, build=None, **kwargs
    ):
        super().__init__(**kwargs)
        if not isinstance(hierarchy, Hierarchy):
            hierarchy = Hierarchy.from_config(hierarchy)
        self.hierarchy = hierarchy
        self.classifier_activation = classifier_activation
        self.threshold = Threshold.of(threshold)
        self.build_config = BuildConfig.of(build)
        self._activation = keras.activations.get(classifier_activation)

    def call(self, logits):
        return self._activation(_joined(logits))

    def compute_output_shape(self, logits_shape):
        first = logits_shape[0] if isinstance(logits_shape[0], (list, tuple)) else logits_shape
        return (first[0], len(self.hierarchy.category_ids))

    def get_config(self):
        if shared := saved_twice(self):
            raise ValueError(
                f"The model contains several networks that share layers ({', '.join(shared)}), "
                "and Keras could not load a file of it. Give all of these networks but one "
                "weights of their own, with keras_seqpar.cutout(network, categories, copy=True)."
            )
        return {
            **super().get_config(),
            "hierarchy": self.hierarchy.get_config(),
            "classifier_activation": self.classifier_activation,
            "threshold": self.threshold and self.threshold.get_config(),
            "build": self.build_config and self.build_config.get_config(),
        }


@keras.saving.register_keras_serializable(package="keras_seqpar")
class NoneOfThese(keras.layers.Layer):
    """Says whether an image shows none of the categories: 1 where it does not, else 0.

    Input: logits as for `CategoryScores`. Output: `(batch, 1)` float32.

    Args:
        threshold: the `Threshold` fitted on these logits, or its configuration.
    """

    def __init__(self, threshold, **kwargs):
        super().__init__(**kwargs)
        threshold = Threshold.of(threshold)
        if threshold is None:
            raise TypeError("NoneOfThese needs a threshold, got None.")
        self.threshold = threshold

    def call(self, logits):
        logits, value = _joined(logits), self.threshold.value
        if self.threshold.score == "max_logit":
            none = ops.max(logits, axis=-1, keepdims=True) < value
        else:
            # T log sum exp(z / T) < value, in a form that cannot overflow and needs no logarithm:
            # the sum of exp((z - value) / T) is below 1. One logit at the value is enough for 1.
            above = ops.minimum((logits - value) / self.threshold.temperature, 0.0)
            none = ops.sum(ops.exp(above), axis=-1, keepdims=True) < 1.0
        return ops.cast(none, "float32")

    def compute_output_shape(self, logits_shape):
        first = logits_shape[0] if isinstance(logits_shape[0], (list, tuple)) else logits_shape
        return (first[0], 1)

    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold.get_config()}


@keras.saving.register_keras_serializable(package="keras_seqpar")
class GainSplit(keras.layers.Layer):
    """Splits a `(batch, nodes)` gains input into one `(batch, 1)` gain per node.

    Args:
        nodes: ids of the nodes that the columns belong to, in column order.
    """

    def __init__(self, nodes, **kwargs):
        super().__init__(**kwargs)
        self.nodes = list(nodes)

    def call(self, gains):
        return ops.split(gains, len(self.nodes), axis=-1)

    def compute_output_shape(self, gains_shape):
        return [(gains_shape[0], 1) for _ in self.nodes]

    def get_config(self):
        return {**super().get_config(), "nodes": self.nodes}


def _joined(logits):
    """Logits of all categories in one tensor."""
    return ops.concatenate(logits, axis=-1) if isinstance(logits, (list, tuple)) else logits


def make_scores(
    hierarchy: Hierarchy,
    activation: str | None,
    threshold: Threshold | None = None,
    *,
    build: BuildConfig | None,
) -> CategoryScores:
    """The last layer of a network."""
    return CategoryScores(
        hierarchy, activation, threshold, build, dtype="float32", name="categories"
    )
