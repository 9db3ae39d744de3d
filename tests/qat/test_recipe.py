"""The recipe that compares quantization-aware training with post-training quantization."""

import json
import os

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.checking import qat_comparison as comparison
from keras_seqpar.networks.loading import load_network
from keras_seqpar.surgery.unknowns import threshold_of
from tests import commands, harness

Image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.only_backend("tensorflow")

LABELS = ("black", "gray", "white")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Noisy images of three brightnesses: 3 x 16 to train on, 3 x 4 to validate on."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("validation", 4)):
        for name, mean in zip(LABELS, (30, 120, 220), strict=True):
            path = folder / split / name
            path.mkdir(parents=True)
            for i in range(count):
                noise = rng.normal(mean, 20, (40, 40, 3)).clip(0, 255).astype("uint8")
                Image.fromarray(noise).save(path / f"{i}.png")
    return folder


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "saved.keras"
    model = harness.network(LABELS, size=32, include_preprocessing=True)
    model.save(path)
    return path


@pytest.fixture
def flags(saved, images, tmp_path):
    return [
        *(str(saved), f"--dataset=folder:{images}", "--epochs=1", "--batch_size=8"),
        *("--calibration=48", f"--output={tmp_path / 'out'}"),
    ]


def call(*arguments):
    return commands.call("recipes/qat.py", *arguments)


def test_one_seed_then_another(flags, tmp_path, capsys, monkeypatch):
    more = [*flags, "--sparsity=0.5", "--clusters=8"]
    assert call(*more, "--nocontrol", "--categories=white,black") == 0
    text = capsys.readouterr().out
    assert "| post-training |" in text and "| aware |" in text and "| pruned 0.5 |" in text
    assert "fine-tuned" not in text and "Quantization-aware training is" in text
    out = tmp_path / "out"
    names = ["post-training", "aware", "pruned-0.5", "clustered-8"]
    files = [f"{name}{end}" for name in names for end in (".json", ".labels.txt", ".tflite")]
    assert sorted(os.listdir(out / "seed-0")) == sorted(files)
    assert sorted(os.listdir(out)) == [
        "flags.json",
        "images.csv",
        "results.json",
        "results.md",
        "seed-0",
    ]
    results = json.loads((out / "results.json").read_text())
    for name in names:
        path = out / "seed-0" / f"{name}.tflite"
        assert mobile.Runner(path).labels == ("white", "black")
        (figures,) = results[name.replace("-0", " 0").replace("-8", " 8")]
        assert figures["bytes"] == path.stat().st_size > figures["zipped"] > 0
        assert 0 <= figures["agreement"] <= 1 and figures["milliseconds"] > 0
    assert (out / "results.md").read_text() in text

    monkeypatch.setattr(comparison, "make", None)  # all is there: nothing is made again
    assert call(*more, "--nocontrol", "--categories=white,black") == 0
    assert call(*flags, "--categories=white,gray") == 1
    error = capsys.readouterr().err
    assert "--categories: ['white', 'black'] in the run, ['white', 'gray'] now" in error
    changed = load_network(flags[0])
    changed.get_layer("branch_gray").get_layer("gray_logit").bias.assign_add([1.0])
    changed.save(flags[0])
    assert call(*more, "--nocontrol") == 1
    assert "--weights of the model: " in capsys.readouterr().err


def test_a_lost_point_is_an_error(flags, tmp_path, capsys, monkeypatch):
    verify = mobile.verify

    def worse(*args, **kwargs):
        import dataclasses

        return dataclasses.replace(verify(*args, **kwargs), accuracy=0.2, keras_accuracy=0.9)

    monkeypatch.setattr(mobile, "verify", worse)
    assert call(*flags, "--max_accuracy_drop=0.1") == 1
    assert "'post-training' of seed 0 has an accuracy of 20.00%" in capsys.readouterr().err
    assert os.listdir(tmp_path / "out" / "seed-0") == []


def test_table_and_verdict():
    def figures(top1):
        return {
            "top1": top1, "float_top1": 0.5, "agreement": 0.975, "bytes": 1000, "zipped": 800,
            "milliseconds": 1.5, "seconds": 60.0,
        }  # fmt: skip

    results = {
        "post-training": [figures(0.80), figures(0.82)],
        "aware": [figures(0.81), figures(0.85)],
    }
    lines = comparison.table(results).splitlines()
    end = "| 50.00 (0.00) | 97.50% | 1,000 | 800 | 1.50 | 60 |"
    assert lines[2] == f"| post-training | 81.00 (1.41) | - {end}"
    assert lines[3] == f"| aware | 83.00 (2.83) | +2.00 (1.41) {end}"
    assert comparison.verdict(results) == (
        "Quantization-aware training is at least as good as post-training (+2.00 points, "
        "2 seed(s))."
    )
    results["aware"] = [figures(0.7), figures(0.7)]
    assert "is worse than post-training (-11.00 points" in comparison.verdict(results)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--learning_rate=0"], "--learning_rate must be above 0, got 0.0"),
        (["--sparsity=1"], "--sparsity must be above 0 and below 1, got 1.0"),
        (["--label_smoothing=1"], "--label_smoothing must be below 1"),
        (["--clusters=1"], "clusters"),
        (["--categories=pink"], "Unknown category or superclass 'pink'"),
        (["--image_size=64"], "The network takes 32 pixels, --image_size says 64"),
    ],
)
def test_bad_flags(flags, capsys, more, words):
    assert call(*flags, *more) == 1
    assert words in capsys.readouterr().err


def test_bad_networks(flags, tmp_path, capsys):
    rest = flags[1:]
    assert call("nothing", *rest) == 1
    words = "neither a .keras file nor a preset. Presets: imagenette_mobile, imagenette_small"
    assert words in capsys.readouterr().err
    assert call(str(tmp_path / "no.keras"), *rest) == 1
    assert "There is no file" in capsys.readouterr().err
    path = tmp_path / "net.keras"
    options = {"size": 32, "include_preprocessing": True}
    harness.network(LABELS, family="convnext_v2_atto", **options).save(path)
    assert call(str(path), *rest) == 1
    assert "not ConvNeXt V2" in capsys.readouterr().err
    harness.network(LABELS, size=32).save(path)
    assert call(str(path), *rest) == 1
    assert "takes normalized input" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_stored_threshold_does_not_hinder(saved, tmp_path):
    model = load_network(saved)
    logits = np.random.default_rng(0).normal(size=(20, 3))
    stored = tmp_path / "stored.keras"
    sp.with_threshold(model, sp.fit_threshold(logits)).save(stored)
    recipe = commands.load("recipes/qat.py")
    assert threshold_of(recipe.starting_network(str(stored), None)) is None
