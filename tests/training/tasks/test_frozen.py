"""A frozen start: views, features, teachers, and runs that begin with one."""

import io

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar.data import loading
from keras_seqpar.data.augmentation import Augment, Policy
from keras_seqpar.data.batches import TrainingBatches
from keras_seqpar.data.datasets import Split
from keras_seqpar.training.config import TrunkConfig
from keras_seqpar.training.tasks import frozen
from keras_seqpar.training.tasks.distillation import Teacher
from tests import harness
from tests.training.runner import (
    SIZE,
    history_of,
    refused,
    simple,
    train,
    weights_of,
)

LABELS = harness.LABELS[:4]
POLICY = Policy(flip=True, crop_scale=0.5, randaugment=5.0, mixup=0.2, cutmix=1.0)


def some_images(count=5, size=20):
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype("uint8")
    names = tuple(map(str, range(count)))
    return Split(names, np.arange(count, dtype="int32") % 4, pixels)


def test_the_first_views_are_the_whole_image_and_its_mirror_image():
    images = some_images(size=SIZE).pixels

    def view(number, policy=POLICY):
        rows, equalized = frozen.view_rows(number, 5, policy, stored=SIZE, size=SIZE)
        assert rows.shape == (5, policy.columns) and rows.dtype == "float32"
        made = harness.array(Augment(policy, SIZE)(images, rows, training=True))
        return np.where(equalized[:, None, None, None], np.nan, made)

    np.testing.assert_allclose(view(0), images, atol=1e-3)
    np.testing.assert_allclose(view(1), images[:, :, ::-1], atol=1e-3)
    assert not np.allclose(view(2), view(3), equal_nan=True)
    np.testing.assert_array_equal(view(3), view(3))
    unmirrored = view(1, Policy(crop_scale=0.5))
    assert not np.allclose(unmirrored, images[:, :, ::-1], atol=1)


def plain(labels, **options):
    """A very small plain network."""
    shape = (SIZE, SIZE, 3)
    return sp.build_plain(
        labels, family="resnet18", input_shape=shape, stem="small", width=0.125, **options
    )


@pytest.mark.parametrize(
    ("build", "end"),
    [(harness.build, None), (plain, None), (harness.build, "stem"), (plain, "stage2")],
)
def test_features_and_a_teachers_logits_are_those_of_each_view(build, end):
    options = {"include_preprocessing": True, "classifier_activation": None}
    network = build(LABELS, **options)
    harness.randomize(network)
    halves = frozen.Halves.of(network, end)
    teacher = Teacher(harness.build(LABELS, include_preprocessing=True, seed=5), LABELS)
    split, policy = some_images(), Policy(flip=True, crop_scale=0.5)
    made = frozen.Features(halves.trunk, policy, SIZE, teacher)
    features, taught = made.of_views(split, 3, "Features")
    assert features.dtype == "float16" and features.shape[:2] == (3, 5)
    for view in range(3):
        rows, _ = frozen.view_rows(view, 5, policy, stored=20, size=SIZE)
        augmented = Augment(policy, SIZE)(split.pixels, rows, training=True)
        expected = harness.array(network(augmented, training=False))
        found = harness.array(halves.head(np.float32(features[view]), training=False))
        assert harness.error(found, expected) < 5e-3  # of float16
        expected = harness.array(teacher(augmented, training=True))
        assert harness.error(taught[view], expected) < 1e-5
    batches = frozen.ViewBatches(
        split, features, taught, categories=4, image_size=SIZE, batch_size=5, seed=3
    )
    seen = []
    for epoch in range(3):
        batches.begin(epoch)
        (x, logits), _ = batches[0]
        for i, index in enumerate(batches.order):
            (view,) = (v for v in range(3) if np.array_equal(x[i], features[v, index]))
            np.testing.assert_array_equal(logits[i], taught[view, index])
            seen.append((index, view))
    assert len(set(seen)) == 15  # each image in each of its views


def test_the_frozen_part_of_a_trunk_ends_where_all_features_go_through():
    network = plain(LABELS)
    trunk = network.get_layer("trunk")
    assert frozen.find_end(trunk, "stage1").name == "stage1_block2_relu"
    whole = [frozen.Halves.of(network, end).trunk for end in (None, "")]
    assert whole[0].output is whole[1].output  # as in --frozen_end= beside a setting
    halves = frozen.Halves.of(network, "stage1_block1_relu")
    first = {v.path for v in halves.trunk.weights}
    assert first and not any("stage1_block2" in path or "stage2" in path for path in first)
    assert {v.path for v in halves.head.weights} == {v.path for v in network.weights} - first
    for name in ("stage1_block1_conv1", "stage9", "stage1_block"):
        with pytest.raises(ValueError, match=f"layer for --frozen_end '{name}'.*Valid: .*stage1, "):
            frozen.find_end(trunk, name)


def test_features_that_need_too_much_memory():
    trunk = harness.build(LABELS).get_layer("trunk")
    each = 2 * np.prod(trunk.output.shape[1:])
    config = TrunkConfig(1, 4, 0.1, frozen_memory=each * 300 / 2**30, trunk_rate=1.0)
    frozen.check_memory(config, trunk, 70, 20)
    with pytest.raises(ValueError, match=f"need {each * 420:,} bytes") as error:
        frozen.check_memory(config, trunk, 100, 20)
    assert "at most --frozen_views 2, --frozen_memory 1, or --frozen_views 0" in str(error.value)
    with pytest.raises(ValueError, match=r"Give --frozen_memory 1, or"):
        frozen.check_memory(config, trunk, 1000, 20)


def test_features_that_float16_cannot_hold():
    inputs = keras.Input((SIZE, SIZE, 3))
    trunk = keras.Model(inputs, 1000 * inputs)
    with pytest.raises(ValueError, match="too large for float16. Give --frozen_views 0"):
        frozen.Features(trunk, Policy(), SIZE, None).of_views(some_images(), 1, "")


def test_kept_features_serve_the_same_trunk_images_and_views_only(tmp_path, capsys):
    split, policy = some_images(), Policy(flip=True, crop_scale=0.5)

    def features(trunk, views=2, contents="these", policy=policy, teacher=None, split=split):
        made = frozen.Features(trunk, policy, SIZE, teacher, tmp_path / "kept")
        found = made.of_views(split, views, "Features", contents)
        return found, capsys.readouterr().out.count("read from")

    network = harness.build(LABELS, include_preprocessing=True)
    trunk = network.get_layer("trunk")
    (first, _), read = features(trunk)
    assert read == 0
    (again, _), read = features(trunk, views=3)  # one more
    assert read == 2
    np.testing.assert_array_equal(again[:2], first)
    rebuilt = harness.build(LABELS[:2], include_preprocessing=True).get_layer("trunk")
    assert features(rebuilt)[1] == 2  # layers of other names, as in another process
    for other in (
        {"contents": "those"},
        {"split": Split(tuple("abcde"), split.labels, split.pixels)},  # of as many images
        {"policy": Policy(crop_scale=0.5)},
        {"teacher": Teacher(network, LABELS)},
        {"teacher": Teacher(network, LABELS[::-1])},
        {"trunk": harness.build(LABELS, include_preprocessing=True, seed=9).get_layer("trunk")},
    ):
        assert features(**({"trunk": trunk} | other))[1] == 0
    views = list((tmp_path / "kept").glob("*/view001.npz"))
    whole = views[0].read_bytes()
    for content in (whole[:300], b"", *map(saved, ({"x": 1}, {"features": np.ones(3)}, 1))):
        for path in views:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=r"view001.npz is damaged: .* Delete it"):
            features(trunk)


def saved(arrays):
    """The bytes that NumPy writes for arrays by name, or for one array."""
    file = io.BytesIO()
    np.savez(file, **arrays) if isinstance(arrays, dict) else np.save(file, arrays)
    return file.getvalue()


def test_a_folder_for_features_that_cannot_be_written_is_refused_first(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    trunk = harness.build(LABELS, include_preprocessing=True).get_layer("trunk")
    made = frozen.Features(trunk, Policy(), SIZE, None, tmp_path / "file")
    monkeypatch.setattr(frozen, "predict", None)
    with pytest.raises(OSError, match="file cannot be written"):
        made.of_views(some_images(), 1, "Features")


def test_only_what_stands_behind_the_trunk_learns(finished, images, tmp_path, capsys):
    """With stored features and without: they are those of the images as they are."""
    common = [f"--init={finished / 'best.keras'}", "--noflip", "--crop_scale=1"]
    common += ["--frozen_epochs=2", "--frozen_rate=0.01", "--epochs=0", "--optimizer=sgd"]
    before = weights_of(finished / "best.keras")
    after = []
    for views in (1, 0):
        folder = tmp_path / str(views)
        keep = [f"--features_dir={tmp_path / 'kept'}"] if views else []
        train(simple(images, folder, *common, f"--frozen_views={views}", *keep))
        after.append(weights_of(folder / "last.keras"))
        for name, value in before.items():  # moving statistics of the trunk included
            assert np.array_equal(value, after[-1][name]) != name.startswith(("bright", "dark"))
        assert history_of(folder)[0]["learning_rate"] == pytest.approx(0.01, rel=0.3)
    for name, value in after[0].items():
        np.testing.assert_allclose(value, after[1][name], rtol=1e-2, atol=2e-3, err_msg=name)
    capsys.readouterr()
    common += [f"--features_dir={tmp_path / 'kept'}", "--seed=5"]
    train(simple(images, tmp_path / "2", *common, "--frozen_views=1"))
    assert capsys.readouterr().out.count("read from") == 2


@pytest.mark.usefixtures("eagerly")
def test_the_rest_of_a_trunk_learns_with_the_branches(finished, images, tmp_path):
    """Behind --frozen_end, at --trunk_rate; with stored features and without."""
    before = weights_of(finished / "best.keras")
    common = [f"--init={finished / 'best.keras'}", "--noflip", "--crop_scale=1", "--optimizer=sgd"]
    common += ["--frozen_epochs=1", "--frozen_end=stem", "--frozen_rate=0.01", "--epochs=0"]
    moved = []
    for views, rate in ((1, 1), (0, 0.1)):
        folder = tmp_path / str(views)
        train(simple(images, folder, *common, f"--frozen_views={views}", f"--trunk_rate={rate}"))
        after = weights_of(folder / "last.keras")
        for name, value in after.items():  # moving statistics included
            assert np.array_equal(value, before[name]) == name.startswith("stem"), name
        kernels = [n for n in before if n.startswith("stage1") and n.endswith("kernel")]
        moved.append(np.mean([np.abs(after[name] - before[name]).mean() for name in kernels]))
    assert 5 < moved[0] / moved[1] < 20


def loss_of(path, images):
    """The cross-entropy of a network on the validation images."""
    split = loading.load(f"folder:{images}", image_size=SIZE).validation
    scores = keras.models.load_model(path).predict(split.read(range(6)), verbose=0)
    return -np.log(scores[np.arange(6), split.labels]).mean()


class Killed(Exception):
    """A run is over."""


@pytest.mark.usefixtures("eagerly")
def test_a_run_with_everything_resumes_to_the_same_weights(
    finished, images, tmp_path, monkeypatch, capsys
):
    """Killed in the frozen start and in the epochs of the whole network, between checkpoints."""
    more = ["--frozen_epochs=1", "--frozen_views=3", "--trunk_rate=0.1", "--mixup=0.2"]
    more += [
        *("--ema=0.5", "--checkpoint_steps=1", "--frozen_end=stem"),
        f"--init={finished / 'best.keras'}",
        f"--teacher={finished / 'last.keras'}",
    ]
    train(simple(images, tmp_path / "whole", *more))
    assert capsys.readouterr().out.count("Computing the trunk's features") == 1
    get, kills = TrainingBatches.__getitem__, [(0, 1), (1, 1)]

    def killed(self, step):
        if kills and (self.epoch, step) == kills[0]:
            kills.pop(0)
            raise Killed("Killed")
        return get(self, step)

    monkeypatch.setattr(TrainingBatches, "__getitem__", killed)
    folder = tmp_path / "killed"
    arguments = simple(images, folder, *more)
    while kills:
        with pytest.raises(Exception, match="Killed"):  # TensorFlow's own, from the second step on
            train(arguments)
        arguments = [f"--output={folder}", "--resume"]
    capsys.readouterr()
    train(arguments)
    assert "Computing" not in capsys.readouterr().out  # the frozen start is over

    lines = [history_of(tmp_path / name) for name in ("whole", "killed")]
    assert len(lines[0]) == 2
    for one, other in zip(*lines, strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    for name in ("last.keras", "best.keras"):
        one, other = weights_of(tmp_path / "whole" / name), weights_of(folder / name)
        for key in one:
            np.testing.assert_allclose(other[key], one[key], rtol=1e-5, atol=1e-6, err_msg=key)
    # what is validated and saved are the averages, not the weights of the last step
    assert loss_of(folder / "last.keras", images) == pytest.approx(
        lines[1][-1]["val_loss"], rel=1e-3
    )
    with np.load(folder / "checkpoint.npz") as file:
        stored = [file[key] for key in file.files if key.endswith(" kernel")]
    saved = [value for key, value in weights_of(folder / "last.keras").items() if "kernel" in key]
    assert len(saved) <= len(stored)  # those of the teacher may follow
    for a, b in zip(saved, stored, strict=False):
        assert not np.array_equal(a, b)
        np.testing.assert_allclose(a, b, atol=0.1)


def test_a_frozen_start_that_makes_no_sense(finished, images, tmp_path):
    def words(*more):
        return refused(simple(images, tmp_path / "run", *more))

    init = f"--init={finished / 'best.keras'}"
    assert "--frozen_epochs needs a trained trunk: --init" in words("--frozen_epochs=1")
    assert "needs a whole trunk" in words("--frozen_epochs=1", init, "--partial_init")
    same = words("--frozen_epochs=1", init, "--flip", "--crop_scale=1")
    assert "an image has 2 different view(s): give --frozen_views 2, it was 4" in same
    assert "Nothing to train: give --epochs" in words("--epochs=0")
    assert "says where the frozen part" in words(init, "--frozen_end=stem")
    assert "--frozen_memory 1" in words("--frozen_epochs=1", init, "--frozen_memory=1e-9")
