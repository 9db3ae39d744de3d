"""The Keras layers of a network whose equal branches are computed together."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_seqpar.families import layers as own  # may be incomplete while this is imported
from keras_seqpar.networks.bank.rules import Run, check_template
from keras_seqpar.networks.graph import replay

if TYPE_CHECKING:
    from keras_seqpar.families.base import Initializers

_NORMS = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)
TEMPLATE = "branch"  # stands in the layer names of a template where a branch has its node's id


class _Hidden:
    """Holds a template where Keras does not look for layers: its weights are no network's."""

    def __init__(self, template: keras.Model):
        self.template = template


@keras.saving.register_keras_serializable(package="keras_seqpar")
class Bank(keras.layers.Layer):
    """The equal branches of one level, computed together.

    It reads the graph of one branch, the template, and computes each of its layers for all
    branches at once. Every weight has a leading axis of branches.

    Call arguments:
        features: of the trunk, `(batch, height, width, channels)`; or, with `parents`, of another
            bank, `(branches there, batch, height, width, channels)`.
        gains: optionally one gain per image and branch, `(batch, branches)`; they multiply the
            constant ones.
        rows: optionally which branches to compute, `(n,)` integers.
        parents: with `rows`, the branch of the other bank that feeds each, `(n,)` integers. Where
            the trunk feeds the bank, the image that each computes: branches then see one image
            each, not all.

    Returns `(branches, batch, height, width, channels)`; of categories their logits,
    `(batch, branches)`.

    Args:
        template: a branch whose layer names begin with `TEMPLATE`, or its configuration.
        nodes: ids of the nodes that the branches belong to.
        parents: for each branch the branch of another bank that feeds it; `None` where the trunk
            feeds all.
        gains: for each branch its constant gain; by default 1.
        init: makes initial weights; by default all branches start with the template's.
        stacked: weights of another bank to share.
    """

    def __init__(
        self,
        template,
        nodes: Sequence[str],
        parents: Sequence[int] | None = None,
        gains: Sequence[float] | None = None,
        init: "Initializers | None" = None,
        stacked: Sequence[keras.Variable] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(template, keras.Model):
            template = keras.saving.deserialize_keras_object(template)
        check_template(template)
        self._hidden = _Hidden(template)
        self.nodes = tuple(nodes)
        self.parents = None if parents is None else tuple(parents)
        self.gains = tuple(map(own.check_gain, gains or [1.0] * len(self.nodes)))
        if keras.backend.backend() == "tensorflow":  # see rules.SHIFTED_DEPTHWISE
            kinds = keras.layers.DepthwiseConv2D
            self.supports_jit = not any(isinstance(x, kinds) for x in template.layers)
        self.generator = None
        if any(isinstance(layer, own.StochasticDepth) for layer in template.layers):
            self.generator = keras.random.SeedGenerator()
        if stacked is None:
            stacked = [self._new(layer, weight, init) for layer, weight in self.template_weights]
        self.stacked = list(stacked)
        self.built = True

    @property
    def template(self) -> keras.Model:
        """One branch; its weights mean nothing."""
        return self._hidden.template

    @property
    def template_weights(self) -> list[tuple[keras.layers.Layer, keras.Variable]]:
        """The layers of the template with each of their weights, in the order of `stacked`."""
        return [(layer, weight) for layer in self.template.layers for weight in layer.weights]

    @property
    def of_categories(self) -> bool:
        """Whether the branches end in logits."""
        return len(self.template.output.shape) == 2

    def _new(self, layer, weight, init: "Initializers | None") -> keras.Variable:
        """The weight of all branches for one of the template."""
        kind = f"{'depthwise' if hasattr(layer, 'depthwise_initializer') else 'kernel'}_initializer"
        make = getattr(layer, kind, None) if weight.name == "kernel" and init else None

        def initial(shape, dtype=None):
            if make is None:
                return ops.stack([weight.value] * shape[0])
            assert init is not None
            config, end = make.get_config(), layer.name.removeprefix(TEMPLATE)
            if init.seed is None:  # one draw for all; a scale is divided by the branches there
                more = {"scale": config["scale"] * len(self.nodes)} if "scale" in config else {}
                return type(make).from_config({**config, **more, "seed": None})(shape, dtype)
            seeds = [init.seed_of(f"{id_}{end}") for id_ in self.nodes]
            made = [type(make).from_config({**config, "seed": seed}) for seed in seeds]
            return ops.stack([one(shape[1:], dtype) for one in made])

        return self.add_weight(
            name=f"{layer.name}_{weight.name}",
            shape=(len(self.nodes), *weight.shape),
            initializer=initial,
            dtype=weight.dtype,
            trainable=weight.trainable,
            autocast=not isinstance(layer, _NORMS),
        )

    def call(self, features, gains=None, rows=None, parents=None, training=None):
        stacked = [variable.value for variable in self.stacked]  # in the dtype of computation
        if rows is not None:
            stacked = [ops.take(value, rows, axis=0) for value in stacked]
        branches = len(self.nodes) if rows is None else rows.shape[0]
        weights: dict[str, dict] = {}
        variables = {}
        for (layer, weight), value, variable in zip(
            self.template_weights, stacked, self.stacked, strict=True
        ):
            weights.setdefault(layer.name, {})[weight.name] = value
            variables[layer.name, weight.name] = variable
        if self.parents is None:
            features = ops.expand_dims(features, 0 if parents is None else 1)
        if parents is not None:
            features = ops.take(features, parents, axis=0)
        elif self.parents is not None and self.parents != (*range(features.shape[0]),):
            features = ops.take(features, ops.convert_to_tensor(self.parents, "int32"), axis=0)
        run = Run(
            branches,
            weights,
            self._factors(gains, rows),
            bool(training) and self.trainable,
            self.generator,
            lambda layer, weight, value: variables[layer, weight].assign(value),
        )
        y = replay(self.template, features, run)
        return ops.transpose(y[..., 0]) if self.of_categories else y

    def _factors(self, gains, rows):
        """Constant gains times those of the images, `(branches, batch or 1)`."""
        factors = None
        if any(gain != 1 for gain in self.gains):
            factors = ops.expand_dims(ops.convert_to_tensor(self.gains, "float32"), 1)
            factors = factors if rows is None else ops.take(factors, rows, axis=0)
        if gains is None:
            return factors
        gains = ops.transpose(gains)
        return gains if factors is None else gains * ops.cast(factors, gains.dtype)

    def compute_output_shape(
        self, features_shape, gains_shape=None, rows_shape=None, parents_shape=None
    ):
        branches = len(self.nodes) if rows_shape is None else rows_shape[0]
        batch = features_shape[0 if self.parents is None else 1]
        batch = 1 if self.parents is None and parents_shape is not None else batch
        shape = self.template.compute_output_shape((None, *features_shape[-3:]))
        return (batch, branches) if self.of_categories else (branches, batch, *shape[1:])

    def with_gains(self, wanted: Mapping[str, float]) -> "Bank":
        """The same bank with other constant gains of some nodes; it shares all weights."""
        gains = [wanted.get(id_, old) for id_, old in zip(self.nodes, self.gains, strict=True)]
        return self._like(self.nodes, self.parents, gains, self.stacked)

    def sliced(self, rows: Sequence[int], parents: Sequence[int] | None) -> "Bank":
        """A bank of some of the branches, with copies of their weights."""
        nodes, gains = ([values[i] for i in rows] for values in (self.nodes, self.gains))
        new = self._like(nodes, parents, gains)
        for mine, theirs in zip(new.stacked, self.stacked, strict=True):
            mine.assign(ops.take(theirs, ops.convert_to_tensor([*rows], "int32"), axis=0))
        return new

    def grown(self, branch: keras.Model, node: str, parent: int | None) -> "Bank":
        """A bank with one branch more; it copies all weights.

        Args:
            branch: the new branch.
            node: id of its node.
            parent: the branch of the other bank that feeds it; `None` where the trunk does.
        """
        parents = None if self.parents is None else (*self.parents, parent)
        new = self._like((*self.nodes, node), parents, (*self.gains, 1.0))
        weights = [weight for layer in branch.layers for weight in layer.weights]
        for mine, theirs, more in zip(new.stacked, self.stacked, weights, strict=True):
            mine.assign(ops.concatenate([theirs, ops.expand_dims(more, 0)]))
        return new

    def _like(self, nodes, parents, gains, stacked=None) -> "Bank":
        return Bank(
            self.template,
            nodes,
            parents,
            gains,
            stacked=stacked,
            name=self.name,
            dtype=self.dtype_policy,
            trainable=self.trainable,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "template": keras.saving.serialize_keras_object(self.template),
            "nodes": list(self.nodes),
            "parents": self.parents and list(self.parents),
            "gains": list(self.gains),
        }

    def save_own_variables(self, store):
        for variable in self.stacked:
            store[variable.name] = variable

    def load_own_variables(self, store):
        for variable in self.stacked:
            variable.assign(store[variable.name])


@keras.saving.register_keras_serializable(package="keras_seqpar")
class Columns(keras.layers.Layer):
    """Puts columns into another order, or keeps some of them.

    Input: a `(batch, columns)` tensor, or a list of them that are joined first.

    Args:
        order: the columns of the input that are wanted, in order.
    """

    def __init__(self, order: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        self.order = tuple(order)

    def call(self, x):
        x = ops.concatenate(x, axis=-1) if isinstance(x, (list, tuple)) else x
        return ops.take(x, ops.convert_to_tensor(self.order, "int32"), axis=-1)

    def compute_output_shape(self, shape):
        return ((shape[0] if isinstance(shape, list) else shape)[0], len(self.order))

    def get_config(self):
        return {**super().get_config(), "order": list(self.order)}
