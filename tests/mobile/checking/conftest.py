"""Files of a benchmark, measured once for all tests."""

import pytest

import keras_seqpar as sp
from keras_seqpar.mobile.checking import benchmark_files, measuring
from tests import harness

LABELS = ("tench", "chain saw", "church")
NAMES = ["plain-int8.tflite", *(f"cutout-{n}-int8.tflite" for n in (1, 2, 3))]


@pytest.fixture(scope="session")
def net():
    return harness.network(LABELS, include_preprocessing=True)


@pytest.fixture(scope="session")
def plain(net):
    return sp.plain_twin(net)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("with space")


@pytest.fixture(scope="session")
def files(net, folder):
    return benchmark_files.make(net, folder)


@pytest.fixture(scope="session")
def measured(files, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "PROBES", 1)  # processes for each file
        return measuring.measure(files, folder, threads=(1, 2), rounds=2, runs=2)
