"""Feature maps: the features of each branch, for any network and image."""

import keras
import numpy as np
import pytest

import keras_seqpar as sp
from keras_seqpar import plots
from keras_seqpar.plots import features
from tests import harness


@pytest.mark.parametrize("at", ["gain", "last"])
def test_feature_maps_show_the_features_of_each_branch(at, tmp_path):
    model = harness.network(["cat", "dog"], include_preprocessing=True)
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype("uint8")
    attended = harness.reload(sp.attend(model, {"dog": 2}), tmp_path)
    figure = plots.feature_maps(attended, image, at=at)
    x = attended.get_layer("trunk")(image[None].astype("float32"))
    for panel, id_ in zip(figure.axes[1:3], ("cat", "dog"), strict=True):
        branch = attended.get_layer(f"branch_{id_}")
        layer = branch.get_layer(f"{id_}_gain" if at == "gain" else f"{id_}_stage3_block1_relu")
        want = np.abs(harness.array(keras.Model(branch.input, layer.output)(x))[0]).mean(-1)
        assert harness.error(panel.images[1].get_array(), want) < 1e-6
        score = harness.predict(attended, image[None].astype("float32"))[0, int(id_ == "dog")]
        assert panel.get_title() == f"{id_}\n{score:.3g}"


def test_feature_maps_of_large_and_steerable_networks_and_of_bad_images(monkeypatch):
    small, image = harness.network(), np.zeros((16, 16, 3), "uint8")
    with monkeypatch.context() as patch:
        patch.setattr(features, "MOST_MAPS", 3)  # of four
        figure = plots.feature_maps(small, image)
    assert sum(len(axes.images) == 2 for axes in figure.axes) == 3
    titles = [
        [axes.get_title() for axes in plots.feature_maps(net, image).axes]
        for net in (small, sp.attention_input(small))
    ]
    assert titles[0] == titles[1]
    with pytest.raises(TypeError, match="pixels of 0 to 255 as uint8, got float64"):
        plots.feature_maps(small, image / 255)
    with pytest.raises(ValueError, match=r"shape \(16, 16, 3\), got \(1, 16, 16, 3\). Give one"):
        plots.feature_maps(small, image[None])
    with pytest.raises(ValueError, match="Unknown layer 'x'. Valid: gain, last"):
        plots.feature_maps(small, image, at="x")
