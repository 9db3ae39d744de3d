"""The segmenter: filling its trunk from a preset."""

import pytest

from keras_seqpar.training.tasks import segmenter


def test_the_preset_fills_the_trunk():
    network = segmenter.build_segmenter(3, channels=8)
    assert segmenter.fill_trunk(network, "preset:imagenette_small") == 16
    stem = network.get_layer("stem_conv").get_weights()[0]
    assert stem[..., :3, :].any() and not stem[..., 3:, :].any()
    with pytest.raises(ValueError, match="preset:NAME or none"):
        segmenter.fill_trunk(network, "somewhere")
    with pytest.raises(ValueError, match="'stem_conv' has other shapes"):
        segmenter.fill_trunk(segmenter.build_segmenter(3, width=0.25), "preset:imagenette_small")
