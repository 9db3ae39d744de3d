"""How networks are put together: sub-models from plans, and a network from sub-models."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import keras

from keras_seqpar.families.base import Family, Initializers, Plan, Stage
from keras_seqpar.hierarchy.tree import Hierarchy, Node
from keras_seqpar.networks.bank.joining import assemble_banks, grouped
from keras_seqpar.networks.bank.layers import TEMPLATE, Bank
from keras_seqpar.networks.build_config import BuildConfig
from keras_seqpar.networks.graph import build_model, input_like, one_at_a_time
from keras_seqpar.networks.layers import GainSplit, make_scores
from keras_seqpar.networks.plans import get_family, get_plan
from keras_seqpar.networks.thresholds import Threshold
from keras_seqpar.utils.names import unknown_name


@one_at_a_time
def assemble(
    trunk: keras.Model,
    branches: Mapping[str, keras.Model],
    hierarchy: Hierarchy,
    classifier_activation: str | None,
    *,
    threshold: Threshold | None = None,
    build: BuildConfig | None,
    name: str,
) -> keras.Model:
    """Joins a trunk and branches to a network.

    Args:
        trunk: the trunk.
        branches: node id -> branch. Where the branches take two inputs, the second is a
            gain, and the network gets a second input `gains` of shape `(batch, nodes)`
            with the nodes in `hierarchy.nodes` order.
        hierarchy: says which branch feeds which.
        classifier_activation: what to apply to the joined logits.
        threshold: where "none of these" begins, if that is known.
        build: how the network was built, if that is known.
        name: name of the model.

    Returns:
        The network; it shares the weights of the parts.
    """
    image = input_like(trunk)
    ids = [node.id for node in hierarchy.nodes]
    inputs = [image]
    gain_of = {}
    if any(len(branches[id_].inputs) == 2 for id_ in ids):
        inputs.append(keras.Input((len(ids),), name="gains"))
        gain_of = dict(zip(ids, GainSplit(ids, name="gains_by_node")(inputs[1]), strict=True))
    logits = {}

    def run(node: Node, features) -> None:
        branch = branches[node.id]
        y = branch([features, gain_of[node.id]] if len(branch.inputs) == 2 else features)
        if node.is_category:
            logits[node.id] = y
        for child in node.children:
            run(child, y)

    features = trunk(image)
    for root in hierarchy.roots:
        run(root, features)
    scores = make_scores(hierarchy, classifier_activation, threshold, build=build)
    outputs = scores([logits[id_] for id_ in hierarchy.category_ids])
    return build_model(inputs if gain_of else image, outputs, name=name)


class Maker:
    """Checks the arguments that all builders share, and makes sub-models from them.

    Args:
        build: how the network is built; the normalization is added here.
        input_shape: `(height, width, channels)`.
        activation: of the layer `categories`.
        name: of the model.
        seed: of the initial weights.
        trunk: a trunk of one's own, from `make_trunk`; `None` for one of the family.
    """

    def __init__(
        self, build: BuildConfig, input_shape, activation, name, seed,
        trunk: keras.Model | None = None,
    ):  # fmt: skip
        self.family = get_family(build.family)
        self.activation = activation
        keras.activations.get(activation)  # an unknown name fails here, not after the building
        self.name = name
        _check_number("width", build.width, "above 0", lambda x: 0 < x < math.inf)
        _check_number(
            "drop_path_rate", build.drop_path_rate, "from 0 to below 1", lambda x: 0 <= x < 1
        )
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise TypeError(f"seed must be an integer or None, got {seed!r}.")
        self.init = Initializers(seed)
        if build.stem not in self.family.stems:
            raise ValueError(unknown_name("stem", build.stem, self.family.stems))
        _check_shape(input_shape)
        self.own_trunk = trunk
        mean, std = (
            normalization(self.family, input_shape[-1], build.include_preprocessing)
            if trunk is None
            else (None, None)
        )
        self.config = dataclasses.replace(build, mean=mean, std=std)
        self.input_shape = input_shape
        self.blocks = 1  # on the longest way through the network, known once it is planned

    def seqpar(self, hierarchy: Hierarchy, *, fused: bool = False) -> keras.Model:
        """Trunk and branches; with `fused` trunk and banks, without ever making the branches."""
        points = self.config.split_points or hierarchy.depth
        plan = get_plan(self.config.plan, self.family, split_points=points)
        if len(plan.levels) < hierarchy.depth:
            raise ValueError(
                f"The hierarchy has {hierarchy.depth} split-points, but the plan has "
                f"{len(plan.levels)} level(s). Give a plan with at least {hierarchy.depth} levels, "
                "or leave split_points out."
            )
        trunk_stages = [] if self.own_trunk else self._trunk_stages(plan)
        self._check(trunk_stages, plan.levels)
        trunk = self.own_trunk or self._trunk(trunk_stages)
        join = self._banks if fused else self._branches
        return join(hierarchy, plan, trunk, trunk_stages)

    def _branches(self, hierarchy: Hierarchy, plan: Plan, trunk, above: list[Stage]) -> keras.Model:
        branches: dict[str, keras.Model] = {}

        def add(node: Node, features, level: int) -> None:
            branches[node.id] = self._branch(node.id, node, plan, features, level, above)
            for child in node.children:
                add(child, branches[node.id].output, level + 1)

        for root in hierarchy.roots:
            add(root, trunk.output, 0)
        return assemble(
            trunk, branches, hierarchy, self.activation, build=self.config, name=self.name
        )

    def _banks(self, hierarchy: Hierarchy, plan: Plan, trunk, above: list[Stage]) -> keras.Model:
        kinds = {node.id: str(node.is_category) for node in hierarchy.nodes}
        banks: list[Bank] = []
        for ids, parents in grouped(hierarchy, kinds):
            node = hierarchy.node(ids[0])
            path = hierarchy.path(node)
            feeding = [bank for bank in banks if path[-2:-1] and path[-2].id in bank.nodes]
            features = feeding[0].template.output if feeding else trunk.output
            template = self._branch(TEMPLATE, node, plan, features, len(path) - 1, above)
            name = f"bank_{len(banks) + 1}"
            banks.append(Bank(template, ids, parents, init=self.init, name=name))
        return assemble_banks(
            trunk, banks, hierarchy, self.activation, build=self.config, name=self.name
        )

    def _branch(
        self, id_: str, node: Node, plan: Plan, features, level: int, above: list[Stage]
    ) -> keras.Model:
        """A branch whose layers begin with `id_`, for `node` at a level."""
        before = [*above, *self._scaled([x for stages in plan.levels[:level] for x in stages])]
        levels = plan.levels[level:] if node.is_category else plan.levels[level : level + 1]
        stages = self._scaled([stage for stages in levels for stage in stages])
        inputs = keras.Input(features.shape[1:], name=f"{id_}_input")
        x = self._stages(inputs, stages, f"{id_}_", before, gain=f"{id_}_gain")
        if node.is_category:
            x = self._logits(self._head(x, f"{id_}_"), 1, f"{id_}_logit")
        return keras.Model(inputs, x, name=f"branch_{id_}")

    def one_branch(self, hierarchy: Hierarchy) -> keras.Model:
        """The control: one branch for all categories, about as many parameters as all have."""
        plan = get_plan(self.config.plan, self.family, split_points=1)
        times = math.sqrt(len(hierarchy.categories))
        stages = [stage.scaled(self.config.width * times) for stage in plan.levels[0]]
        trunk_stages = [] if self.own_trunk else self._trunk_stages(plan)
        self._check(trunk_stages, plan.levels)
        trunk = self.own_trunk or self._trunk(trunk_stages)
        inputs = keras.Input(trunk.output.shape[1:], name="branch_input")
        x = self._stages(inputs, stages, "branch_", trunk_stages)
        branch = keras.Model(inputs, self._head(x, "branch_"), name="branch")  # no node's
        image = input_like(trunk)
        return self._classifier(image, branch(trunk(image)), hierarchy)

    def plain(self, hierarchy: Hierarchy) -> keras.Model:
        """The conventional network."""
        stages = self._scaled(self.family.stages)
        self._check(stages, ())
        trunk = self._trunk(stages)
        image = input_like(trunk)
        return self._classifier(image, self._head(trunk(image), ""), hierarchy)

    def _classifier(self, image, features, hierarchy: Hierarchy) -> keras.Model:
        logits = self._logits(features, len(hierarchy.categories), "logits")
        scores = make_scores(hierarchy, self.activation, build=self.config)
        return keras.Model(image, scores(logits), name=self.name)

    def _trunk(self, stages: Sequence[Stage]) -> keras.Model:
        inputs = keras.Input(tuple(self.input_shape), name="trunk_input")
        x = inputs
        mean, std = self.config.mean, self.config.std
        if self.config.include_preprocessing and mean and std:
            x = _preprocessing(mean, std)(x)
        x = self.family.stem(x, self.config.stem, self.config.width, self.init)
        return keras.Model(inputs, self._stages(x, stages, "", []), name="trunk")

    def _stages(self, x, stages, prefix, above, gain=None):
        for i, stage in enumerate(stages):
            done = sum(s.repeats for s in (*above, *stages[:i]))
            x = self.family.stage(
                x,
                stage,
                f"{prefix}stage{len(above) + i + 1}",
                self.init,
                drop_path_rates=[self._drop_rate(done + j) for j in range(stage.repeats)],
                gain=gain if i == 0 else None,
            )
        return x

    def _head(self, x, prefix: str):
        return self.family.head(x, prefix, self.config.width, self.init)

    def _drop_rate(self, block: int) -> float:
        return self.config.drop_path_rate * block / max(1, self.blocks - 1)

    def _logits(self, x, count: int, name: str):
        return keras.layers.Dense(count, kernel_initializer=self.init.truncated(name), name=name)(x)

    def _scaled(self, stages: Sequence[Stage]) -> list[Stage]:
        return [stage.scaled(self.config.width) for stage in stages]

    def _trunk_stages(self, plan: Plan) -> list[Stage]:
        stages = [
            stage if repeats is None else dataclasses.replace(stage, repeats=repeats)
            for stage, repeats in zip(self.family.stages, plan.trunk, strict=False)
        ]
        return self._scaled(stages)

    def _check(self, trunk: Sequence[Stage], levels: Sequence[Sequence[Stage]]) -> None:
        """Refuses an input that is too small, before anything is built."""
        stages = [*trunk, *(stage for level in levels for stage in level)]
        self.blocks = sum(stage.repeats for stage in stages)
        shape, stem = self.input_shape, self.config.stem
        if self.own_trunk is not None:  # it was built for this size
            return
        least = self.family.stems[stem] * math.prod(stage.stride for stage in stages)
        if all(size is None or (isinstance(size, int) and size >= least) for size in shape[:2]):
            return
        smaller = stem == "standard" and "small" in self.family.stems
        hint = ' or take stem="small"' if smaller else ""
        raise ValueError(
            f"input_shape {tuple(shape)} is too small: this network reduces the resolution "
            f"{least} times, so height and width must be whole numbers of at least {least}. "
            f"Take larger images{hint}."
        )


def _check_shape(shape) -> None:
    """Refuses what is no shape of an image."""
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(f"input_shape must be (height, width, channels), got {shape!r}.")
    if not isinstance(shape[2], int) or shape[2] < 1:
        raise ValueError(f"input_shape needs a number of channels of 1 or more, got {shape!r}.")


def normalization(
    family: type[Family] | Family, channels: int, included: bool
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and deviation in pixels that a network's images are normalized with.

    The family's for 3 channels. Others go to -1..1 inside the network; outside the caller decides.
    """
    if channels == 3:
        return family.mean, family.std
    middle = (127.5,) * channels if included else None
    return middle, middle


def _preprocessing(mean: Sequence[float], std: Sequence[float]) -> keras.layers.Layer:
    """Pixels of 0 to 255 to normalized input."""
    offset = [-m / s for m, s in zip(mean, std, strict=True)]
    if len({*zip(mean, std, strict=True)}) == 1:  # all channels alike
        return keras.layers.Rescaling(1 / std[0], offset[0], name="preprocessing")
    # Of shape (1, 1, 3): Keras would turn a vector where image_data_format is channels_first.
    return keras.layers.Rescaling([[[1 / s for s in std]]], offset, name="preprocessing")


def _check_number(name: str, value, allowed: str, fits: Callable[[float], bool]) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    if not fits(value):
        raise ValueError(f"{name} must be a finite number {allowed}, got {value}.")
