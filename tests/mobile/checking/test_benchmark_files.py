"""The files of a benchmark: cutouts of every size, and the plain network."""

import os

import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import mobile
from keras_seqpar.mobile.checking import benchmark_files, measuring
from keras_seqpar.networks.loading import load_model
from tests import harness
from tests.conftest import ROOT
from tests.mobile.checking.conftest import LABELS, NAMES

pytestmark = pytest.mark.only_backend("tensorflow")


def test_files_are_all_cutouts_and_the_plain_network(net, plain, files, folder):
    assert sorted(os.listdir(folder)) == sorted(NAMES)
    assert [file.name for file in files.files] == NAMES
    assert [file.categories for file in files.files] == [3, 1, 2, 3]
    assert [file.plain for file in files.files] == [True, False, False, False]
    cutouts = [sp.cutout(net, LABELS[:n]) for n in (1, 2, 3)]
    assert [file.macs for file in files.files] == [sp.cost(m).macs for m in (plain, *cutouts)]
    assert [file.bytes for file in files.files] == [
        (folder / name).stat().st_size for name in NAMES
    ]
    assert files.files[1].bytes < files.files[2].bytes < files.files[3].bytes
    runner = mobile.Runner(folder / NAMES[2])
    assert runner.input_dtype == np.uint8 and runner.input_shape == (1, 16, 16, 3)
    assert plain.input_shape == net.input_shape and plain.output_shape == net.output_shape


def test_noise_gives_files_of_the_same_size(net, files, tmp_path):
    other = np.random.default_rng(1).integers(50, 200, (60, 16, 16, 3)).astype("uint8")
    made = mobile.convert(
        sp.cutout(net, LABELS[:1], name=f"{net.name}_cutout"),
        tmp_path / "net.tflite",
        quantization="int8",
        calibration=other,
        input_dtype="uint8",
        labels=False,
        description="For timing only: its scores are of no use.",
    )
    assert made.bytes == files.files[1].bytes


def test_sizes_order_and_kinds_of_networks(tmp_path):
    nested = harness.network({"pets": ["cat", "dog"], "car": None})  # takes normalized images
    options = {"quantization": "int8", "sizes": [2, 1, 2], "order": ["car", "pets"]}
    made = benchmark_files.make(nested, tmp_path, **options)
    assert [file.categories for file in made.files] == [3, 1, 2]
    macs = [sp.cost(sp.cutout(nested, names)).macs for names in (["car"], ["car", "cat"])]
    assert [file.macs for file in made.files[1:]] == macs
    assert mobile.Runner(tmp_path / made.files[1].name).input_dtype == np.float32

    threshold = sp.fit_threshold(np.random.default_rng(0).normal(size=(50, 3)))
    steerable = sp.with_threshold(sp.attention_input(nested), threshold)
    made = benchmark_files.make(steerable, tmp_path, quantization="dynamic", sizes=[3], order=None)
    runner = mobile.Runner(tmp_path / made.files[1].name)
    assert runner._gains is not None and runner._none is None
    assert measuring.probe(str(runner.path), 1, None)[1] > 0


def test_sizes_and_networks_that_cannot_be(net, plain, tmp_path):
    for options, words in (
        ({"sizes": [1, 4]}, "no cutout of 4 categories.*from 1 to 3"),
        ({"sizes": [2], "order": ["church"]}, "no cutout of 2 categories.*from 1 to 1"),
        ({"sizes": [True]}, "no cutout of True"),
        ({"order": ["trench"]}, "Unknown .*'trench'"),
        ({"quantization": "int4"}, "Unknown quantization 'int4'"),
    ):
        with pytest.raises(ValueError, match=words):
            benchmark_files.make(net, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="is a plain network"):
        benchmark_files.make(plain, tmp_path / "new")
    earlier = load_model(ROOT / "tests/references/network_without_build_config.keras")
    with pytest.raises(ValueError, match="how it was built"):
        benchmark_files.make(earlier, tmp_path / "new")
    assert not (tmp_path / "new").exists()
