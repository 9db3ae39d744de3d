"""The training loop: what it writes, what it refuses, and that a killed run ends as any other."""

import csv
import errno
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_seqpar as sp
from keras_seqpar import data
from keras_seqpar.networks.loading import load_network
from keras_seqpar.weights import named_weights

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "recipes"
sys.path.insert(0, str(RECIPES))
pytest.importorskip("absl")
Image = pytest.importorskip("PIL.Image")

import augment  # noqa: E402
import batches  # noqa: E402
import run_folder  # noqa: E402
import settings  # noqa: E402
import train  # noqa: E402
import trainer  # noqa: E402

CATEGORIES = {"bright": 170, "dark": 80}
SIZE = 16

# A plan of one trunk block and branches of one block, so that compiling takes little time.
TINY = """
from keras_seqpar.families import base, resnet
resnet.BASIC_PLANS["tiny"] = (
    base.Plan(trunk=(1,), levels=((base.Stage(64, 1, 2),),)),
)
"""


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    exec(TINY)  # subprocesses run the same lines
    yield
    from keras_seqpar.families import resnet

    del resnet.BASIC_PLANS["tiny"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of noisy images of two categories: 2 x 10 to train on, 2 x 3 to validate on."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("validation", 3)):
        for name, mean in CATEGORIES.items():
            path = folder / split / name
            path.mkdir(parents=True)
            for i in range(count):
                noise = rng.normal(mean, 60, (20, 24, 3)).clip(0, 255).astype("uint8")
                Image.fromarray(noise).save(path / f"{i}.png")
    return folder


def flags(images, output, *more):
    """A small run with everything random in it."""
    return [
        *(f"--dataset=folder:{images}", f"--output={output}", f"--image_size={SIZE}"),
        *("--width=0.125", "--epochs=3", "--batch_size=8", "--plan=tiny", "--seed=7"),
        *("--randaugment=5", "--mixup=0.2", "--cutmix=1", "--drop_path_rate=0.2"),
        *("--label_smoothing=0.1", *more),
    ]


def simple(images, output, *more):
    """A small run of one epoch."""
    return [
        *(f"--dataset=folder:{images}", f"--output={output}", f"--image_size={SIZE}"),
        *("--width=0.125", "--epochs=1", "--batch_size=8", "--plan=tiny", *more),
    ]


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train.main(flags(images, folder)) == 0
    return folder


def weights_of(path):
    """The weights in a `.keras` file, by name."""
    network = keras.models.load_model(path)
    return {name: ops.convert_to_numpy(v) for name, v in named_weights(network).items()}


def history_of(folder):
    """history.csv without the times."""
    with open(folder / "history.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return [{k: float(v) for k, v in line.items() if k != "seconds"} for line in lines]


# The run folder


def test_a_run_leaves_all_its_files(finished, images):
    made = {path.name for path in finished.iterdir()}
    assert made - {"curves.png", "tensorboard"} == {
        *("flags.json", "checkpoint.npz", "best.keras", "last.keras", "history.csv")
    }
    about = json.loads((finished / "flags.json").read_text())
    assert about["categories"] == ["bright", "dark"]
    assert about["images"] == {"train": 20, "validation": 6}
    assert about["backend"] == keras.backend.backend()
    assert about["versions"]["keras"] == keras.__version__
    assert about["flags"]["stem"] == "small"  # resolved
    assert about["flags"]["learning_rate"] == 0.002
    history = history_of(finished)
    assert [line["epoch"] for line in history] == [1, 2, 3]
    assert np.isfinite([list(line.values()) for line in history]).all()
    assert history[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)


def test_saved_networks_are_ready_for_use(finished, images):
    for name in ("best.keras", "last.keras"):
        network = keras.models.load_model(finished / name)
        assert not network.compiled
        assert network.get_layer("categories").classifier_activation == "softmax"
        split = data.load(f"folder:{images}", image_size=SIZE).validation
        scores = network.predict(split.read(range(6)), verbose=0)  # pixels of 0 to 255
        np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-6)
        assert sp.cutout(network, ["dark"]).output_shape == (None, 1)


def test_best_is_the_epoch_of_the_highest_validation_accuracy(finished, images):
    network = keras.models.load_model(finished / "best.keras")
    split = data.load(f"folder:{images}", image_size=SIZE).validation
    said = network.predict(split.read(range(6)), verbose=0).argmax(-1)
    best = max(line["val_accuracy"] for line in history_of(finished))
    assert np.mean(said == split.labels) == pytest.approx(best)


def test_tensorboard_can_read_its_logs(finished):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    read = []
    for path in (finished / "tensorboard").iterdir():
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                read.append((event.step, value.tag))
    assert {(3, "val_accuracy"), (1, "loss"), (2, "learning_rate")} <= set(read)


# Kill and resume

KILLED_IN_AN_EPOCH = """
import os, signal, sys
import batches, train

get = batches.TrainingBatches.__getitem__

def killed(self, step):
    if self.epoch == 1 and step == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return get(self, step)

batches.TrainingBatches.__getitem__ = killed
train.main(sys.argv[1:])
"""

KILLED_WHILE_SAVING = """
import os, signal, sys
import numpy, train

savez = numpy.savez

def killed(path, **arrays):
    savez(path, **arrays)
    if b'"epoch": 2' in arrays["meta"].tobytes():
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

numpy.savez = killed
train.main(sys.argv[1:])
"""


def killed(script, arguments):
    """Runs a script that kills its own process."""
    path = os.pathsep.join([str(RECIPES), str(RECIPES.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": keras.backend.backend()}
    command = [sys.executable, "-c", TINY + script, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def test_a_killed_run_resumes_to_the_same_weights(finished, images, tmp_path):
    folder = tmp_path / "killed"
    killed(KILLED_IN_AN_EPOCH, flags(images, folder))
    assert len(history_of(folder)) == 1
    killed(KILLED_WHILE_SAVING, [f"--output={folder}", "--resume"])
    assert len(history_of(folder)) == 1  # the checkpoint of epoch 1 is still the one in force
    assert train.main([f"--output={folder}", "--resume"]) == 0

    assert not [path for path in folder.iterdir() if ".tmp" in path.name]
    for name in ("last.keras", "best.keras"):
        one, other = weights_of(finished / name), weights_of(folder / name)
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_allclose(other[key], one[key], rtol=1e-6, atol=1e-7)
    for one, other in zip(history_of(finished), history_of(folder), strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    with np.load(finished / "checkpoint.npz") as one, np.load(folder / "checkpoint.npz") as other:
        assert one.files == other.files
        for key in set(one.files) - {"meta"}:
            np.testing.assert_allclose(other[key], one[key], rtol=1e-6, atol=1e-7)


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(finished, capsys):
    before = weights_of(finished / "last.keras")
    assert train.main([f"--output={finished}", "--resume"]) == 0
    assert "Validation top-1" in capsys.readouterr().out
    after = weights_of(finished / "last.keras")
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_resuming_as_another_run_shows_the_difference(finished, images, capsys):
    arguments = [f"--output={finished}", "--resume", "--epochs=5", "--optimizer=sgd"]
    assert train.main(arguments) == 1
    error = capsys.readouterr().err
    assert "--epochs: 3 there, 5 now" in error
    assert "--optimizer: adamw there, sgd now" in error
    assert "--width" not in error


def test_resuming_with_other_data_shows_the_difference(finished, images, tmp_path, capsys):
    about = json.loads((finished / "flags.json").read_text())
    about["categories"] = ["bright", "gray"]
    about["backend"] = "another"
    (tmp_path / "flags.json").write_text(json.dumps(about))
    assert train.main([f"--output={tmp_path}", "--resume"]) == 1
    error = capsys.readouterr().err
    assert "categories: ['bright', 'gray'] there, ['bright', 'dark'] now" in error
    assert "backend: another there" in error


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "flags.json").unlink(), "There is no run to resume in"),
        (lambda folder: (folder / "flags.json").write_text("{"), "is no flags file of a run"),
        (lambda folder: (folder / "flags.json").write_text("[]"), "is no flags file of a run"),
        (lambda folder: os.truncate(folder / "checkpoint.npz", 5000), "is no readable checkpoint"),
        (
            lambda folder: np.savez(folder / "checkpoint.npz", a=np.zeros(3)),
            "is no readable checkpoint",
        ),
        (
            lambda folder: np.savez(
                folder / "checkpoint.npz", meta=np.frombuffer(b'{"history": [{}]}', "uint8")
            ),
            "is the checkpoint of another network",
        ),
    ],
)
def test_damaged_run_folders(finished, tmp_path, capsys, damage, words):
    for name in ("flags.json", "checkpoint.npz"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    damage(tmp_path)
    assert train.main([f"--output={tmp_path}", "--resume"]) == 1
    assert words in capsys.readouterr().err


def test_a_full_disk_leaves_the_checkpoint_before(images, tmp_path, monkeypatch, capsys):
    savez = np.savez

    def full(path, **arrays):
        if b'"epoch": 2' in arrays["meta"].tobytes():
            path.write_bytes(b"PK")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        savez(path, **arrays)

    monkeypatch.setattr(np, "savez", full)
    folder = tmp_path / "run"
    assert train.main(simple(images, folder, "--epochs=2")) == 1
    assert "No space left on device" in capsys.readouterr().err
    with np.load(folder / "checkpoint.npz") as file:
        assert len(json.loads(file["meta"].tobytes())["history"]) == 1
    assert not [path for path in folder.iterdir() if ".tmp" in path.name]
    monkeypatch.undo()
    assert train.main([f"--output={folder}", "--resume"]) == 0


def test_a_folder_in_use_is_not_written_to(finished, images, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.iterdir()}
    assert train.main(flags(images, finished)) == 1
    error = capsys.readouterr().err
    assert "is not empty" in error
    assert "--resume" in error
    assert "--overwrite" in error
    assert {path: path.stat().st_mtime_ns for path in finished.iterdir()} == before
    (tmp_path / "file").touch()
    assert train.main(flags(images, tmp_path / "file")) == 1
    assert "is a file" in capsys.readouterr().err


def test_overwriting_removes_the_files_of_the_run_and_no_others(tmp_path):
    (tmp_path / "tensorboard").mkdir()
    for name in ("tensorboard/events", "best.keras", "notes.txt"):
        (tmp_path / name).touch()
    run_folder.start(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


# Other ways to train


def test_a_frozen_trunk_stays_as_it_was(finished, images, tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = ["--freeze_trunk", f"--init={finished / 'best.keras'}", "--learning_rate=0.01"]
    assert train.main(simple(images, folder, *arguments)) == 0
    said = capsys.readouterr().out
    assert "Filled" in said and "Left as they are" not in said
    before, after = weights_of(finished / "best.keras"), weights_of(folder / "last.keras")
    trunk = {name for name in named_weights(_trunk(finished))}
    for name in before:
        same = np.array_equal(before[name], after[name])
        assert same == (name in trunk), name  # moving statistics of the trunk included


def _trunk(folder):
    return keras.models.load_model(folder / "best.keras").get_layer("trunk")


def test_a_frozen_trunk_learns_the_same_with_and_without_cached_features(
    finished, images, tmp_path, monkeypatch, capsys
):
    arguments = [
        "--freeze_trunk", f"--init={finished / 'best.keras'}", "--noflip", "--crop_scale=1"
    ]  # fmt: skip
    assert train.main(simple(images, tmp_path / "cached", *arguments)) == 0
    assert capsys.readouterr().out.count("Computing the frozen trunk's features") == 2
    monkeypatch.setattr(data, "MEMORY_LIMIT", 0)  # no room for features
    assert train.main(simple(images, tmp_path / "whole", *arguments)) == 0
    assert "Computing" not in capsys.readouterr().out
    one, other = (weights_of(tmp_path / name / "last.keras") for name in ("cached", "whole"))
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_initial_weights_of_another_network(finished, images, tmp_path, capsys):
    source = f"--init={finished / 'best.keras'}"
    assert train.main(simple(images, tmp_path, "--network=plain", source)) == 0
    assert "Left as they are: " in capsys.readouterr().out  # what the trunk does not have


def test_networks_that_cannot_be_read(finished, tmp_path):
    for content in (b"", (finished / "best.keras").read_bytes()[:3000]):
        (tmp_path / "half.keras").write_bytes(content)
        with pytest.raises(ValueError, match=r"half.keras is no readable \.keras file"):
            load_network(tmp_path / "half.keras")
    with pytest.raises(ValueError, match="There is no file"):
        load_network(tmp_path / "none.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="is no SeqPar network"):
        load_network(tmp_path / "other.keras")


def test_a_plain_network_in_mixed_precision_is_saved_in_float32(images, tmp_path):
    folder = tmp_path / "run"
    more = ("--network=plain", "--mixed_precision=bfloat16", "--optimizer=sgd", "--crop_scale=1")
    assert train.main(simple(images, folder, *more)) == 0
    network = keras.models.load_model(folder / "last.keras")
    assert keras.config.dtype_policy().name == "float32"
    for layer in network._flatten_layers():
        assert layer.dtype_policy.name == "float32"
    with np.load(folder / "checkpoint.npz") as file:
        assert {file[name].dtype.name for name in file.files} <= {
            *("float32", "int32", "int64", "uint8", "uint32")
        }


def test_a_nested_network(images, tmp_path, capsys):
    (tmp_path / "tree.json").write_text('{"things": ["dark", "bright"]}')
    more = (f"--hierarchy={tmp_path / 'tree.json'}", "--plan=late_sp", "--family=resnet50")
    chosen, _ = train.read_flags(simple(images, tmp_path, *more))
    network = train.build(chosen, ("bright", "dark"), None)
    assert network.get_layer("branch_things")
    assert network.get_layer("categories").hierarchy.categories == ("bright", "dark")
    with pytest.raises(ValueError, match=r"In the data: cat, dog\."):
        train.build(chosen, ("cat", "dog"), None)


def test_a_loss_that_becomes_infinite_ends_the_run(images, tmp_path, capsys):
    folder = tmp_path / "run"
    assert train.main(simple(images, folder, "--optimizer=sgd", "--learning_rate=1e30")) == 1
    error = capsys.readouterr().err
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
    assert train.main(arguments) == 0
    assert "2 categories, 20 images to train on, 6 to validate on" in capsys.readouterr().out
    network = keras.models.load_model(tmp_path / "run" / "last.keras")
    assert network.get_layer("categories").hierarchy.categories == ("white", "dark")
    assert train.main(simple(tmp_path / "data", tmp_path / "x", "--categories=whit,dark")) == 1
    assert "Unknown category 'whit'. Did you mean 'white'?" in capsys.readouterr().err


def test_a_run_with_a_teacher(finished, images, tmp_path):
    more = (f"--teacher={finished / 'best.keras'}", "--distillation=0.3")
    assert train.main(flags(images, tmp_path / "run", *more)) == 0
    (tmp_path / "run" / "checkpoint.npz").unlink()
    assert train.main([f"--output={tmp_path / 'run'}", "--resume"]) == 0  # from the beginning
    trunk = {name for name in named_weights(_trunk(finished))}
    assert trunk < set(weights_of(tmp_path / "run" / "last.keras"))  # without the teacher


# Settings


@pytest.mark.parametrize("name", settings.NAMES)
def test_a_setting_gives_defaults_and_flags_win(name, images):
    given = settings.read(name)
    about = importlib.import_module(f"settings.{name}").__doc__
    assert f"--setting {name}" in about
    init = ["--init=timm:resnet50"] if given.get("freeze_trunk") else []
    chosen, _ = train.read_flags([f"--setting={name}", *init])
    assert given.items() <= vars(chosen).items()
    arguments = [f"--setting={name}", f"--dataset=folder:{images}", "--width=0.375"]
    arguments += init
    chosen, _ = train.read_flags(arguments)
    wanted = given | {"dataset": f"folder:{images}", "width": 0.375}
    assert wanted.items() <= vars(chosen).items()


# Flags and data that are refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--familly=resnet18"], "Unknown command line flag 'familly'. Did you mean: family"),
        (["--epochs=0"], "flag --epochs=0: 0 is not a positive integer"),
        (["--optimizer=adam"], "value should be one of <adamw|sgd>"),
        (["--learning_rate=0"], "--learning_rate must be above 0, got 0.0"),
        (["--learning_rate=nan"], "--learning_rate must be above 0, got nan"),
        (["--distillation=nan"], "--distillation must be 0 to 1, got nan"),
        (["--temperature=0"], "--temperature must be above 0, got 0.0"),
        (["--setting=two_core"], "value should be one of <"),
        (["--devices=3"], "A batch of 64 cannot be split evenly over 3 devices"),
        (["--label_smoothing=1"], "--label_smoothing must be below 1, got 1.0"),
        (["--crop_scale=0"], "crop_scale must be above 0 and at most 1, got 0.0"),
        (["--randaugment=11"], "randaugment must be 0 to 10, got 11.0"),
        (["--mixup=-1"], "mixup must be 0 or more, got -1.0"),
        (["--freeze_trunk"], "--freeze_trunk needs a trained trunk: --init"),
        (["--resume"], "Say which run to resume"),
        (["digits"], "Arguments without a flag: digits"),
        (["--hierarchy=a.json", "--network=plain"], "--network plain has no superclasses"),
        (["--dataset=mnist"], "Unknown data set 'mnist'"),
        (["--family=resnet19"], "Unknown family 'resnet19'"),
        (["--plan=late"], "Unknown plan 'late'"),
        (["--width=-1"], "width must be a finite number above 0"),
        (["--image_size=4"], "is too small"),
    ],
)
def test_bad_flags(tmp_path, capsys, arguments, words):
    output = [] if arguments == ["--resume"] else [f"--output={tmp_path / 'run'}"]
    assert train.main([*output, *arguments]) == 1
    assert words in capsys.readouterr().err


def test_too_few_images_and_too_few_categories(images, tmp_path, capsys):
    assert train.main(simple(images, tmp_path / "a", "--batch_size=32")) == 1
    assert "20 training images, fewer than one batch of 32" in capsys.readouterr().err
    for split in ("train", "validation"):
        (tmp_path / "one" / split).mkdir(parents=True)
        (tmp_path / "one" / split / "dark").symlink_to(images / split / "dark")
    assert train.main(simple(tmp_path / "one", tmp_path / "b")) == 1
    assert "has the category 'dark' only" in capsys.readouterr().err


def test_help_lists_all_flags_in_groups(capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for title in ("Data:", "Network:", "Training:", "Augmentation:", "Run:"):
        assert f"\n{title}\n" in text
    chosen, _ = train.read_flags([])
    assert all(f"  --{name} " in text for name in vars(chosen))
    assert "[digits: 32, others: 64]" in text


def test_the_schedule_rises_and_falls():
    chosen, _ = train.read_flags(["--epochs=10", "--warmup_epochs=2", "--learning_rate=0.1"])
    rate = trainer.make_optimizer(chosen, 5, [])._learning_rate
    rates = [float(ops.convert_to_numpy(rate(step))) for step in range(51)]
    np.testing.assert_allclose(rates[:11], np.arange(11) / 100, atol=1e-7)
    cosine = 0.05 * (1 + np.cos(np.pi * np.arange(41) / 40))
    np.testing.assert_allclose(rates[10:], cosine, atol=1e-7)


# Batches


def test_a_batch_is_a_function_of_seed_epoch_and_step(images):
    split = data.load(f"folder:{images}", image_size=20).train
    chosen, _ = train.read_flags(flags(images, "x"))
    policy = augment.Policy(True, 0.35, 5, 0.2, 1.0)

    def batch(epoch, step, seed=7):
        chosen.seed = seed
        made = batches.TrainingBatches(split, policy, 2, chosen)
        made.begin(epoch)
        (shown, rows), labels = made[step]
        return np.concatenate([a.reshape(-1).astype("float64") for a in (shown, rows, labels)])

    assert np.array_equal(batch(3, 1), batch(3, 1))
    for other in (batch(3, 0), batch(2, 1), batch(3, 1, seed=8)):
        assert not np.array_equal(batch(3, 1), other)


def test_an_epoch_shows_no_image_twice(images):
    split = data.load(f"folder:{images}", image_size=SIZE).train
    chosen, _ = train.read_flags(simple(images, "x"))
    made = batches.TrainingBatches(split, augment.Policy(), 2, chosen)
    assert len(made) == 2  # of 8, 4 are left over
    shown = np.concatenate([made[step][0][0] for step in range(2)])
    assert len(np.unique(shown.reshape(16, -1), axis=0)) == 16
    assert np.concatenate([made[step][1] for step in range(2)]).sum() == 16


def test_validation_batches_are_all_images_in_order(images):
    split = data.load(f"folder:{images}", image_size=SIZE).validation
    made = batches.ValidationBatches(split, 11, 2, 4)
    read = [made[step] for step in range(len(made))]
    shown = np.concatenate([x for (x, _), _, _ in read])
    labels, weights = (np.concatenate([item[i] for item in read]) for i in (1, 2))
    assert np.array_equal(shown[:6], split.read(range(6)))
    assert np.array_equal(labels[:6].argmax(-1), split.labels)
    assert weights == pytest.approx([8 / 6] * 6 + [0, 0])  # so that means over 8 are means over 6
