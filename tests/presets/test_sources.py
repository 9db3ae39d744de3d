"""What commands take as a network: a file or a preset."""

import pytest

from keras_seqpar.networks.parts import find_parts
from keras_seqpar.presets.sources import load_source, stem_of
from tests import harness


def test_a_file_or_a_preset(tmp_path):
    network = harness.build(harness.LABELS[:2])
    network.save(tmp_path / "two.keras")
    loaded = load_source(str(tmp_path / "two.keras"))
    assert find_parts(loaded).hierarchy.categories == harness.LABELS[:2]
    preset = load_source("preset:imagenette_small")
    assert len(find_parts(preset).hierarchy.categories) == 10
    assert stem_of(str(tmp_path / "two.keras")) == "two"
    assert stem_of("preset:imagenette_small") == "imagenette_small"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "Give --model: a .keras file, or preset:NAME"),
        ("preset:small", "Unknown preset 'small'.*imagenette_small"),
        ("none.keras", "There is no file none.keras"),
    ],
)
def test_nothing_there(source, words):
    with pytest.raises(ValueError, match=words):
        load_source(source)
