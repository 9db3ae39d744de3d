"""A small plan, images, and a run that nothing interrupted."""

import functools

import keras
import pytest

from tests import harness
from tests.training import runner


@pytest.fixture(scope="package", autouse=True)
def _tiny():
    with runner.tiny_plan():
        yield


@pytest.fixture
def eagerly(monkeypatch):
    """Trains without compiling, where that takes longer than the few steps of a test."""
    compile_ = functools.partialmethod(keras.Model.compile, run_eagerly=harness.EAGER)
    monkeypatch.setattr(keras.Model, "compile", compile_)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder of noisy images of two categories: 2 x 10 to train on, 2 x 3 to validate on."""
    pytest.importorskip("PIL.Image")
    return runner.write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def finished(images, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with runner.tiny_plan():
        runner.train(runner.flags(images, folder))
    return folder
