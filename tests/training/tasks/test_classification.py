"""Classification: networks, frozen trunks, initial weights, precision, teachers, refusals."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from keras_seqpar.data import loading
from keras_seqpar.data.datasets import Split
from keras_seqpar.networks.graph import leaf_layers
from keras_seqpar.training import loop
from keras_seqpar.training.flags import parse_train_flags
from keras_seqpar.training.tasks import networks
from keras_seqpar.training.tasks.distillation import Trainer
from keras_seqpar.training.tasks.metrics import Accuracy, BalancedAccuracy
from keras_seqpar.weights import named_weights
from tests import harness
from tests.training.runner import (
    SIZE,
    history_of,
    refused,
    simple,
    train,
    trunk_of,
    weights_of,
    write_images,
)

pytestmark = pytest.mark.usefixtures("eagerly")


def test_initial_weights_of_another_network(finished, images, tmp_path, capsys):
    source = f"--init={finished / 'best.keras'}"
    arguments = simple(images, tmp_path / "run", "--network=plain", source)
    arguments.remove("--plan=tiny")  # a plain network has none
    assert "best.keras" in refused(arguments)  # the source has a part of the trunk only
    capsys.readouterr()
    train([*arguments, "--partial_init", "--overwrite"])
    assert "do NOT fit and keep their values: " in capsys.readouterr().out


@pytest.mark.only_backend("tensorflow")
def test_branches_that_begin_as_parts_of_a_plain_network(tmp_path):
    path = tmp_path / "plain.keras"
    more = ("--family=efficientnet_lite0", "--width=0.25", "--plan=late_sp")
    arguments = simple(tmp_path, tmp_path / "run", *more, f"--init=plain:{path}")
    config, _ = parse_train_flags(arguments)
    options = {"image_size": 64, "seed": 0, "classifier_activation": None}
    network = networks.build(config.network, ("bright", "dark"), **options)
    plain = dataclasses.replace(config.network, network="plain")
    networks.build(plain, ("dark", "bright"), **{**options, "seed": 1}).save(path)
    pixels = np.random.default_rng(0).integers(0, 255, (12, 80, 80, 3), "uint8")
    split = Split(("",) * 12, np.zeros(12, "int64"), lambda rows: pixels[rows])
    networks.start_from_plain(network, config.network, split, seed=0)
    fused = dataclasses.replace(config.network, fused=True)
    banks = networks.build(fused, ("bright", "dark"), **options)
    networks.start_from_plain(banks, fused, split, seed=0)
    x = pixels[:2, :64, :64].astype("float32")
    assert harness.error(harness.predict(banks, x), harness.predict(network, x)) < 1e-5
    loaded = keras.models.load_model(path)
    have, found = (named_weights(x.get_layer("trunk")) for x in (loaded, network))
    for name, weight in found.items():
        np.testing.assert_array_equal(harness.array(weight), harness.array(have[name]))
    some = networks.build(config.network, ("dark",), **options)
    networks.start_from_plain(some, config.network, split, seed=0)
    assert some.output_shape == (None, 1)
    other = networks.build(config.network, ("dark", "green"), **options)
    with pytest.raises(ValueError, match="does not know green; it was trained on dark, bright"):
        networks.start_from_plain(other, config.network, split, seed=0)
    with pytest.raises(ValueError, match="fills branches, but --network plain has none"):
        networks.start_from_plain(network, plain, split, seed=0)


@pytest.mark.parametrize("form", [("--network=plain", "--plan="), ("--fused",)])
def test_networks_in_mixed_precision_are_saved_in_float32(
    form, images, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(loop, "TELL_EVERY", 0.0)
    folder = tmp_path / "run"
    more = (*form, "--mixed_precision=bfloat16", "--optimizer=sgd", "--crop_scale=1")
    train(simple(images, folder, *more))
    printed = capsys.readouterr().out
    assert "2 steps an epoch, of which the first one compiles." in printed
    assert "Step 2 of 2 of the epoch, after " in printed
    network = keras.models.load_model(folder / "last.keras")
    assert keras.config.dtype_policy().name == "float32"
    for layer in leaf_layers(network):
        assert layer.dtype_policy.name == "float32"
    with np.load(folder / "checkpoint.npz") as file:
        assert {file[name].dtype.name for name in file.files} <= {
            *("float32", "int32", "int64", "uint8", "uint32")
        }


def test_a_nested_network(images, tmp_path, capsys):
    (tmp_path / "tree.json").write_text('{"things": ["dark", "bright"]}')
    more = (f"--hierarchy={tmp_path / 'tree.json'}", "--plan=late_sp", "--family=resnet50")
    config, _ = parse_train_flags(simple(images, tmp_path, *more))
    build = functools.partial(
        networks.build, config.network, image_size=SIZE, seed=0, classifier_activation=None
    )
    network = build(("bright", "dark"))
    assert network.get_layer("branch_things")
    assert network.get_layer("categories").hierarchy.categories == ("bright", "dark")
    with pytest.raises(ValueError, match=r"In the data: cat, dog\."):
        build(("cat", "dog"))


def test_a_loss_that_becomes_infinite_ends_the_run(images, tmp_path, capsys):
    folder = tmp_path / "run"
    error = refused(simple(images, folder, "--optimizer=sgd", "--learning_rate=1e30"))
    assert "infinite or NaN in epoch 1" in error
    assert "1e+30" in error
    assert not (folder / "checkpoint.npz").exists()


def test_some_categories_alone(images, tmp_path, capsys):
    for label in ("gray", "white"):
        for split in ("train", "validation"):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for path in (images / split / "dark").iterdir():
                (tmp_path / "data" / split / label / path.name).write_bytes(path.read_bytes())
    for split in ("train", "validation"):
        (tmp_path / "data" / split / "dark").symlink_to(images / split / "dark")
    arguments = simple(tmp_path / "data", tmp_path / "run", "--categories=white,dark")
    train(arguments)
    assert "2 categories, 20 images to train on, 6 to validate on" in capsys.readouterr().out
    network = keras.models.load_model(tmp_path / "run" / "last.keras")
    assert network.get_layer("categories").hierarchy.categories == ("white", "dark")
    assert "Unknown category 'whit'. Did you mean 'white'?" in refused(
        simple(tmp_path / "data", tmp_path / "x", "--categories=whit,dark")
    )


def test_a_run_with_a_teacher(finished, images, tmp_path):
    more = (f"--teacher={finished / 'best.keras'}", "--distillation=0.3")
    train(simple(images, tmp_path / "run", "--mixup=0.2", *more))
    (tmp_path / "run" / "checkpoint.npz").unlink()
    train([f"--output={tmp_path / 'run'}", "--resume"])  # from the beginning
    trunk = {name for name in named_weights(trunk_of(finished))}
    assert trunk < set(weights_of(tmp_path / "run" / "last.keras"))  # without the teacher


def test_unbalanced_categories(tmp_path, monkeypatch, capsys):
    images = write_images(tmp_path / "images", dark=2)
    fits = []
    fit = keras.Model.fit
    monkeypatch.setattr(
        keras.Model, "fit", lambda self, *a, **named: fits.append(named) or fit(self, *a, **named)
    )
    train(simple(images, tmp_path / "plain"))
    printed = capsys.readouterr().out
    assert "The training images are unbalanced: 10 of bright, 2 of dark." in printed
    assert "validation images are unbalanced" not in printed
    more = ("--class_weight=balanced", "--best_by=balanced_accuracy", "--epochs=2")
    done = train(simple(images, tmp_path / "weighted", *more))
    assert [one["class_weight"] for one in fits] == [None, {0: 12 / 20, 1: 12 / 4}]
    assert done.best_by == "balanced_accuracy"
    for line in history_of(tmp_path / "weighted"):
        assert 0 <= line["val_balanced_accuracy"] <= 1
        # 3 validation images of each category: both accuracies are the same share of 6
        assert line["val_balanced_accuracy"] == pytest.approx(line["val_accuracy"], abs=1e-5)
    network = keras.models.load_model(tmp_path / "weighted" / "best.keras")
    split = loading.load(f"folder:{images}", image_size=SIZE).validation
    predicted = network.predict(split.read(range(6)), verbose=0).argmax(-1)
    right = [np.mean(predicted[split.labels == i] == i) for i in range(2)]
    assert done.missed == [name for name, r in zip(("bright", "dark"), right, strict=True) if not r]
    assert done.best["val_balanced_accuracy"] == pytest.approx(np.mean(right))


def test_class_weights_weigh_the_loss_and_not_the_accuracies():
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    y = np.eye(2, dtype="float32")[[0] * 6 + [1] * 2]
    rows = np.zeros((8, 1), "float32")
    inputs = [keras.Input((3,)), keras.Input((1,))]
    dense = keras.layers.Dense(2)
    trainer = Trainer(inputs, dense(inputs[0]))
    trainer.compile(
        keras.optimizers.SGD(0.0),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=[Accuracy(2), BalancedAccuracy(2)],
    )
    weights = {0: 8 / 12, 1: 8 / 4}
    found = trainer.fit([x, rows], y, batch_size=8, class_weight=weights, verbose=0).history
    logits = keras.ops.convert_to_numpy(dense(x))
    each = -np.log(harness.softmax(logits)[np.arange(8), y.argmax(-1)])
    expected = np.mean(each * np.array([weights[i] for i in y.argmax(-1)]))
    assert found["loss"][0] == pytest.approx(expected, rel=1e-5)
    right = logits.argmax(-1) == y.argmax(-1)
    assert found["accuracy"][0] == pytest.approx(right.mean())
    balanced = np.mean([right[:6].mean(), right[6:].mean()])
    assert found["balanced_accuracy"][0] == pytest.approx(balanced)


def test_too_few_images_and_too_few_categories(images, tmp_path, capsys):
    assert "20 training images, fewer than one batch of 32" in refused(
        simple(images, tmp_path / "a", "--batch_size=32")
    )
    for split in ("train", "validation"):
        (tmp_path / "one" / split).mkdir(parents=True)
        (tmp_path / "one" / split / "dark").symlink_to(images / split / "dark")
    assert "has the category 'dark' only" in refused(simple(tmp_path / "one", tmp_path / "b"))
