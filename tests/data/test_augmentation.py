"""Augmentation: each operation against Pillow's, and labels that follow the images."""

import numpy as np
import pytest
from keras import ops

from keras_seqpar.data import augmentation
from keras_seqpar.data.augmentation import AFFINE, COLOR, MIX, Policy, draw

Image = pytest.importorskip("PIL.Image")

from PIL import ImageEnhance, ImageOps  # noqa: E402


@pytest.fixture(scope="module")
def smooth():
    """Images without sharp edges, `(6, 24, 24, 3)`, whose values leave some room."""
    rough = np.random.default_rng(0).integers(20, 220, (6, 4, 4, 3)).astype("uint8")
    resized = [Image.fromarray(r).resize((24, 24), Image.Resampling.BILINEAR) for r in rough]
    return np.stack([np.asarray(r) for r in resized])


def change(policy, images, rows, size):
    """What the layer makes of images."""
    layer = augmentation.Augment(policy, size)
    return ops.convert_to_numpy(layer(images, rows.astype("float32"), training=True))


def neutral(policy, count, stored, size):
    """Rows that change nothing but the size."""
    rows, _, _ = draw(np.random.default_rng(0), count, Policy(), stored=stored, size=size)
    slots = (policy.columns - AFFINE - MIX) // COLOR
    return np.concatenate([rows, *[np.tile(augmentation.NO_COLOR, (count, 1))] * slots], axis=1)


def test_no_policy_changes_nothing(smooth):
    rows, own, equalize = draw(np.random.default_rng(0), 6, Policy(), stored=24, size=24)
    np.testing.assert_allclose(change(Policy(), smooth, rows, 24), smooth, atol=1e-3)
    assert (own == 1).all()
    assert not equalize.any()


def test_at_inference_the_middle_is_passed_on(smooth):
    layer = augmentation.Augment(Policy(flip=True, crop_scale=0.3, mixup=1.0), 16)
    rows = np.zeros((6, AFFINE + MIX), "float32")
    middle = ops.convert_to_numpy(layer(smooth, rows, training=False))
    assert np.array_equal(middle, smooth[:, 4:20, 4:20])
    assert np.array_equal(ops.convert_to_numpy(layer(middle, rows, training=False)), middle)


def test_crops_equal_pillows(smooth):
    policy = Policy(crop_scale=0.2)
    rows, _, _ = draw(np.random.default_rng(1), 6, policy, stored=24, size=32)
    made = change(policy, smooth, rows, 32)
    for image, row, found in zip(smooth, rows, made, strict=True):
        width, left, height, top = row[0] * 32, row[2], row[4] * 32, row[5]
        assert 0.19 * 24**2 < width * height <= 24**2 + 1e-3
        assert 0.56 < width / height < 1.78  # at most 4:3 each way, before the sides are limited
        assert min(left, top, 24 - left - width, 24 - top - height) > -1e-4
        box = tuple(np.clip([left, top, left + width, top + height], 0, 24))
        wanted = Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR, box=box)
        # Pillow rounds twice, and its filter is wider where it makes smaller
        np.testing.assert_allclose(found, np.asarray(wanted), atol=3)


def test_half_of_the_images_are_mirrored(smooth):
    policy = Policy(flip=True)
    many = np.repeat(smooth[:1], 64, axis=0)
    rows, _, _ = draw(np.random.default_rng(0), 64, policy, stored=24, size=24)
    made = change(policy, many, rows, 24)
    kept = [np.abs(found - smooth[0]).max() < 1e-2 for found in made]
    turned = [np.abs(found - smooth[0, :, ::-1]).max() < 1e-2 for found in made]
    assert all(a != b for a, b in zip(kept, turned, strict=True))
    assert 16 < sum(turned) < 48


@pytest.mark.parametrize(
    ("operation", "reference"),
    [
        ("brightness", lambda p, s: ImageEnhance.Brightness(p).enhance(1 + 0.9 * s)),
        ("color", lambda p, s: ImageEnhance.Color(p).enhance(1 + 0.9 * s)),
        ("contrast", lambda p, s: ImageEnhance.Contrast(p).enhance(1 + 0.9 * s)),
        ("sharpness", lambda p, s: ImageEnhance.Sharpness(p).enhance(1 + 0.9 * s)),
        ("auto_contrast", lambda p, s: ImageOps.autocontrast(p)),
        ("solarize", lambda p, s: ImageOps.solarize(p, 255 * (1 - abs(s)))),
        ("posterize", lambda p, s: ImageOps.posterize(p, 8 - round(4 * abs(s)))),
        ("identity", lambda p, s: p),
    ],
)
@pytest.mark.parametrize("strength", [0.5, -0.5])
def test_colors_equal_pillows(smooth, operation, reference, strength):
    policy = Policy(randaugment=5)
    rows = neutral(policy, 6, 24, 24)
    sign = np.full(6, np.sign(strength))
    rows[:, AFFINE + MIX : AFFINE + MIX + COLOR] = augmentation._colors(
        np.full(6, operation), sign, abs(strength)
    )
    # whole numbers, so that thresholds and steps fall as in Pillow
    made = change(policy, smooth, rows, 24)[:, 1:-1, 1:-1]
    wanted = [np.asarray(reference(Image.fromarray(p), strength)) for p in smooth]
    difference = np.abs(made - np.stack(wanted)[:, 1:-1, 1:-1].astype(float))
    # a pixel that lies on a threshold may fall on its other side
    assert np.mean(difference > 2) < 0.02, difference.max()


@pytest.mark.parametrize("operation", augmentation.GEOMETRY)
def test_geometry_equals_pillows(smooth, operation):
    policy = Policy(randaugment=5)
    rows = neutral(policy, 6, 24, 24)
    maps = augmentation._geometry(np.full(6, operation), np.full(6, 0.5), 24)
    rows[:, :AFFINE] = maps[:, :2].reshape(6, AFFINE)
    made = change(policy, smooth, rows, 24)
    for image, matrix, found in zip(smooth, maps, made, strict=True):
        wanted = Image.fromarray(image).transform(
            (24, 24),
            Image.Transform.AFFINE,
            tuple(matrix[:2].reshape(-1)),
            Image.Resampling.BILINEAR,
            fillcolor=tuple(map(int, augmentation.FILL)),
        )
        difference = np.abs(found - np.asarray(wanted, float)).max(-1)
        assert np.mean(difference > 2) < 0.1  # along the border
    if operation == "rotate":
        assert np.linalg.det(maps[0]) == pytest.approx(1)
        assert np.rad2deg(np.arccos(maps[0, 0, 0])) == pytest.approx(15)


def test_what_lies_outside_has_the_mean_color(smooth):
    policy = Policy(randaugment=5)
    rows = neutral(policy, 6, 24, 24)
    rows[:, 2] = 12  # half an image to the left
    made = change(policy, smooth, rows, 24)
    assert (made[:, :, 12:] == augmentation.FILL).all()
    np.testing.assert_allclose(made[:, :, :12], smooth[:, :, 12:], atol=1e-2)


def test_equalize_equals_pillows(smooth):
    selected = np.array([True, False, True, False, False, False])
    made = augmentation.equalize(smooth.copy(), selected)
    assert np.array_equal(made[~selected], smooth[~selected])
    for i in np.flatnonzero(selected):
        assert np.array_equal(made[i], ImageOps.equalize(Image.fromarray(smooth[i])))


def test_all_operations_are_drawn_and_stay_in_range(smooth):
    policy = Policy(flip=True, crop_scale=0.35, randaugment=10, mixup=0.4, cutmix=1.0)
    many = np.tile(smooth, (40, 1, 1, 1))
    rows, own, equalize = draw(np.random.default_rng(0), 240, policy, stored=24, size=20)
    assert rows.shape == (240, policy.columns)
    assert 0.05 < equalize.mean() < 0.25  # two draws of one in fourteen
    assert (own >= 0).all()
    assert (own <= 1).all()
    made = change(policy, augmentation.equalize(many, equalize), rows, 20)
    assert made.shape == (240, 20, 20, 3)
    assert made.min() > -1e-3
    assert made.max() < 255.001


def test_labels_are_mixed_as_the_images_are():
    for policy in (Policy(mixup=0.8), Policy(cutmix=1.0), Policy(mixup=0.8, cutmix=1.0)):
        white = np.zeros((8, 16, 16, 3), "uint8")
        white[:4] = 200  # and its partners, the last four, are black
        rows, own, _ = draw(np.random.default_rng(2), 8, policy, stored=16, size=16)
        made = change(policy, white, rows, 16)
        share = made.mean((1, 2, 3)) / 200
        np.testing.assert_allclose(share[:4], own[:4], atol=1e-5)
        np.testing.assert_allclose(share[4:], 1 - own[4:], atol=1e-5)
        assert len(np.unique(own)) > 3
        values = np.unique(made.round(2))
        assert (len(values) == 2) == (policy.mixup == 0)  # a box leaves pixels as they are
