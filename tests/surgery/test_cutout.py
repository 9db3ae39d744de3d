import re

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_seqpar as sp
from keras_seqpar.networks.parts import find_parts
from keras_seqpar.networks.thresholds import Threshold
from tests import harness

NESTED = {"pets": ["cat", "dog"], "vehicles": {"road": ["car", "bus"], "ship": None}, "tree": None}

FAMILIES = ["resnet18", "resnet50", "convnext_v2_atto"]

# Networks differ in everything that a cutout could depend on; sizes are few, because JAX
# compiles once per shape.
NETWORKS = st.fixed_dictionaries(
    {
        "family": st.sampled_from(FAMILIES),
        "width": st.sampled_from([0.125, 0.25]),
        "stem": st.sampled_from(["small", "standard"]),
        "classifier_activation": st.sampled_from(["softmax", "sigmoid", None]),
    }
)


def test_names_are_compared_in_one_unicode_form():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    model = harness.network({"drinks": [decomposed, "tea"], "dog": None})
    tree = sp.cutout(model, [f" {composed}", "dog"]).get_layer("categories").hierarchy
    assert tree.categories == (composed, "dog")
    assert sp.cutout(model, [decomposed]).get_layer("categories").hierarchy.categories == (
        composed,
    )
    attended = sp.attend(model, {decomposed: 2.0}).get_layer("branch_cafe")
    assert attended.get_layer("cafe_gain").gain == 2.0
    with pytest.raises(ValueError, match=f"'{composed}' is named twice"):
        sp.add_category(model, decomposed)
    with pytest.raises(ValueError, match=f"'{composed}' is named twice"):
        sp.merge(model, harness.network([composed]))


def drawn(data):
    """A random network, some of its categories, and where these are among its logits."""
    tree = data.draw(harness.trees())
    options = data.draw(NETWORKS)
    model = harness.network(tree, size=32 if options["stem"] == "standard" else 16, **options)
    names = data.draw(harness.choices(tree))
    columns = [tree.category_ids.index(id_) for id_ in tree.select(names)]
    return model, names, columns


def scores_of(logits: np.ndarray, activation: str | None) -> np.ndarray:
    """What the activation makes of logits, by its definition."""
    if activation == "softmax":
        return harness.softmax(logits)
    return 1 / (1 + np.exp(-logits.astype("float64"))) if activation == "sigmoid" else logits


@pytest.mark.kernels
@settings(max_examples=4)
@given(st.data())
def test_a_cutout_equals_the_chosen_columns(tmp_path_factory, data):
    model, names, columns = drawn(data)
    activation = model.get_layer("categories").classifier_activation
    folder = tmp_path_factory.mktemp("cutout")
    x = harness.images(model)
    full = harness.logits(model, x)
    want = full[:, columns]
    scores, config = harness.predict(model, x), harness.config_of(model)
    before = harness.values(model)

    cut, loaded = sp.cutout(model, names), harness.reload(model, folder)
    for net in (
        cut,
        sp.cutout(cut, cut_labels(cut)),
        harness.reload(cut, folder),
        sp.cutout(loaded, names),
        sp.cutout(loaded, names, copy=True),
    ):
        assert net.output_shape == (None, len(columns))
        assert np.array_equal(harness.logits(net, x), want)
        assert harness.error(harness.predict(net, x), scores_of(want, activation)) < 1e-6
        assert cut_labels(net) == tuple(cut_labels(model)[i] for i in columns)

    # nothing of this has changed the source
    assert np.array_equal(harness.predict(model, x), scores)
    assert harness.config_of(model) == config
    assert harness.same_values(harness.values(model), before)


def cut_labels(model):
    return model.get_layer("categories").hierarchy.categories


@pytest.mark.kernels
@settings(max_examples=4)
@given(st.data())
def test_a_cut_of_a_cut_equals_one_cut(data):
    model, names, _ = drawn(data)
    first = sp.cutout(model, names)
    again = data.draw(harness.choices(first.get_layer("categories").hierarchy))
    labels = first.get_layer("categories").hierarchy.select(again)
    second = sp.cutout(first, again, name="same")
    direct = sp.cutout(model, labels, name="same")
    assert harness.config_of(second) == harness.config_of(direct)
    assert [id(w) for w in second.weights] == [id(w) for w in direct.weights]
    x = harness.images(model)
    ids = model.get_layer("categories").hierarchy.category_ids
    want = harness.logits(model, x)[:, [ids.index(id_) for id_ in labels]]
    assert np.array_equal(harness.logits(second, x), want)


@settings(max_examples=4)
@given(st.data())
def test_gradients_on_a_cutout_reach_the_trunk_and_the_kept_branches_only(data):
    tree = data.draw(harness.trees())
    model = harness.network(tree, family=data.draw(st.sampled_from(FAMILIES)))
    names = data.draw(harness.choices(tree))
    cut = sp.with_activation(sp.cutout(model, names), None)
    kept = {node.id for id_ in tree.select(names) for node in tree.path(tree.find(id_))}
    wanted = harness.variables_of(model, kept)
    x = harness.images(model)
    assert {id(v) for v in cut.trainable_variables} == wanted
    reached = harness.reached(cut, x, variables=model.trainable_variables)
    assert reached == [id(v) in wanted for v in model.trainable_variables]


@pytest.mark.parametrize("tree", [harness.LABELS[:4], NESTED], ids=["phl", "nhl"])
def test_a_cut_of_all_is_the_network(tree, tmp_path):
    model = harness.network(tree)
    labels = cut_labels(model)
    cut = sp.cutout(model, labels, name=model.name)
    assert harness.config_of(cut) == harness.config_of(model)
    assert [id(w) for w in cut.weights] == [id(w) for w in model.weights]
    x = harness.images(model)
    assert np.array_equal(harness.predict(cut, x), harness.predict(model, x))
    back = sp.cutout(model, labels[::-1])
    assert harness.error(harness.predict(back, x), harness.predict(model, x)[:, ::-1]) < 1e-6
    harness.check_network(back, tmp_path)


def test_a_superclass_stands_for_its_categories():
    model = harness.network(NESTED)
    x = harness.images(model)
    full = harness.logits(model, x)
    for names, columns in (
        (["pets"], [0, 1]),
        (["vehicles", "cat"], [2, 3, 4, 0]),
        (["tree", "road"], [5, 2, 3]),
    ):
        assert np.array_equal(harness.logits(sp.cutout(model, names), x), full[:, columns])


def test_superclasses_without_a_kept_category_disappear():
    model = harness.network(NESTED)

    def parts(net):
        return [layer.name for layer in net.layers if isinstance(layer, keras.Model)]

    assert parts(sp.cutout(model, ["ship"])) == ["trunk", "branch_vehicles", "branch_ship"]
    assert parts(sp.cutout(model, ["tree"])) == ["trunk", "branch_tree"]
    assert sorted(parts(sp.cutout(model, ["cat", "bus"]))) == sorted(
        ["trunk", "branch_pets", "branch_cat", "branch_vehicles", "branch_road", "branch_bus"]
    )


def test_one_category_is_a_detector():
    model = harness.network(NESTED)
    x = harness.images(model)
    column = harness.logits(model, x)[:, 3:4]
    assert np.array_equal(harness.predict(sp.cutout(model, ["bus"]), x), np.ones((2, 1)))
    detector = sp.cutout(model, ["bus"], classifier_activation="sigmoid")
    assert harness.error(harness.predict(detector, x), scores_of(column, "sigmoid")) < 1e-6


def test_the_activation_can_be_chosen_and_is_kept_otherwise():
    model = harness.network(classifier_activation="sigmoid")
    cut = sp.cutout(model, harness.LABELS[:2])
    assert cut.get_layer("categories").classifier_activation == "sigmoid"
    bare = sp.cutout(model, harness.LABELS[:2], classifier_activation=None)
    assert bare.get_layer("categories").classifier_activation is None
    x = harness.images(model)
    assert np.array_equal(harness.predict(bare, x), harness.logits(model, x)[:, :2])


def test_with_activation_takes_plain_networks_too():
    model = sp.build_plain(3, family="resnet18", width=0.125, stem="small", input_shape=(16, 16, 3))
    harness.randomize(model)
    x = harness.images(model)
    bare = sp.with_activation(model, None)
    assert bare.name == model.name
    assert [id(w) for w in bare.weights] == [id(w) for w in model.weights]
    want = harness.softmax(harness.predict(bare, x))
    assert harness.error(harness.predict(model, x), want) < 1e-6
    assert np.array_equal(
        harness.predict(sp.with_activation(bare, "softmax"), x), harness.predict(model, x)
    )


# Shared and own weights.


@pytest.mark.kernels
@pytest.mark.parametrize("tree", [["a", "b", "c"], {"s": ["a", "b"], "c": None}])
def test_weights_are_shared_unless_copied(tree):
    model = harness.build(tree)
    harness.randomize(model)
    x = harness.images(model)
    cut, copied = (sp.cutout(model, ["c", "a"], copy=c) for c in (False, True))
    assert {id(w) for w in cut.weights} <= {id(w) for w in model.weights}
    assert not {id(w) for w in copied.weights} & {id(w) for w in model.weights}
    assert [w.trainable for w in copied.weights] == [w.trainable for w in cut.weights]
    old = harness.logits(copied, x)
    harness.randomize(model, seed=1)
    assert np.array_equal(harness.logits(cut, x), harness.logits(model, x)[:, [2, 0]])
    assert not np.array_equal(harness.logits(cut, x), old)
    assert np.array_equal(harness.logits(copied, x), old)
    before = harness.values(model)
    harness.randomize(copied, seed=2)
    assert harness.same_values(harness.values(model), before)


def test_training_a_shared_cutout_trains_the_source_and_nothing_cut_away():
    model = harness.build(["a", "b", "c"])
    before = {w.path: v for w, v in zip(model.weights, harness.values(model), strict=True)}
    cut, copied = sp.cutout(model, ["a", "c"]), sp.cutout(model, ["a", "c"], copy=True)
    kept = {id(w) for w in cut.weights}
    x = harness.images(model, 4)
    y = np.eye(2, dtype="float32")[[0, 1, 0, 1]]

    def train(net):
        sgd = keras.optimizers.SGD(0.1)
        net.compile(sgd, "categorical_crossentropy", run_eagerly=harness.EAGER)
        net.fit(x, y, batch_size=4, epochs=1, verbose=0)

    train(copied)
    assert harness.same_values(harness.values(model), list(before.values()))
    train(cut)
    for weight, value in zip(model.weights, harness.values(model), strict=True):
        assert np.array_equal(value, before[weight.path]) != (id(weight) in kept)
    x = harness.images(model)
    assert np.array_equal(harness.logits(cut, x), harness.logits(model, x)[:, [0, 2]])


def test_frozen_parts_stay_frozen_in_cutouts(tmp_path):
    model = harness.build(["a", "b", "c"])
    model.get_layer("trunk").trainable = False
    model.get_layer("branch_b").trainable = False
    want = harness.variables_of(model, ["c"]) - harness.variables_of(model, [])
    cut = sp.cutout(model, ["b", "c"])
    assert {id(v) for v in cut.trainable_variables} == want
    for other in (sp.cutout(model, ["b", "c"], copy=True), harness.reload(cut, tmp_path)):
        assert not other.get_layer("trunk").trainable_variables
        assert not other.get_layer("branch_b").trainable_variables
        assert len(other.trainable_variables) == len(want)
        assert sp.cost(other).params == sp.cost(cut).params


def test_many_cutouts_do_not_disturb_the_source(tmp_path):
    model = harness.build(NESTED)
    harness.randomize(model)
    x = harness.images(model)
    config, scores = harness.config_of(model), harness.predict(model, x)
    for i in range(5):
        cut = sp.cutout(model, cut_labels(model)[i:])
        sp.attend(cut, {cut_labels(cut)[0]: 2.0})
        sp.attention_input(model)
    assert harness.config_of(model) == config
    assert np.array_equal(harness.predict(harness.reload(model, tmp_path), x), scores)
    assert np.array_equal(
        harness.predict(harness.reload(cut, tmp_path), x), harness.predict(cut, x)
    )


def test_names_of_cutouts():
    model = harness.network()
    label = harness.LABELS[0]
    first = sp.cutout(model, [label])
    again, once_more = sp.cutout(first, [label]), sp.cutout(model, [label])
    names = [first.name, again.name, once_more.name]
    assert all(re.fullmatch(r"phl_resnet18_cutout(_\d+)?", name) for name in names)
    assert len(set(names)) == 3
    assert sp.cutout(model, [label], name="small", copy=True).name == "small"


# Several networks in one model.


def together(first, second):
    """One model of two networks: an ensemble, or two views of one image."""
    image = keras.Input(first.input_shape[1:])
    return keras.Model(image, [first(image), second(image)])


def test_cutouts_in_one_model_are_saved_with_weights_of_their_own(tmp_path):
    model = harness.network(NESTED)
    x = harness.images(model)
    pets = sp.cutout(model, ["pets"])
    pair = together(pets, sp.cutout(model, ["dog", "ship"], copy=True))
    pair.save(tmp_path / "pair.keras")
    again = keras.models.load_model(tmp_path / "pair.keras")
    for found, wanted in zip(again(x), pair(x), strict=True):
        assert np.array_equal(harness.array(found), harness.array(wanted))
    cut = sp.cutout(again.get_layer(pets.name), ["dog"])  # parts of a model can be cut again
    assert np.array_equal(harness.logits(cut, x), harness.logits(model, x)[:, 1:2])
    twice = keras.Model(pair.inputs, [pets(pair.input), pets(pair.input)])  # one network, twice
    assert len(harness.reload(twice, tmp_path)(x)) == 2


@pytest.mark.parametrize("second", [
    lambda model: sp.cutout(model, ["dog", "ship"]),
    lambda model: sp.cutout(model, ["dog"], name="mine"),
    lambda model: sp.attend(sp.cutout(model, ["pets"]), {"cat": 2.0}),
    lambda model: model,
    lambda model: keras.Sequential([keras.Input(model.input_shape[1:]), sp.cutout(model, ["cat"])]),
])  # fmt: skip
def test_a_model_that_could_not_be_loaded_is_not_saved(second, tmp_path):
    """Keras stores shared weights once, and makes the layers twice when it loads the file."""
    model = harness.network(NESTED)
    pair = together(sp.cutout(model, ["pets"]), second(model))
    assert len(pair(harness.images(model))) == 2  # sharing is fine until it is saved
    said = r"several networks that share layers \(.*trunk.*\).*cutout\(network, .*, copy=True\)"
    with pytest.raises(ValueError, match=said):
        pair.save(tmp_path / "pair.keras")
    keras.Model.from_config(pair.get_config())


# Errors.


@pytest.mark.parametrize("function", [
    lambda model: sp.cutout(model, ["cat"]),
    lambda model: sp.with_activation(model, None),
    lambda model: sp.attend(model, {"cat": 1}),
    sp.attention_input,
    sp.gain_names,
    sp.cost,
])  # fmt: skip
def test_other_things_than_networks_of_this_package_are_refused(function):
    inputs = keras.Input((4,))
    other = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="other")
    for bad in (None, "net.keras", np.zeros(3), keras.layers.Dense(2)):
        with pytest.raises(TypeError, match=r"Expected a keras\.Model, got "):
            function(bad)
    for bad in (other, keras.Sequential([keras.layers.Dense(2)], name="other")):
        with pytest.raises(ValueError, match=r"'other' is no SeqPar network: it does not end in"):
            function(bad)


@pytest.mark.parametrize("function", [
    lambda model: sp.attend(model, {"0": 1}),
    sp.attention_input,
    sp.gain_names,
])  # fmt: skip
def test_plain_networks_cannot_be_attended(function):
    plain = sp.build_plain(2, family="resnet18", width=0.125, input_shape=(32, 32, 3))
    text = "'plain_resnet18' is a plain network: its categories share all layers, so it has no"
    with pytest.raises(ValueError, match=text):
        function(plain)


def test_the_classifier_of_a_plain_network_is_cut(capsys, tmp_path):
    labels = ["cat", "dog", "car"]
    plain = sp.build_plain(labels, family="resnet18", width=0.125, input_shape=(32, 32, 3))
    harness.randomize(plain)
    plain = sp.with_threshold(plain, Threshold(0.5))
    x = harness.images(plain)
    want = harness.logits(plain, x)
    cut = sp.cutout(plain, ["car", "cat"])
    assert "only its classifier got smaller, by 65 of" in capsys.readouterr().err
    assert harness.error(harness.logits(cut, x), want[:, [2, 0]]) < 1e-6
    assert cut.get_layer("trunk") is plain.get_layer("trunk")
    parts = find_parts(cut, allow_plain=True)
    assert parts.hierarchy.categories == ("car", "cat") and parts.threshold is None
    assert sp.cost(plain).params - sp.cost(cut).params == 65
    harness.check_network(cut, tmp_path, gradient=False)
    again = sp.cutout(sp.cutout(cut, ["cat"]), ["cat"], classifier_activation=None)
    assert harness.error(harness.array(again(x)), want[:, :1]) < 1e-6
    assert find_parts(sp.cutout(plain, labels), allow_plain=True).threshold is not None
    with pytest.raises(ValueError, match="Unknown .*'bird'"):
        sp.cutout(plain, ["bird"])


def test_bad_choices_are_refused():
    model = harness.network(NESTED)
    for names, kind, text in (
        ([], ValueError, "Choose at least one category. Valid: cat, dog, car, bus, ship, tree."),
        (["cats"], ValueError, "Unknown category or superclass 'cats'. Did you mean 'cat'? Valid"),
        (["cat", "pets"], ValueError, "The category 'cat' is chosen twice (last by 'pets')."),
        ("cat", TypeError, "categories must be a sequence of names, got 'cat'. Write ['cat']"),
        (None, TypeError, "categories must be a sequence of names, got None."),
        ({"cat"}, TypeError, "A set has no order"),
    ):
        with pytest.raises(kind) as e:
            sp.cutout(model, names)
        assert str(e.value).startswith(text)
    with pytest.raises(ValueError, match="sofmax"):
        sp.cutout(model, ["cat"], classifier_activation="sofmax")


@pytest.mark.parametrize("content", [b"", b"not a model", "truncated"])
def test_a_broken_file_is_refused(content, tmp_path):
    path = tmp_path / "model.keras"
    if content == "truncated":
        harness.network().save(path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    with pytest.raises((ValueError, OSError)) as e:
        keras.models.load_model(path)
    assert str(path) in str(e.value)
