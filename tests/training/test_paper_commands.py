"""The commands of docs/how_to/paper.md: flags of all, two steps of some, on generated images."""

import pathlib
import re
import shlex

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import hierarchy
from keras_seqpar.data import batches
from keras_seqpar.networks.plans import get_family, get_plan
from keras_seqpar.training.flags import parse_train_flags
from keras_seqpar.training.runs.flags import read_flags
from keras_seqpar.training.tasks import classification
from tests import commands
from tests.data.sources.test_tfds import store
from tests.training.runner import SIZE

# The data is read without a backend, and on torch two steps need no compilation.
pytestmark = pytest.mark.only_backend("torch")
# Small networks of the same kinds; the paper's plans and families have tests of their own.
SMALL = [
    *(f"--image_size={SIZE}", "--family=resnet18", "--plan=tiny", "--width=0.125", "--stem=small"),
    *("--batch_size=4", "--mixed_precision=off", "--workers=0"),
]


@pytest.fixture(scope="module")
def page(root):
    """The commands of the page: path of the recipe, and its flags."""
    text = (root / "docs" / "how_to" / "paper.md").read_text("utf-8")
    return [shlex.split(x) for x in re.findall(r"^python (recipes/\w+\.py .*)$", text, re.M)]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder named as ImageNet's with an image per category, and one with a small Imagenette."""
    Image = pytest.importorskip("PIL.Image")
    folder, other = map(tmp_path_factory.mktemp, ("imagenet", "tfds"))
    rng = np.random.default_rng(0)
    for i in range(5):  # the others are links to these
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), "uint8")).save(other / f"{i}.jpg")
    for i, wnid in enumerate(hierarchy.subset_wnids("imagenet1k")):
        for split in ("train", "val"):
            (folder / split / wnid).mkdir(parents=True)
            (folder / split / wnid / f"{wnid}_1.JPEG").hardlink_to(other / f"{i % 5}.jpg")
    store(other)
    return folder, other


def test_commands_train_two_steps_on_every_data_set(page, images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batches.TrainingBatches, "__len__", lambda self: 2)
    monkeypatch.setattr(batches.ValidationBatches, "__len__", lambda self: 1)
    options = {"family": "resnet18", "width": 0.125, "stem": "small"}
    sp.build_plain(["a", "b"], input_shape=(SIZE, SIZE, 3), **options).save("trunk.keras")
    trained = {"miniimagenet"}  # of the same kind as imagenet100
    for path, *flags in page:
        if path == "recipes/group.py":
            assert commands.call(path, *flags) == 0
        if path != "recipes/train.py":
            continue
        pairs = zip(flags, [*flags[1:], ""], strict=True)
        given = {name: value for name, value in pairs if name.startswith("--")}
        config, _ = parse_train_flags(flags)
        levels = 2 if config.network.hierarchy else 1
        get_plan(config.network.plan, get_family(config.network.family), split_points=levels)
        subset = given.get("--categories", "imagenet1k" if "--dataset" in given else "imagenette")
        if subset in trained:
            continue
        trained.add(subset)
        more = [*SMALL, f"--data_dir={images['--dataset' not in given]}"]
        for name, default in (("--epochs", "1"), ("--frozen_epochs", "0")):
            more.append(f"{name}={int(given.get(name, default) != '0')}")
        if "--init" in given:
            more.append("--init=trunk.keras")
        config, run = parse_train_flags([*flags, *more])
        classification.train(config, run)
        about = read_flags(pathlib.Path(run.output))
        assert tuple(about["categories"]) == hierarchy.subset_labels(subset), flags
    assert trained == {"imagenette", *("imagewoof", "imagenet100", "miniimagenet", "imagenet1k")}
