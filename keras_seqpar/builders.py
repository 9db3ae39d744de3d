"""build_phl and build_plain: family x variant x hierarchy -> keras.Model."""

import math
from collections.abc import Mapping, Sequence

import keras

from keras_seqpar.hierarchy import Hierarchy, Node, unknown_name
from keras_seqpar.layers import CategoryScores, GainSplit
from keras_seqpar.resnet import STEMS
from keras_seqpar.stages import Initializers, Stage
from keras_seqpar.variants import Plan, get_family, get_plan

# Statistics of ImageNet in 0..1 (torchvision's and timm's defaults).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def build_phl(
    categories,
    *,
    family: str = "resnet50",
    variant: str | Plan = "late_sp",
    input_shape: tuple = (224, 224, 3),
    width: float = 1.0,
    stem: str = "standard",
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = False,
    name: str | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Builds a PHL network: a trunk, then one parallel branch per category.

    Kelm et al., arXiv 2308.05128, section 3.1. The result is a plain functional model:
    sub-models `trunk` and `branch_<node>`, then the layer `categories`. All arithmetic is
    channels-last, on every backend.

    Args:
        categories: labels of the categories in the order of the logits, or a flat
            `Hierarchy`.
        family: name of the family, for example `"resnet18"` or `"resnet50"`.
        variant: name of the plan, or a `keras_seqpar.variants.Plan`.
        input_shape: `(height, width, channels)` of a picture in pixels; height and width
            may be `None`.
        width: multiplies all channel counts; they stay multiples of 8.
        stem: `"standard"` reduces the resolution by 4; `"small"` keeps it and suits
            pictures of 32 to 64 pixels.
        classifier_activation: a Keras activation over all logits, `None` for logits. For a
            single category take `"sigmoid"`: softmax over one logit is always 1.
        include_preprocessing: put the normalisation into the trunk, so that the network
            takes pixels of 0 to 255. Otherwise it expects ImageNet-normalised input.
        name: name of the model.
        seed: makes the initial weights repeatable. A branch's depend on the seed and its
            node id only, whatever its neighbours are.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, categories)`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an unknown family, variant or stem, an input too small for the strides,
            or categories that are no flat hierarchy.

    Example:

    >>> model = build_phl(["cat", "dog"], family="resnet18", input_shape=(32, 32, 3),
    ...                   stem="small", width=0.25)
    >>> model.output_shape
    (None, 2)
    """
    hierarchy = Hierarchy.of(categories)
    if hierarchy.depth != 1:
        raise ValueError(
            f"A PHL network has one split-point, but this hierarchy has {hierarchy.depth}. "
            "Give build_phl a flat list of categories."
        )
    plan = get_plan(variant)
    family_ = get_family(family)
    init = Initializers(_check_seed(seed))
    _check_width(width)
    stages = _trunk_stages(family_.stages, plan, width)
    longest = [stage for level in plan.levels for stage in level]
    _check_input_shape(input_shape, stem, [*stages, *longest])

    trunk = _trunk(family_, stages, input_shape, width, stem, include_preprocessing, init)
    branches: dict[str, keras.Model] = {}
    for root in hierarchy.roots:
        _add_branches(branches, root, trunk.output, family_, plan, 0, len(stages), width, init)
    return assemble(
        trunk,
        branches,
        hierarchy,
        classifier_activation,
        name=name or f"phl_{family}",
    )


def build_plain(
    family: str,
    categories,
    *,
    input_shape: tuple = (224, 224, 3),
    width: float = 1.0,
    stem: str = "standard",
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = False,
    name: str | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Builds the plain network of a family: the conventional sequential baseline.

    Its parameters equal timm's for the same family and number of categories. It ends in the
    same `categories` layer as a SeqPar network, so its labels travel with it, but it has no
    branches: it cannot be cut.

    Args:
        family: name of the family.
        categories: labels, or their number (then they are called "0", "1", ...).
        input_shape: as for `build_phl`.
        width: as for `build_phl`.
        stem: as for `build_phl`.
        classifier_activation: as for `build_phl`.
        include_preprocessing: as for `build_phl`.
        name: name of the model.
        seed: makes the initial weights repeatable.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, categories)`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an unknown family or stem, or an input too small for the strides.

    Example:

    >>> build_plain("resnet50", 10).count_params()
    23581642
    """
    if isinstance(categories, int):
        if categories < 1:
            raise ValueError(f"The number of categories must be 1 or more, got {categories}.")
        categories = [str(i) for i in range(categories)]
    hierarchy = Hierarchy.of(categories)
    family_ = get_family(family)
    init = Initializers(_check_seed(seed))
    _check_width(width)
    stages = [stage.scaled(width) for stage in family_.stages]
    _check_input_shape(input_shape, stem, stages)

    trunk = _trunk(family_, stages, input_shape, width, stem, include_preprocessing, init)
    inputs = _input_like(trunk)
    x = family_.head(trunk(inputs), "")
    count = len(hierarchy.categories)
    x = keras.layers.Dense(count, kernel_initializer=init.truncated("logits"), name="logits")(x)
    return keras.Model(
        inputs,
        _scores(hierarchy, classifier_activation)(x),
        name=name or f"plain_{family}",
    )


def assemble(
    trunk: keras.Model,
    branches: Mapping[str, keras.Model],
    hierarchy: Hierarchy,
    classifier_activation: str | None,
    *,
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
        name: name of the model.

    Returns:
        The network; it shares the weights of the parts.
    """
    image = _input_like(trunk)
    gain_of = {}
    inputs = [image]
    if any(len(branch.inputs) == 2 for branch in branches.values()):
        ids = [node.id for node in hierarchy.nodes]
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
    scores = _scores(hierarchy, classifier_activation)
    outputs = scores([logits[id_] for id_ in hierarchy.category_ids])
    return keras.Model(inputs if gain_of else image, outputs, name=name)


def _trunk(family, stages, input_shape, width, stem, include_preprocessing, init):
    inputs = keras.Input(tuple(input_shape), name="trunk_input")
    x = inputs
    if include_preprocessing:
        x = _preprocessing(input_shape[-1])(x)
    x = family.stem(x, stem, width, init)
    for i, stage in enumerate(stages):
        x = family.stage(x, stage, f"stage{i + 1}", init)
    return keras.Model(inputs, x, name="trunk")


def _add_branches(branches, node, features, family, plan, level, stages_above, width, init):
    """Builds the branch of `node` and, depth first, those below it."""
    levels = plan.levels[level:] if node.is_category else plan.levels[level : level + 1]
    stages = [stage.scaled(width) for level_stages in levels for stage in level_stages]
    inputs = keras.Input(features.shape[1:], name=f"{node.id}_input")
    x = inputs
    for i, stage in enumerate(stages):
        stage_name = f"{node.id}_stage{stages_above + i + 1}"
        x = family.stage(x, stage, stage_name, init, gain=f"{node.id}_gain" if i == 0 else None)
    if node.is_category:
        x = family.head(x, f"{node.id}_")
        logit = f"{node.id}_logit"
        x = keras.layers.Dense(1, kernel_initializer=init.truncated(logit), name=logit)(x)
    branches[node.id] = keras.Model(inputs, x, name=f"branch_{node.id}")
    for child in node.children:
        above = stages_above + len(stages)
        _add_branches(branches, child, x, family, plan, level + 1, above, width, init)


def _trunk_stages(stages: Sequence[Stage], plan: Plan, width: float) -> list[Stage]:
    chosen = []
    for stage, repeats in zip(stages, plan.trunk, strict=False):
        repeats = stage.repeats if repeats is None else repeats
        chosen.append(Stage(stage.channels, repeats, stage.stride, stage.hidden).scaled(width))
    return chosen


def _scores(hierarchy: Hierarchy, activation: str | None) -> CategoryScores:
    return CategoryScores(hierarchy, activation, dtype="float32", name="categories")


def _input_like(trunk: keras.Model):
    return keras.Input(trunk.input.shape[1:], dtype=trunk.input.dtype, name="image")


def _preprocessing(channels: int) -> keras.layers.Layer:
    """Pixels of 0..255 to normalised input; other than 3 channels go to -1..1."""
    if channels != 3:
        return keras.layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")
    scale = [1 / (255 * s) for s in IMAGENET_STD]
    offset = [-m / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    return keras.layers.Rescaling(scale, offset, name="preprocessing")


def _check_seed(seed):
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise TypeError(f"seed must be an integer or None, got {seed!r}.")
    return seed


def _check_width(width) -> None:
    if isinstance(width, bool) or not isinstance(width, (int, float)):
        raise TypeError(f"width must be a number, got {width!r}.")
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"width must be a finite number above 0, got {width}.")


def _check_input_shape(shape, stem: str, stages: Sequence[Stage]) -> None:
    if stem not in STEMS:
        raise ValueError(unknown_name("stem", stem, STEMS))
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(f"input_shape must be (height, width, channels), got {shape!r}.")
    if not isinstance(shape[2], int) or shape[2] < 1:
        raise ValueError(f"input_shape needs a number of channels of 1 or more, got {shape!r}.")
    least = STEMS[stem] * math.prod(stage.stride for stage in stages)
    for size in shape[:2]:
        if size is None:
            continue
        if not isinstance(size, int) or size < least:
            hint = ' or take stem="small"' if stem == "standard" else ""
            raise ValueError(
                f"input_shape {tuple(shape)} is too small: this network reduces the resolution "
                f"{least} times, so height and width must be whole numbers of at least {least}. "
                f"Take larger pictures{hint}."
            )
