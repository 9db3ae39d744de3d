"""Builders of networks: from categories, a family and a plan to a `keras.Model`."""

import keras

from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.assembly import Maker
from keras_seqpar.networks.plans import Plan, get_plan


def build_phl(
    categories,
    *,
    family: str = "resnet50",
    plan: str | Plan = "late_sp",
    input_shape: tuple = (224, 224, 3),
    width: float = 1.0,
    stem: str = "standard",
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = False,
    drop_path_rate: float = 0.0,
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
        family: name of the family, for example `"resnet50"` or `"convnext_v2_tiny"`.
        plan: name of the plan, or a `keras_seqpar.networks.plans.Plan`.
        input_shape: `(height, width, channels)` of an image in pixels; height and width
            may be `None`.
        width: multiplies all channel counts; they stay multiples of 8.
        stem: `"standard"` reduces the resolution by 4; `"small"` keeps it and suits
            images of 32 to 64 pixels.
        classifier_activation: a Keras activation over all logits, `None` for logits. For a
            single category take `"sigmoid"`: softmax over one logit is always 1.
        include_preprocessing: put the normalization into the trunk, so that the network
            takes pixels of 0 to 255. Otherwise it expects ImageNet-normalized input.
        drop_path_rate: rate of stochastic depth at the last block; it grows linearly with depth
            from 0 at the first.
        name: name of the model.
        seed: makes the initial weights repeatable. A branch's depend on the seed and its
            node id only, whatever its neighbors are.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, categories)`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an unknown family, plan or stem, an input too small for the strides,
            a rate or width out of range, or categories that are no flat hierarchy.

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
            "Give build_phl a flat list of categories, or use build_nhl."
        )
    maker = Maker(
        family, input_shape, width, stem, classifier_activation, include_preprocessing,
        drop_path_rate, name or f"phl_{family}", seed,
    )  # fmt: skip
    return maker.seqpar(hierarchy, get_plan(plan, maker.family, split_points=1))


def build_nhl(
    hierarchy,
    *,
    split_points: int | None = None,
    family: str = "resnet50",
    plan: str | Plan = "late_sp",
    input_shape: tuple = (224, 224, 3),
    width: float = 1.0,
    stem: str = "standard",
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = False,
    drop_path_rate: float = 0.0,
    name: str | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Builds an NHL network: branches of superclasses that feed branches of categories.

    Kelm et al., arXiv 2308.05128, section 3.2. A category may hang at any level, also
    directly under the trunk: it then runs the remaining levels of the plan itself.

    Args:
        hierarchy: a `Hierarchy`, or what `Hierarchy.of` reads (nested dicts and lists).
        split_points: number of levels of the plan, at least the hierarchy's depth, which is
            the default. A hierarchy pruned to fewer levels builds the same branches as
            before when given its old number here.
        family: as for `build_phl`.
        plan: name of a plan that has this number of split-points, or a `Plan`.
        input_shape: as for `build_phl`.
        width: as for `build_phl`.
        stem: as for `build_phl`.
        classifier_activation: as for `build_phl`.
        include_preprocessing: as for `build_phl`.
        drop_path_rate: as for `build_phl`.
        name: name of the model.
        seed: as for `build_phl`.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, categories)`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: as for `build_phl`, or a plan with fewer levels than the hierarchy.

    Example:

    >>> model = build_nhl({"pets": ["cat", "dog"], "vehicles": ["car", "bus"]})
    >>> [layer.name for layer in model.layers][2:4]
    ['branch_pets', 'branch_vehicles']
    """
    hierarchy = Hierarchy.of(hierarchy)
    maker = Maker(
        family, input_shape, width, stem, classifier_activation, include_preprocessing,
        drop_path_rate, name or f"nhl_{family}", seed,
    )  # fmt: skip
    if split_points is None:
        split_points = hierarchy.depth
    elif isinstance(split_points, bool) or not isinstance(split_points, int) or split_points < 1:
        raise ValueError(
            f"split_points must be a whole number of 1 or more, or None, got {split_points!r}."
        )
    plan = get_plan(plan, maker.family, split_points=split_points)
    if len(plan.levels) < hierarchy.depth:
        raise ValueError(
            f"The hierarchy has {hierarchy.depth} split-points, but the plan has "
            f"{len(plan.levels)} level(s). Give a plan with at least {hierarchy.depth} levels, "
            "or leave split_points out."
        )
    return maker.seqpar(hierarchy, plan)


def build_plain(
    categories,
    *,
    family: str = "resnet50",
    input_shape: tuple = (224, 224, 3),
    width: float = 1.0,
    stem: str = "standard",
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = False,
    drop_path_rate: float = 0.0,
    name: str | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Builds the plain network of a family: the conventional sequential baseline.

    Its parameters equal timm's for the same family and number of categories. It ends in the
    same `categories` layer as a SeqPar network, so its labels travel with it, but it has no
    branches: it cannot be cut.

    Args:
        categories: labels, or their number (then they are called "0", "1", ...).
        family: name of the family.
        input_shape: as for `build_phl`.
        width: as for `build_phl`.
        stem: as for `build_phl`.
        classifier_activation: as for `build_phl`.
        include_preprocessing: as for `build_phl`.
        drop_path_rate: as for `build_phl`.
        name: name of the model.
        seed: makes the initial weights repeatable.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, categories)`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an unknown family or stem, or an input too small for the strides.

    Example:

    >>> build_plain(10, family="resnet50").count_params()
    23581642
    """
    maker = Maker(
        family, input_shape, width, stem, classifier_activation, include_preprocessing,
        drop_path_rate, name or f"plain_{family}", seed,
    )  # fmt: skip
    return maker.plain(_flat(categories))


def build_one_branch(
    categories,
    *,
    family: str = "resnet50",
    input_shape: tuple = (224, 224, 3),
    width: float = 1.0,
    stem: str = "standard",
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = False,
    drop_path_rate: float = 0.0,
    name: str | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Builds the control for a PHL network of the plan `late_sp`: one branch for all categories.

    The channels of the branch are multiplied by the square root of the number of categories, so
    that it has about as many parameters as all branches of the PHL network together. Like a plain
    network it cannot be cut.

    Args:
        categories: labels, or their number (then they are called "0", "1", ...).
        family: name of the family.
        input_shape: as for `build_phl`.
        width: as for `build_phl`.
        stem: as for `build_phl`.
        classifier_activation: as for `build_phl`.
        include_preprocessing: as for `build_phl`.
        drop_path_rate: as for `build_phl`.
        name: name of the model.
        seed: makes the initial weights repeatable.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, categories)`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: as for `build_plain`, or categories that are no flat hierarchy.

    Example:

    >>> build_one_branch(["cat", "dog"], family="resnet18", width=0.25).output_shape
    (None, 2)
    """
    hierarchy = _flat(categories)
    if hierarchy.depth != 1:
        raise ValueError(
            "A network of one branch has no superclasses, but this hierarchy has "
            f"{hierarchy.depth} levels. Give build_one_branch a flat list of categories."
        )
    maker = Maker(
        family, input_shape, width, stem, classifier_activation, include_preprocessing,
        drop_path_rate, name or f"one_branch_{family}", seed,
    )  # fmt: skip
    return maker.one_branch(hierarchy)


def _flat(categories) -> Hierarchy:
    """The hierarchy of labels, or of a number of categories."""
    if isinstance(categories, int) and not isinstance(categories, bool):
        if categories < 1:
            raise ValueError(f"The number of categories must be 1 or more, got {categories}.")
        categories = [str(i) for i in range(categories)]
    return Hierarchy.of(categories)
