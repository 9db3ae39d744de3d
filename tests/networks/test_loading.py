import keras
import pytest

from keras_seqpar.networks.loading import load_model, load_network
from tests import harness


def test_models_come_back_uncompiled(tmp_path):
    model = harness.network(["a", "b"])
    model.save(tmp_path / "net.keras")
    for load in (load_model, load_network):
        again = load(tmp_path / "net.keras")
        assert harness.config_of(again) == harness.config_of(model) and not again.compiled
        assert harness.same_values(harness.values(again), harness.values(model))


def test_files_that_cannot_be_read(tmp_path):
    harness.network(["a", "b"]).save(tmp_path / "net.keras")
    content = (tmp_path / "net.keras").read_bytes()
    for damaged in (b"", content[:3000]):
        (tmp_path / "bad.keras").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"bad\.keras is no readable \.keras file: "):
            load_model(tmp_path / "bad.keras")
    for path in (tmp_path / "none.keras", tmp_path):
        with pytest.raises(ValueError, match="There is no file"):
            load_model(path)


def test_only_networks_of_this_package_are_networks(tmp_path):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    assert load_model(tmp_path / "other.keras").output_shape == (None, 1)
    with pytest.raises(ValueError, match="is no SeqPar network"):
        load_network(tmp_path / "other.keras")
