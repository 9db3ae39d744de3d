"""The hash of what a part of a pack computes."""

import keras
import pytest

from keras_seqpar.mobile.export.packs.part_files import fingerprint

pytestmark = pytest.mark.only_backend("tensorflow")


def part(**settings) -> keras.Model:
    inputs = keras.Input((4, 4, 2), name="features")
    settings = {"padding": "same", "activation": "relu", **settings}
    x = keras.layers.Conv2D(2, 3, kernel_initializer="ones", name="conv", **settings)(inputs)
    return keras.Model(inputs, keras.layers.BatchNormalization(name="norm", epsilon=1e-3)(x))


@pytest.mark.parametrize(
    "settings",
    [{"activation": "gelu"}, {"dilation_rate": 2}, {"padding": "valid"}, {"strides": 2}],
)
def test_every_setting_that_changes_the_function_counts(settings):
    assert fingerprint(part()) == fingerprint(part())
    assert fingerprint(part()) != fingerprint(part(**settings))


def test_it_is_the_same_after_saving_and_what_only_training_uses_does_not_count(tmp_path):
    model = part()
    model.save(tmp_path / "part.keras")
    assert fingerprint(keras.models.load_model(tmp_path / "part.keras")) == fingerprint(model)
    assert fingerprint(part(kernel_regularizer="l2")) == fingerprint(model)
