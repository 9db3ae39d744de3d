"""What the tests of networks share: small networks, random weights, gradients, one big check.

`check_network` is the test that every network of the package has to pass on every backend.
"""

import functools
import json
import zlib
from collections.abc import Callable, Sequence

import keras
import numpy as np
from hypothesis import strategies as st
from keras import ops

import keras_seqpar as sp
from keras_seqpar.families.base import Plan
from keras_seqpar.families.resnet import Bottlenecks
from keras_seqpar.networks.graph import called_layers as leaves
from keras_seqpar.networks.plans import get_family
from keras_seqpar.utils.names import check_label
from keras_seqpar.weights import named_weights

# A few steps of training are compiled only where each of their operations would be otherwise.
EAGER = keras.backend.backend() != "jax"
LABELS = ("tench", "English springer", "cassette player", "chain saw", "church", "French horn")

# Names that try to meet those of layers, of sub-models and of each other.
HOSTILE = (
    *("stage4", "trunk", "stem", "a", "a_stage4", "a_stage4_block1", "a gain", "a_gain_input"),
    *("branch_a", "branch a gain", "categories", "image", "gains", "input", "pool", "logit"),
    *("3", "0", "Zoë", "naïve café", "ﬁsh", "x/y:z", "preprocessing", "Ⅷ"),
)


def plan(depth: int = 1, family: str = "resnet18") -> Plan:
    """A trunk of two blocks, then one block of stride 2 or 1 per split-point."""
    make = get_family(family).stage_type
    more = {"hidden": 32} if make is Bottlenecks else {}
    levels = tuple((make(64, 1, stride=2 if i == 0 else 1, **more),) for i in range(depth))
    return Plan(trunk=(1, 1), levels=levels)


def build(tree, *, family: str = "resnet18", size: int = 16, **options) -> keras.Model:
    """A very small network over `tree`, freshly initialized."""
    hierarchy = sp.Hierarchy.of(tree)
    options = {
        "family": family,
        "plan": plan(hierarchy.depth, family),
        "input_shape": (size, size, 3),
        "width": 0.125,
        "stem": "small",
        "seed": 0,
        **options,
    }
    builder = sp.build_phl if hierarchy.depth == 1 else sp.build_nhl
    return builder(hierarchy, **options)


@functools.cache
def _shared(config: str, options: tuple) -> keras.Model:
    model = build(sp.Hierarchy.from_config(json.loads(config)), **dict(options))
    randomize(model)
    return model


def network(tree=LABELS[:4], **options) -> keras.Model:
    """Like `build`, with random weights, and built once per run: do not change it."""
    config = json.dumps(sp.Hierarchy.of(tree).get_config())
    return _shared(config, tuple(sorted(options.items())))


def images(model: keras.Model, count: int = 2, seed: int = 0) -> np.ndarray:
    """Random normalized images of the size that the model takes."""
    shape = model.inputs[0].shape[1:]
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def predict(model: keras.Model, *inputs, compiled=False) -> np.ndarray:
    """The model's output as an array; `compiled` as in `gradients`."""
    given = inputs[0] if len(inputs) == 1 else list(inputs)
    if compiled and keras.backend.backend() == "jax":
        return model.predict_on_batch(given)
    return ops.convert_to_numpy(model(given, training=False))


def logits(model: keras.Model, *inputs, compiled=False) -> np.ndarray:
    """What the categories layer turns into scores."""
    return predict(sp.with_activation(model, None), *inputs, compiled=compiled)


def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in double precision."""
    e = np.exp(x.astype("float64") - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def error(a, b) -> float:
    """The largest difference relative to the largest value of `b`."""
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    assert a.shape == b.shape
    assert np.isfinite(a).all() and np.isfinite(b).all()
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))


def randomize(model: keras.Model, seed: int = 0) -> None:
    """Sets all weights, moving statistics included, to values that no initializer gives.

    They depend on the seed and on the names of layer and weight only.
    """
    for layer in leaves(model):
        for weight in layer.weights:
            key = f"{seed}/{layer.name}/{weight.name}"
            rng = np.random.default_rng(zlib.crc32(key.encode()))
            shape = tuple(weight.shape)
            if weight.name.endswith("kernel"):
                gain = 0.2 if isinstance(layer, keras.layers.Dense) else 1  # keeps softmax soft
                value = rng.normal(size=shape) * gain * np.sqrt(2 / np.prod(shape[:-1]))
            elif weight.name in ("gamma", "moving_variance"):
                value = rng.uniform(0.5, 1.5, shape)
            else:
                value = rng.normal(size=shape) * 0.3
            weight.assign(value.astype("float32"))


def array(x) -> np.ndarray:
    """A tensor or variable as an array of its own."""
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(x)))


def values(model: keras.Model) -> list[np.ndarray]:
    """All weights as arrays, copied."""
    return [array(weight) for weight in model.weights]


def same_values(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> bool:
    """Whether two lists of arrays are equal bit by bit."""
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def config_of(model: keras.Model) -> str:
    """The model's configuration as text that can be compared."""
    return json.dumps(keras.saving.serialize_keras_object(model), sort_keys=True)


def reload(model: keras.Model, folder) -> keras.Model:
    """Saves a model to a `.keras` file and loads it again."""
    path = str(folder / "model.keras")
    model.save(path)
    return keras.models.load_model(path)


def weighted_sum(outputs, seed: int = 0):
    """A loss that treats every output differently."""
    factors = np.random.default_rng(seed).uniform(0.5, 1.5, tuple(outputs.shape))
    return ops.sum(outputs * ops.convert_to_tensor(factors, dtype=outputs.dtype))


def gradients(
    model: keras.Model,
    inputs,
    loss: Callable = weighted_sum,
    variables=None,
    training=False,
    compiled=False,
) -> list[np.ndarray | None]:
    """Gradients of `loss(model(inputs))`, by the backend's own means.

    Args:
        model: the network.
        inputs: what to call it with.
        loss: from outputs to a scalar.
        variables: for what; by default the model's trainable variables.
        training: whether to call the model in training mode.
        compiled: compile as a whole in JAX: quicker for a network of sizes that no other test
            has, slower where the operations of other tests can be used again.

    Returns:
        One array per variable, `None` where the loss does not depend on it at all.
    """
    variables = model.trainable_variables if variables is None else list(variables)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss(model(inputs, training=training))
        found = tape.gradient(value, [v.value for v in variables])
    elif backend == "jax":
        import jax

        state = [v.value for v in model.non_trainable_variables]

        def run(trainable):
            return loss(model.stateless_call(trainable, state, inputs, training=training)[0])

        gradient = jax.jit(jax.grad(run)) if compiled else jax.grad(run)
        all_ = gradient([v.value for v in model.trainable_variables])
        of = {id(v): g for v, g in zip(model.trainable_variables, all_, strict=True)}
        found = [of.get(id(v)) for v in variables]
    else:
        for v in variables:
            v.value.grad = None
        loss(model(inputs, training=training)).backward()
        found = [v.value.grad for v in variables]
        for v in variables:
            v.value.grad = None
    return [None if g is None else array(g) for g in found]


def reached(model: keras.Model, inputs, loss: Callable = weighted_sum, variables=None, **kwargs):
    """Which variables a loss has a gradient for that is not zero everywhere, as a list of bool."""
    found = gradients(model, inputs, loss, variables, **kwargs)
    assert all(g is None or np.isfinite(g).all() for g in found)
    return [g is not None and bool(np.any(g != 0)) for g in found]


def variables_of(model: keras.Model, ids: Sequence[str]) -> set[int]:
    """The identities of the trainable variables of the trunk and of the branches of `ids`."""
    parts = [model.get_layer("trunk"), *(model.get_layer(f"branch_{i}") for i in ids)]
    return {id(v) for part in parts for v in part.trainable_variables}


def check_names(model: keras.Model) -> None:
    """Layer names are unique over all sub-models, and so are the keys of weights."""
    names = [layer.name for layer in leaves(model)]
    assert len(names) == len(set(names))
    assert len(named_weights(model)) == len(model.weights)


def check_network(
    model: keras.Model,
    folder,
    *,
    gradient: bool = True,
    renamed: bool = False,
    compiled: bool = False,
) -> keras.Model:
    """What must hold for any network of the package.

    Args:
        model: a network whose weights are random (see `randomize`).
        folder: an empty folder.
        gradient: also look at the gradients.
        renamed: a layer of a library gives itself another name in every copy.
        compiled: as in `gradients`, for the outputs.

    Returns:
        The network as it was loaded from its file.
    """
    check_names(model)
    inputs = [images(model)]
    if len(model.inputs) == 2:
        inputs.append(np.full((2, model.inputs[1].shape[1]), 1.25, "float32"))
    scores = predict(model, *inputs, compiled=compiled)
    assert scores.dtype == "float32"
    assert scores.shape == (2, *model.output_shape[1:])
    if model.get_layer("categories").classifier_activation == "softmax":
        assert error(scores, softmax(logits(model, *inputs, compiled=compiled))) < 1e-6
        np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-6)
    counted = sp.cost(model)
    assert counted.params == sum(int(np.prod(v.shape)) for v in model.trainable_variables)

    again = reload(model, folder)  # made of its configuration
    assert renamed or config_of(again) == config_of(model)
    assert same_values(values(again), values(model))
    assert np.array_equal(predict(again, *inputs, compiled=compiled), scores)
    if gradient:
        given = inputs if len(inputs) == 2 else inputs[0]
        assert all(reached(sp.with_activation(model, None), given, compiled=True))
    return again


def labels() -> st.SearchStrategy[str]:
    """Any text that can be a label."""

    def allowed(text: str) -> bool:
        try:
            return bool(check_label(text))
        except ValueError:
            return False

    return st.text(min_size=1, max_size=12).filter(allowed)


@st.composite
def trees(draw, max_depth: int = 4, max_categories: int = 6) -> sp.Hierarchy:
    """Random hierarchies, uneven ones included, categories in any order of the logits.

    What is tried first are nested trees of some size, since every example costs a network.
    """
    count = draw(st.sampled_from([n for n in (4, 5, 3, 6, 2, 1) if n <= max_categories]))
    depths = [n for n in (3, 4, 2, 1) if n <= max_depth]
    names = iter(range(100))

    def grow(leaves: int, depth: int) -> list:
        """`leaves` categories under one node that may go `depth` levels down."""
        items = []
        while leaves:
            size = leaves - draw(st.integers(0, leaves - 1))
            if depth > 1 and draw(st.sampled_from((True, False))):
                items.append({f"super {next(names)}": grow(size, depth - 1)})
            else:
                size = 1
                items.append(f"cat {next(names)}")
            leaves -= size
        return items

    tree = sp.Hierarchy.of(grow(count, draw(st.sampled_from(depths))))
    return sp.Hierarchy(tree.roots, draw(st.permutations(tree.category_ids)))


@st.composite
def choices(draw, tree: sp.Hierarchy) -> list[str]:
    """Chosen categories in any order, by label or id, perhaps one superclass among them."""
    labels = draw(st.permutations(tree.categories))
    chosen = labels[: draw(st.integers(1, len(labels)))]
    if tree.superclasses and draw(st.booleans()):
        node = draw(st.sampled_from(tree.superclasses))
        below = {n.label for n in node.walk()}
        chosen = [*(c for c in chosen if c not in below), node.label]
    return [tree.find(c).id if draw(st.booleans()) else c for c in chosen]
