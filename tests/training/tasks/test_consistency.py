"""Parts of crops, noise in them, and the loss for different scores."""

import keras
import numpy as np
import pytest

from keras_seqpar.data import scene_crops
from keras_seqpar.training.tasks import consistency


def test_parts_of_crops_lie_on_the_grid_of_streams():
    rows = [scene_crops.draw(np.random.default_rng(i), 3, (40, 40), 32) for i in range(60)]
    corners = np.stack([r[0, -2:] for r in rows])
    assert all((r[:, -2:] == r[0, -2:]).all() for r in rows)  # one for the batch
    assert set(corners.ravel().tolist()) == {0, 4, 8, 12, 16}
    values = np.random.default_rng(0).normal(size=(3, 32, 32, 5)).astype("float32")
    for r in rows[:5]:
        made = keras.ops.convert_to_numpy(consistency.Part(16)(values, r))
        top, left = r[0, -2:].astype(int)
        assert np.array_equal(made, values[:, top : top + 16, left : left + 16])


def test_the_loss_of_parts():
    rng = np.random.default_rng(0)
    within, alone = rng.normal(size=(2, 2, 16, 16, 3)).astype("float32")
    alone[:, 6:10, 6:10] = within[:, 6:10, 6:10] + 3.0  # the same probabilities
    agree = consistency.Agree(2.0)
    assert agree(within, within, alone, training=True) is not None
    assert float(agree.losses[0]) == pytest.approx(0, abs=1e-6)  # the edge may differ
    wider = consistency.Agree(2.0, near=5)
    wider(within, within, alone, training=True)
    p, q = (np.exp(x - np.log(np.exp(x).sum(-1, keepdims=True))) for x in (within, alone))
    apart = (p * np.log(p / q) + q * np.log(q / p)).sum(-1) / 2
    assert float(wider.losses[0]) == pytest.approx(2 * apart[:, 5:-5, 5:-5].mean(), rel=1e-4)
    wider(within, within, alone, training=False)
    assert not wider.losses


def test_grain_of_parts():
    grain = consistency.Grain(6.0, seed=1)
    parts = np.full((16, 44, 44, 5), 128, "float32")
    assert np.array_equal(keras.ops.convert_to_numpy(grain(parts, training=False)), parts)
    one, two = (keras.ops.convert_to_numpy(grain(parts, training=True)) for _ in range(2))
    assert not np.array_equal(one, two) and (one[..., 3:] == 128).all()
    noise = one[..., :3] - 128
    stds = noise.std(axis=(1, 2))  # of three kinds, each of up to 6 and of 3 on average
    assert stds.max() < 6 * 3**0.5 * 1.2 and 3 < stds.mean() < 7 and stds.std() > 0.5
    cells = noise[:, :40, :40].reshape(16, 5, 8, 5, 8, 3)
    blocks = cells.mean(axis=(2, 4))  # white noise alone: 0.4, that of pairs 0.8
    assert 2 < blocks.std() < 5
    assert (cells - blocks[:, :, None, :, None]).std() > 3
    high = keras.ops.convert_to_numpy(grain(parts * 0 + 255, training=True))
    assert high.max() == 255 and high[..., :3].min() < 255
