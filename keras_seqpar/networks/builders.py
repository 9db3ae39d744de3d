"""Builders of networks: from categories, a family and a plan to a `keras.Model`."""

import contextlib
import dataclasses
import importlib
import os
from collections.abc import Callable, Iterator

import keras

from keras_seqpar.families.base import Plan
from keras_seqpar.hierarchy.subsets import labels_if_subset
from keras_seqpar.hierarchy.tree import Hierarchy
from keras_seqpar.networks.assembly import Maker
from keras_seqpar.networks.build_config import BuildConfig
from keras_seqpar.networks.own_trunks import make_trunk
from keras_seqpar.networks.plans import get_family, get_plan


def build_phl(
    categories,
    *,
    family: str = "resnet50",
    plan: str | Plan = "late_sp",
    trunk: keras.Model | None = None,
    trunk_end: str | None = None,
    input_shape: tuple | None = None,
    width: float = 1.0,
    stem: str = "standard",
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = False,
    drop_path_rate: float = 0.0,
    weights: str | os.PathLike | None = None,
    dtype=None,
    name: str | None = None,
    fused: bool = False,
    seed: int | None = None,
) -> keras.Model:
    """Builds a PHL network: a trunk, then one parallel branch per category.

    Kelm et al., arXiv 2308.05128, section 3.1. The result is a plain functional model:
    sub-models `trunk` and `branch_<node>`, then the layer `categories`. All arithmetic is
    channels-last, on every backend.

    Args:
        categories: labels of the categories in the order of the logits, a flat `Hierarchy`, or
            the name of a subset of ImageNet, see `keras_seqpar.hierarchy.subset_labels`.
        family: name of the family, for example `"resnet50"` or `"convnext_v2_tiny"`.
        plan: name of the plan, or a `keras_seqpar.families.base.Plan`.
        trunk: a functional Keras model that becomes the trunk, with its weights: of
            keras.applications, a backbone of KerasHub or KerasCV, your own. `family` and `plan`
            then say what the branches are made of; the plan's trunk and `stem` are not used.
        trunk_end: name of the layer at whose output `trunk` ends; by default at its own output.
        input_shape: `(height, width, channels)` of an image in pixels; height and width
            may be `None`. By default `(224, 224, 3)`, and with `trunk` that of the trunk.
        width: multiplies all channel counts; they stay multiples of 8. Those of `trunk` stay.
        stem: `"standard"` is that of the family, and reduces the resolution (ResNet by 4);
            `"small"` keeps it and suits images of 32 to 64 pixels.
        classifier_activation: a Keras activation over all logits, `None` for logits. For a
            single category take `"sigmoid"`: softmax over one logit is always 1.
        include_preprocessing: put the normalization into the trunk, so that the network
            takes pixels of 0 to 255. Otherwise it expects input that is normalized as the family
            wants it. With `trunk` nothing is added: `True` says that the trunk takes pixels.
        drop_path_rate: rate of stochastic depth at the last block; it grows linearly with depth
            from 0 at the first.
        weights: source of initial weights: `"imagenet"`, `"timm:NAME"`, a `.keras` file or another
            of `keras_seqpar.weights.load`. It fills the trunk; of a plain network it fills all but
            the classifier, of ImageNet's categories that too. A `.keras` file also fills what it
            has of equal branches, or the classifier of equal categories.
        dtype: a Keras dtype policy or its name, for example `"mixed_bfloat16"`; by default the
            global one. The scores are float32 whatever it is.
        name: name of the model.
        fused: compute the equal branches of a level together, in a bank: built, run and trained
            much faster where there are many. See `fuse`.
        seed: makes the initial weights repeatable. Those of a branch depend on the seed and
            its node id only, not on the other branches.

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
    hierarchy = Hierarchy.of(labels_if_subset(categories))
    if hierarchy.depth != 1:
        raise ValueError(
            f"A PHL network has one split-point, but this hierarchy has {hierarchy.depth}. "
            "Give build_phl a flat list of categories, or use build_nhl."
        )
    plan = _checked(plan, family)
    config = BuildConfig(
        "phl", family, plan, 1, width, stem, drop_path_rate, bool(include_preprocessing)
    )
    return _build(
        config, hierarchy, input_shape, classifier_activation, weights, dtype, name, seed,
        trunk, trunk_end, fused,
    )  # fmt: skip


def build_nhl(
    hierarchy,
    *,
    split_points: int | None = None,
    family: str = "resnet50",
    plan: str | Plan = "late_sp",
    trunk: keras.Model | None = None,
    trunk_end: str | None = None,
    input_shape: tuple | None = None,
    width: float = 1.0,
    stem: str = "standard",
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = False,
    drop_path_rate: float = 0.0,
    weights: str | os.PathLike | None = None,
    dtype=None,
    name: str | None = None,
    fused: bool = False,
    seed: int | None = None,
) -> keras.Model:
    """Builds an NHL network: branches of superclasses that feed branches of categories.

    Kelm et al., arXiv 2308.05128, section 3.2. A category may hang at any level, also
    directly under the trunk: it then runs the remaining levels of the plan itself.

    Args:
        hierarchy: a `Hierarchy`, or what `Hierarchy.of` reads (nested dicts and lists).
        split_points: number of levels of the plan, at least the hierarchy's depth, which is
            the default. Where a hierarchy was pruned to fewer levels, its old number builds
            the same branches as before.
        family: as for `build_phl`.
        plan: name of a plan that has this number of split-points, or a `Plan`.
        trunk: as for `build_phl`.
        trunk_end: as for `build_phl`.
        input_shape: as for `build_phl`.
        width: as for `build_phl`.
        stem: as for `build_phl`.
        classifier_activation: as for `build_phl`.
        include_preprocessing: as for `build_phl`.
        drop_path_rate: as for `build_phl`.
        weights: as for `build_phl`.
        dtype: as for `build_phl`.
        name: name of the model.
        fused: as for `build_phl`.
        seed: as for `build_phl`.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to `(batch, categories)`.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: as for `build_phl`, or a plan with fewer levels than the hierarchy.

    Example:

    >>> nested = build_nhl({"pets": ["cat", "dog"], "car": None}, family="resnet18", width=0.125)
    >>> sorted(layer.name for layer in nested.layers if layer.name.startswith("branch"))
    ['branch_car', 'branch_cat', 'branch_dog', 'branch_pets']
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
    return _build(
        config, hierarchy, input_shape, classifier_activation, weights, dtype, name, seed,
        trunk, trunk_end, fused,
    )  # fmt: skip


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
        categories: as for `build_phl`, or their number (then they are called "0", "1", ...).
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

    >>> build_plain(10, family="resnet18", width=0.125).output_shape
    (None, 10)
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
    plan: str | Plan = "late_sp",
    trunk: keras.Model | None = None,
    trunk_end: str | None = None,
    input_shape: tuple | None = None,
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
    """Builds the control for a PHL network of the same plan: one branch for all categories.

    The channels of the branch are multiplied by the square root of the number of categories, so
    that it has about as many parameters as all branches of the PHL network together. Like a plain
    network it has no branches to cut.

    Args:
        categories: as for `build_phl`, or their number (then they are called "0", "1", ...).
        family: name of the family.
        plan: as for `build_phl`.
        trunk: as for `build_phl`.
        trunk_end: as for `build_phl`.
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
        ValueError: as for `build_phl`, or categories that are no flat hierarchy.

    Example:

    >>> control = build_one_branch(["cat", "dog"], family="resnet18", width=0.125)
    >>> control.output_shape
    (None, 2)
    """
    hierarchy = _numbered(categories)
    if hierarchy.depth != 1:
        raise ValueError(
            "A network of one branch has no superclasses, but this hierarchy has "
            f"{hierarchy.depth} levels. Give build_one_branch a flat list of categories."
        )
    plan = _checked(plan, family)
    config = BuildConfig(
        "one_branch", family, plan, None, width, stem, drop_path_rate, bool(include_preprocessing)
    )
    return _build(
        config, hierarchy, input_shape, classifier_activation, weights, dtype, name, seed,
        trunk, trunk_end,
    )  # fmt: skip


BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "phl": build_phl,
    "nhl": build_nhl,
    "plain": build_plain,
    "one_branch": build_one_branch,
}


def _checked(plan: str | Plan, family: str) -> str | Plan:
    """The plan; one that is no name must fit the family."""
    if isinstance(plan, Plan):
        get_plan(plan, get_family(family), split_points=len(plan.levels))
    return plan


def _numbered(categories) -> Hierarchy:
    """The hierarchy of labels, of a subset's name, or of a number of categories."""
    if isinstance(categories, int) and not isinstance(categories, bool):
        if categories < 1:
            raise ValueError(f"The number of categories must be 1 or more, got {categories}.")
        categories = [str(i) for i in range(categories)]
    return Hierarchy.of(labels_if_subset(categories))


def _build(
    config: BuildConfig,
    hierarchy: Hierarchy,
    input_shape,
    activation: str | None,
    weights,
    dtype,
    name: str | None,
    seed: int | None,
    trunk: keras.Model | None = None,
    trunk_end: str | None = None,
    fused: bool = False,
) -> keras.Model:
    """What all builders share."""
    own = None
    if trunk is not None or trunk_end is not None:
        own = make_trunk(trunk, trunk_end)
        assert trunk is not None  # the line before refuses it
        config = dataclasses.replace(config, trunk=trunk.name)
        shape = tuple(own.inputs[0].shape[1:])
        if input_shape is not None and tuple(input_shape) != shape:
            raise ValueError(
                f"input_shape is {tuple(input_shape)}, but the trunk takes images of {shape}. "
                "Leave input_shape out, or build the trunk for the other size."
            )
        if weights is not None:
            raise ValueError(
                "weights fill a trunk of the family, but trunk= gives one with its own weights. "
                "Leave weights out; load the trunk's weights into it before."
            )
        input_shape = shape
    maker = Maker(
        config,
        (224, 224, 3) if input_shape is None else input_shape,
        activation,
        name or f"{config.builder}_{config.trunk or config.family}",
        seed,
        own,
    )
    with _policy(dtype):
        if config.builder == "plain":
            model = maker.plain(hierarchy)
        elif config.builder == "one_branch":
            model = maker.one_branch(hierarchy)
        else:
            model = maker.seqpar(hierarchy, fused=fused)
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
