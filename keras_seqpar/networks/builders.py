"""Builders of networks: from categories, a family and a plan to a `keras.Model`."""

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator

import keras

from keras_seqpar.families.base import Plan
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.assembly import Maker
from keras_seqpar.networks.build_config import BuildConfig
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.networks.plans import get_family, get_plan


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
    weights: str | os.PathLike | None = None,
    dtype=None,
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
        plan: name of the plan, or a `keras_seqpar.families.base.Plan`.
        input_shape: `(height, width, channels)` of an image in pixels; height and width
            may be `None`.
        width: multiplies all channel counts; they stay multiples of 8.
        stem: `"standard"` is that of the family, and reduces the resolution (ResNet by 4);
            `"small"` keeps it and suits images of 32 to 64 pixels.
        classifier_activation: a Keras activation over all logits, `None` for logits. For a
            single category take `"sigmoid"`: softmax over one logit is always 1.
        include_preprocessing: put the normalization into the trunk, so that the network
            takes pixels of 0 to 255. Otherwise it expects ImageNet-normalized input.
        drop_path_rate: rate of stochastic depth at the last block; it grows linearly with depth
            from 0 at the first.
        weights: source of initial weights: `"timm:NAME"`, `"keras:NAME"` or a `.keras` file, see
            `keras_seqpar.weights.load`. It fills the trunk; of a plain network it fills all but
            the classifier. A `.keras` file also fills what it has of equal branches, or the
            classifier of equal categories.
        dtype: a Keras dtype policy or its name, for example `"mixed_bfloat16"`; by default the
            global one. The scores are float32 whatever it is.
        name: name of the model.
        seed: makes the initial weights repeatable. A branch's depend on the seed and its
            node id only, whatever its neighbors are.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, categories)`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an unknown family, plan or stem, an input too small for the strides,
            a rate or width out of range, categories that are no flat hierarchy, or weights that
            do not fit.

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
    plan = _checked(plan, family)
    config = BuildConfig(
        "phl", family, plan, 1, width, stem, drop_path_rate, bool(include_preprocessing)
    )
    return _build(config, hierarchy, input_shape, classifier_activation, weights, dtype, name, seed)


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
    weights: str | os.PathLike | None = None,
    dtype=None,
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
        weights: as for `build_phl`.
        dtype: as for `build_phl`.
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
    if split_points is None:
        split_points = hierarchy.depth
    elif isinstance(split_points, bool) or not isinstance(split_points, int) or split_points < 1:
        raise ValueError(
            f"split_points must be a whole number of 1 or more, or None, got {split_points!r}."
        )
    plan = _checked(plan, family)
    config = BuildConfig(
        "nhl", family, plan, split_points, width, stem, drop_path_rate, bool(include_preprocessing)
    )
    return _build(config, hierarchy, input_shape, classifier_activation, weights, dtype, name, seed)


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
    weights: str | os.PathLike | None = None,
    dtype=None,
    name: str | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Builds the plain network of a family: the conventional sequential baseline.

    Its parameters equal timm's for the same family and number of categories. It ends in the
    same `categories` layer as a SeqPar network, so its labels travel with it, but it has no
    branches: of a cutout, only the classifier is smaller.

    Args:
        categories: labels, or their number (then they are called "0", "1", ...).
        family: name of the family.
        input_shape: as for `build_phl`.
        width: as for `build_phl`.
        stem: as for `build_phl`.
        classifier_activation: as for `build_phl`.
        include_preprocessing: as for `build_phl`.
        drop_path_rate: as for `build_phl`.
        weights: as for `build_phl`.
        dtype: as for `build_phl`.
        name: name of the model.
        seed: as for `build_phl`.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, categories)`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an unknown family or stem, an input too small for the strides, or weights that
            do not fit.

    Example:

    >>> build_plain(10, family="resnet50").count_params()
    23581642
    """
    config = BuildConfig(
        "plain", family, None, None, width, stem, drop_path_rate, bool(include_preprocessing)
    )
    hierarchy = _numbered(categories)
    return _build(config, hierarchy, input_shape, classifier_activation, weights, dtype, name, seed)


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
    weights: str | os.PathLike | None = None,
    dtype=None,
    name: str | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Builds the control for a PHL network of the plan `late_sp`: one branch for all categories.

    The channels of the branch are multiplied by the square root of the number of categories, so
    that it has about as many parameters as all branches of the PHL network together. Like a plain
    network it has no branches to cut.

    Args:
        categories: labels, or their number (then they are called "0", "1", ...).
        family: name of the family.
        input_shape: as for `build_phl`.
        width: as for `build_phl`.
        stem: as for `build_phl`.
        classifier_activation: as for `build_phl`.
        include_preprocessing: as for `build_phl`.
        drop_path_rate: as for `build_phl`.
        weights: as for `build_phl`.
        dtype: as for `build_phl`.
        name: name of the model.
        seed: as for `build_phl`.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, categories)`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: as for `build_plain`, or categories that are no flat hierarchy.

    Example:

    >>> build_one_branch(["cat", "dog"], family="resnet18", width=0.25).output_shape
    (None, 2)
    """
    hierarchy = _numbered(categories)
    if hierarchy.depth != 1:
        raise ValueError(
            "A network of one branch has no superclasses, but this hierarchy has "
            f"{hierarchy.depth} levels. Give build_one_branch a flat list of categories."
        )
    config = BuildConfig(
        "one_branch", family, None, None, width, stem, drop_path_rate, bool(include_preprocessing)
    )
    return _build(config, hierarchy, input_shape, classifier_activation, weights, dtype, name, seed)


BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "phl": build_phl,
    "nhl": build_nhl,
    "plain": build_plain,
    "one_branch": build_one_branch,
}


def plain_twin(
    model: keras.Model, *, name: str | None = None, seed: int | None = None
) -> keras.Model:
    """Builds the plain network that a network is compared with; its weights are random.

    It has the family, width, stem, rate of stochastic depth, preprocessing, input shape,
    categories and activation of the given network.

    Args:
        model: a network of this package, a cutout for example.
        name: name of the new model.
        seed: makes the initial weights repeatable.

    Returns:
        A network as from `build_plain`.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it is no network of this package, or was saved before networks stored how
            they were built.

    Example:

    >>> model = build_phl(["cat", "dog", "car"], family="resnet18", width=0.25)
    >>> phone = cutout(model, ["cat"])
    >>> print(compare(model, phone, plain_twin(phone)))
    """
    parts = find_parts(model, allow_plain=True)
    build = parts.require_build(model.name)
    tree = parts.hierarchy
    return build_plain(
        Hierarchy([tree.node(id_) for id_ in tree.category_ids]),
        family=build.family,
        input_shape=tuple(model.inputs[0].shape[1:]),
        width=build.width,
        stem=build.stem,
        classifier_activation=parts.classifier_activation,
        include_preprocessing=build.include_preprocessing,
        drop_path_rate=build.drop_path_rate,
        name=name,
        seed=seed,
    )


def _checked(plan: str | Plan, family: str) -> str | Plan:
    """The plan; one that is no name must fit the family."""
    if isinstance(plan, Plan):
        get_plan(plan, get_family(family), split_points=len(plan.levels))
    return plan


def _numbered(categories) -> Hierarchy:
    """The hierarchy of labels, or of a number of categories."""
    if isinstance(categories, int) and not isinstance(categories, bool):
        if categories < 1:
            raise ValueError(f"The number of categories must be 1 or more, got {categories}.")
        categories = [str(i) for i in range(categories)]
    return Hierarchy.of(categories)


def _build(
    config: BuildConfig,
    hierarchy: Hierarchy,
    input_shape,
    activation: str | None,
    weights,
    dtype,
    name: str | None,
    seed: int | None,
) -> keras.Model:
    """What all builders share."""
    maker = Maker(
        config, input_shape, activation, name or f"{config.builder}_{config.family}", seed
    )
    with _policy(dtype):
        if config.builder == "plain":
            model = maker.plain(hierarchy)
        elif config.builder == "one_branch":
            model = maker.one_branch(hierarchy)
        else:
            model = maker.seqpar(hierarchy)
    if weights is not None:
        # `weights` is a floor above this one, so it is imported only where it is needed.
        loading = importlib.import_module("keras_seqpar.weights.loading")
        loading.load(model, weights, classifier=False)
    return model


@contextlib.contextmanager
def _policy(dtype) -> Iterator[None]:
    """Makes a dtype policy the global one for a while."""
    before = keras.config.dtype_policy()
    if dtype is not None:
        keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
