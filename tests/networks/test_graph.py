import collections
import concurrent.futures
import gc
import inspect
import pathlib
import re
import weakref

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.networks import graph
from keras_seqpar.networks.graph import (
    behind,
    bottlenecks,
    functional,
    internal_class,
    leaf_layers,
    replay,
)
from keras_seqpar.selective import open_sizes
from tests import harness

RUN = "_run_through_graph"
PACKAGE = pathlib.Path(graph.__file__).parents[1]


def test_functional_models_can_be_run_through():
    """`Functional._run_through_graph(inputs, ..., call_fn=...)` is an internal of Keras."""
    run = getattr(small(), RUN, None)
    assert run is not None and "call_fn" in inspect.signature(run).parameters, (
        f"Keras has changed or removed Functional.{RUN}(inputs, call_fn=...). Adapt replay and "
        "functional in keras_seqpar/networks/graph.py."
    )
    assert not hasattr(keras.layers.Dense(1), RUN) and not hasattr(keras.Sequential(), RUN), (
        f"Keras gives {RUN} to other layers than functional models. Adapt functional in "
        "keras_seqpar/networks/graph.py."
    )


def test_no_other_file_leans_on_internals_of_keras():
    """`keras.src`, and attributes of models with a leading underscore."""
    internal = re.compile(
        r"keras\.src|\._(run_through_graph|operations|nodes|layers|keras_history)\b"
    )
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(internal.search(line.replace("self._", "")) for line in path.open())
    }
    assert found == {"networks/graph.py"}


def small():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4, name="first")(inputs)
    inner_in = keras.Input((4,))
    inner = keras.Model(inner_in, keras.layers.Dense(4, name="inside")(inner_in), name="inner")
    y = keras.layers.Add(name="add")([inner(x), x])
    return keras.Model(inputs, [y, x])


def test_bottlenecks_are_where_a_model_can_be_divided():
    model = small()
    model = keras.Model(model.inputs[0], model.outputs[0])
    assert [layer.name for layer in bottlenecks(model)] == ["first", "add"]
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4, name="dense")(inputs)
    model = keras.Model(inputs, keras.layers.ReLU(name="relu")(x + inputs))  # and the input
    assert [layer.name for layer in bottlenecks(model)] == ["relu"]


X = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")


def test_a_replay_that_changes_nothing_computes_the_same():
    model = small()
    again = replay(model, X, lambda layer, *args, **kwargs: layer(*args, **kwargs))
    for a, b in zip(again, model(X), strict=True):
        assert np.array_equal(harness.array(a), harness.array(b))


def test_a_replay_sees_every_call_once_and_shares_layers():
    model = small()
    seen = []

    def call(layer, *args, **kwargs):
        seen.append(layer.name)
        return layer(*args, **kwargs)

    inputs = keras.Input((4,))
    twin = keras.Model(inputs, replay(model, inputs, call))
    assert sorted(seen) == ["add", "first", "inner"]
    assert [id(v) for v in twin.weights] == [id(v) for v in model.weights]


def test_a_replay_can_change_a_call():
    model = small()

    def call(layer, *args, **kwargs):
        y = layer(*args, **kwargs)
        return y * 2 if layer.name == "first" else y

    _, x = replay(model, X, call)
    assert harness.error(harness.array(x), harness.predict(model, X)[1] * 2) == 0


def test_leaf_layers_goes_into_sub_models():
    names = [layer.name for layer in leaf_layers(small())]
    assert {"first", "inside", "add"} <= set(names)
    assert "inner" not in names


def test_what_can_be_replayed():
    model = small()
    assert functional(model) is model
    row = keras.Sequential([keras.layers.Dense(3)])
    assert functional(row) is None  # not built: no graph
    row.build((None, 4))
    graph = functional(row)
    assert graph.layers[-1] is row.layers[-1]
    assert np.array_equal(harness.array(graph(X)), harness.array(row(X)))
    assert functional(row.layers[-1]) is None


def test_operations_and_private_layers_of_keras_are_told_by_their_class_names():
    """The modules are internals of Keras: `keras.src.ops` and `keras.src.applications`."""
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.ops.relu(inputs + 1.0))
    found = [internal_class(layer) for layer in model.operations]
    assert found == [None, ("ops", "Add"), ("ops", "Relu")], (
        "Keras has moved or renamed the operations of functional models (keras.src.ops). Adapt "
        "internal_class and the names in selective/keras_engine/rules.py."
    )
    convnext = keras.applications.ConvNeXtTiny(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    found = {internal_class(layer): layer for layer in convnext.layers}
    scale = found.get(("applications", "LayerScale"))
    # Layers with stochastic depth are there with a rate only, which no public argument gives.
    assert scale is not None and hasattr(inspect.getmodule(type(scale)), "StochasticDepth"), (
        "Keras has moved or renamed the layers of keras.applications (keras.src.applications). "
        "Adapt internal_class and the names in selective/keras_engine/rules.py."
    )


def operations(model):
    """All operations of a model, those of nested models included."""
    for operation in model.operations:
        yield operation
        if isinstance(operation, keras.Model):
            yield from operations(operation)


def notes(model) -> int:
    """How many calls Keras has noted in the layers of a model."""
    lists = ((x._inbound_nodes, x._outbound_nodes) for x in operations(model))
    return sum(len(each) for pair in lists for each in pair)


@pytest.mark.only_backend("tensorflow", "torch")  # JAX compiles; who holds whom is Keras's affair
@pytest.mark.parametrize("kept", [0, 3], ids=["none kept", "the last three kept"])
def test_a_server_that_cuts_for_every_request_does_not_grow(kept):
    """Nodes in `layer._inbound_nodes` and `_outbound_nodes`, and the networks themselves."""
    model = harness.build({"pets": ["cat", "dog"], "car": None})
    plain = sp.build_plain(["cat", "dog"], family="resnet18", width=0.125, stem="small",
                           input_shape=(16, 16, 3))  # fmt: skip
    threshold = sp.fit_threshold(np.random.default_rng(0).normal(size=(60, 3)))
    serving = collections.deque(maxlen=kept)
    seen, sizes = [], []

    def request(i):
        cut = sp.cutout(model, ["dog", "car"])
        attended = sp.attend(cut, {"dog": 1 + i / 1000})
        made = [
            *(cut, attended, sp.attention_input(attended), sp.with_activation(cut, None)),
            *sp.split_branch(cut, "dog", after="stage4_block1_conv1"),
            sp.none_of_these(sp.with_threshold(model, threshold)),
            *(sp.with_activation(plain, None), behind(cut, cut.get_layer("trunk"))),
            *([open_sizes(cut), sp.add_category(model, "bus")] if i % 3 == 0 else []),
        ]
        seen.extend(map(weakref.ref, made))
        serving.append(attended)

    for i in range(7):
        request(i)
        gc.collect()
        sizes.append(notes(model) + notes(plain))
    assert sizes[3] == sizes[6] and sizes[4] == sizes[5], sizes
    assert sum(each() is not None for each in seen) <= kept * 3

    x = harness.images(model)
    cut = sp.cutout(model, ["dog", "car"])
    for network in (*serving, cut):  # what is left works, and can be saved and cut
        twin = keras.Model.from_config(network.get_config())
        twin.set_weights(network.get_weights())
        assert np.array_equal(harness.predict(twin, x), harness.predict(network, x))
        network.summary(print_fn=lambda line: None)
    assert harness.logits(cut, x).tolist() == harness.logits(model, x)[:, 1:].tolist()


def test_a_part_of_a_network_outlives_it(tmp_path):
    """A model that a user made of a network's tensors keeps what it needs."""
    attended = sp.attend(harness.build(["cat", "dog"]), {"dog": 1.5})
    branch = attended.get_layer("branch_dog")
    part = keras.Model(branch.input, branch.output)
    gone = weakref.ref(branch)
    del attended, branch
    gc.collect()
    assert gone() is None
    x = np.random.default_rng(0).normal(size=(1, *part.input_shape[1:])).astype("float32")
    assert np.array_equal(
        harness.predict(harness.reload(part, tmp_path), x), harness.predict(part, x)
    )


def test_threads_that_cut_the_same_network_get_their_own():
    model = harness.network(["cat", "dog", "car"])
    x = harness.images(model)
    wanted = harness.logits(model, x)

    def cut(i):
        return harness.logits(sp.cutout(model, [model.layers[-1].hierarchy.categories[i % 3]]), x)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for i, found in enumerate(pool.map(cut, range(12))):
            assert harness.error(found, wanted[:, [i % 3]]) < 1e-6
