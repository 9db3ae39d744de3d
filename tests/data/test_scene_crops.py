"""Crops of scenes: images, labels and boxes stay on each other."""

import keras
import numpy as np

from keras_seqpar.data import augmentation, camvid, scene_crops


def test_crops_of_images_and_labels_lie_on_each_other():
    labels = np.zeros((1, 60, 80), "uint8")
    labels[0, 20:40, 30:60] = 1
    images = np.repeat(255 * labels[..., None], 3, -1)
    for seed in range(6):
        rows = scene_crops.draw(np.random.default_rng(seed), 1, (60, 80), 32)
        rows[:, augmentation.AFFINE :] = [1, 1, 1, *[0] * 7]  # no colors, noise or boxes
        made = scene_crops.Prepare(32)(images, rows, training=True)
        made = keras.ops.convert_to_numpy(made)[0]
        there = scene_crops.crop_labels(labels, rows, 32)[0]
        assert ((made[..., 0] > 127) == there).mean() > 0.97
        x = np.abs(2 * (rows[0, 0] * 0.5 + rows[0, 2]) / 80 - 1) * 255
        y = 255 * (rows[0, 4] * 31.5 + rows[0, 5]) / 60
        assert np.allclose(made[31, 0, 3:], (y, x), atol=1e-2)
    whole = keras.ops.convert_to_numpy(scene_crops.Prepare(32)(images, rows, training=False))
    assert np.abs(whole - camvid.with_positions(images)).max() <= 0.5


def test_boxes_come_from_the_other_end_of_the_batch():
    labels = np.stack([np.zeros((40, 40), "uint8"), np.ones((40, 40), "uint8")])
    rows = scene_crops.draw(np.random.default_rng(0), 2, (40, 40), 32)
    rows[:, augmentation.AFFINE :] = [1, 1, 1, 0, 4, 6, 10, 20, 0, 0]
    there = scene_crops.crop_labels(labels, rows, 32)
    assert there[0].sum() == 6 * 14 and there[0, 4:10, 6:20].all()
    assert there[1].sum() == 32 * 32 - 6 * 14
    images = np.repeat(255 * labels[..., None], 3, -1)
    made = keras.ops.convert_to_numpy(scene_crops.Prepare(32)(images, rows, training=True))
    assert np.array_equal(made[..., 0] > 127, there)
    rows[:, augmentation.AFFINE + 3] = 8.0
    noisy = keras.ops.convert_to_numpy(scene_crops.Prepare(32)(images // 2, rows, training=True))
    assert 3 < noisy[1, 20:, :, 0].std() < 12


def test_pixels_without_a_label_have_no_weight():
    labels = np.array([[[0, 1, 2]]], "uint8")
    classes, weights = scene_crops.targets(labels, np.array([0.5, 2.0]))
    assert classes.tolist() == [[[0, 1, 0]]] and weights.tolist() == [[[0.5, 2.0, 0.0]]]
