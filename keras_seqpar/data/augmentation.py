"""Augmentation in two steps: numbers are drawn on the host, images are changed on the device.

`draw` makes one row of numbers per image with NumPy, so that every random choice is a
function of the generator it is given. `Augment`, a layer in front of the network, applies them
inside the compiled training step, on every backend: crop, flip and the geometry of RandAugment in
one resampling, then the colors, then mixup or cutmix.

Keras's own RandAugment draws one operation for a whole batch, computes all eleven of them for
every image, and its factor 0.5 means rotations by up to 180 degrees; keras-cv's needs TensorFlow.
Therefore this package has its own.
"""

import dataclasses

import keras
import numpy as np
from keras import ops

# The 14 operations of RandAugment (Cubuk et al., arXiv 1909.13719, section 3). Ranges are those
# of torchvision's `RandAugment`, whose strongest bin is magnitude 10 here.
GEOMETRY = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
ENHANCE = ("brightness", "color", "contrast", "sharpness")
OPERATIONS = (
    *("identity", "auto_contrast", "equalize", "solarize", "posterize"),
    *GEOMETRY,
    *ENHANCE,
)
OPERATIONS_PER_IMAGE = 2
STRONGEST = 10

# A row of numbers: the affine map (6), the mix (5), then for each RandAugment operation 7.
AFFINE, MIX, COLOR = 6, 5, 7
NO_COLOR = (1, 0, 0, 0, 0, 256, 1)  # factor, three bases, auto contrast, threshold, step
FILL = (124.0, 116.0, 104.0)  # beyond the borders: the mean color of ImageNet


@dataclasses.dataclass(frozen=True)
class Policy:
    """What to do to training images.

    Args:
        flip: mirror half of the images.
        crop_scale: smallest share of an image's area that a random crop keeps, its sides in
            a ratio of 3:4 to 4:3; 1 for no crops.
        randaugment: magnitude from 0 (off) to 10.
        mixup: alpha of mixup (arXiv 1710.09412); 0 is off.
        cutmix: alpha of cutmix (arXiv 1905.04899); with both, each image gets one of them.
    """

    flip: bool = False
    crop_scale: float = 1.0
    randaugment: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        if not 0 < self.crop_scale <= 1:
            raise ValueError(f"crop_scale must be above 0 and at most 1, got {self.crop_scale}.")
        if not 0 <= self.randaugment <= STRONGEST:
            raise ValueError(f"randaugment must be 0 to {STRONGEST}, got {self.randaugment}.")
        for name in ("mixup", "cutmix"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}.")

    @property
    def columns(self) -> int:
        """Length of a row of numbers."""
        return AFFINE + MIX + (OPERATIONS_PER_IMAGE * COLOR if self.randaugment else 0)


def draw(
    rng: np.random.Generator, count: int, policy: Policy, *, stored: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws what happens to `count` images.

    Args:
        rng: where the random numbers come from.
        count: number of images; image `i` is mixed with image `count - 1 - i`.
        policy: what to do.
        stored: side of the images as they are stored, in pixels.
        size: side of the images to make.

    Returns:
        The rows, `(count, policy.columns)` float32; the weight of each image's own label
        against its partner's, `(count,)`; and which stored images to equalize, `(count,)`.
    """
    maps = _crops(rng, count, policy, stored, size)
    mix, label_weights = _mixes(rng, count, policy, size)
    colors = []
    equalize = np.zeros(count, bool)
    if policy.randaugment:
        strength = policy.randaugment / STRONGEST
        for _ in range(OPERATIONS_PER_IMAGE):
            operation = np.array(OPERATIONS)[rng.integers(len(OPERATIONS), size=count)]
            sign = rng.choice([-1.0, 1.0], size=count)
            maps = maps @ _geometry(operation, sign * strength, size)
            colors.append(_colors(operation, sign, strength))
            equalize |= operation == "equalize"
    affine = maps[:, :2].reshape(count, AFFINE)
    return np.concatenate([affine, mix, *colors], axis=1, dtype="float32"), label_weights, equalize


def _crops(rng, count: int, policy: Policy, stored: int, size: int) -> np.ndarray:
    """Maps from output to stored coordinates (x, y, 1), in pixels from the corner: 3x3 each."""
    area = rng.uniform(policy.crop_scale, 1, count)
    stretch = rng.uniform(-1, 1, count) * np.log(4 / 3) * (policy.crop_scale < 1)
    width = stored * np.minimum(1, np.sqrt(area * np.exp(stretch)))
    height = stored * np.minimum(1, np.sqrt(area / np.exp(stretch)))
    maps = np.zeros((count, 3, 3))
    maps[:, 0, 0], maps[:, 0, 2] = width / size, rng.uniform(0, 1, count) * (stored - width)
    maps[:, 1, 1], maps[:, 1, 2] = height / size, rng.uniform(0, 1, count) * (stored - height)
    maps[:, 2, 2] = 1
    mirrored = (rng.uniform(size=count) < 0.5) & policy.flip
    maps[mirrored, 0, 2] += width[mirrored]
    maps[mirrored, 0, 0] *= -1
    return maps


def _geometry(operation, amount, size: int) -> np.ndarray:
    """Maps around the center of an image, 3x3 each; `amount` is -1 to 1."""
    angle = np.where(operation == "rotate", np.deg2rad(30) * amount, 0)
    maps = np.zeros((len(operation), 3, 3))
    maps[:, 0, 0] = maps[:, 1, 1] = np.cos(angle)
    maps[:, 1, 0] = np.sin(angle) + np.where(operation == "shear_y", 0.3 * amount, 0)
    maps[:, 0, 1] = -np.sin(angle) + np.where(operation == "shear_x", 0.3 * amount, 0)
    shift = size * 150 / 331 * amount
    center = np.full(2, size / 2)
    maps[:, :2, 2] = center - maps[:, :2, :2] @ center
    maps[:, 0, 2] += np.where(operation == "translate_x", shift, 0)
    maps[:, 1, 2] += np.where(operation == "translate_y", shift, 0)
    maps[:, 2, 2] = 1
    return maps


def _colors(operation, sign, strength: float) -> np.ndarray:
    rows = np.tile(np.array(NO_COLOR, "float32"), (len(operation), 1))
    rows[:, 0] = np.where(np.isin(operation, ENHANCE), 1 + 0.9 * strength * sign, 1)
    for column, name in enumerate(("color", "contrast", "sharpness", "auto_contrast"), start=1):
        rows[operation == name, column] = 1
    rows[operation == "solarize", 5] = 255 * (1 - strength)
    rows[operation == "posterize", 6] = 2 ** round(4 * strength)  # 8 bits to 4 bits
    return rows


def _mixes(rng, count: int, policy: Policy, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight of each image outside a box (top, left, bottom, right), and weight of its label."""
    rows = np.zeros((count, MIX))
    rows[:, 0] = 1
    label_weights = np.ones(count)
    cut = rng.uniform(size=count) < (0.5 if policy.mixup else 1.0) * bool(policy.cutmix)
    if policy.mixup:
        weights = rng.beta(policy.mixup, policy.mixup, count)
        rows[~cut, 0] = label_weights[~cut] = weights[~cut]
    if policy.cutmix:
        half = size / 2 * np.sqrt(1 - rng.beta(policy.cutmix, policy.cutmix, count))[:, None]
        center = rng.uniform(0, size, (count, 2))
        box = np.concatenate([center - half, center + half], axis=1).round().clip(0, size)
        rows[cut, 1:] = box[cut]
        label_weights[cut] = 1 - ((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) / size**2)[cut]
    return rows, label_weights


def equalize(images: np.ndarray, selected: np.ndarray) -> np.ndarray:
    """Equalizes the histograms of selected images: the one operation that `Augment` does not do.

    Args:
        images: `(count, height, width, 3)` uint8; changed in place.
        selected: `(count,)` bool.

    Returns:
        The images.
    """
    if selected.any():
        from PIL import Image, ImageOps

        for i in np.flatnonzero(selected):
            images[i] = np.asarray(ImageOps.equalize(Image.fromarray(images[i])))
    return images


class Augment(keras.layers.Layer):
    """Applies the rows of `draw`; at inference it returns the middle of the images.

    Call arguments: images `(batch, stored, stored, 3)` of 0 to 255, and the rows. Returns
    `(batch, size, size, 3)` float32.

    Args:
        policy: the policy that the rows were drawn for.
        size: side of the images to make.
    """

    def __init__(self, policy: Policy, size: int, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.policy, self.size = policy, size

    def call(self, images, rows, training=False):
        images = ops.cast(images, "float32")
        if not training:
            height, width = images.shape[1:3]  # None where it is not known yet
            top, left = (max(0, ((side or 0) - self.size) // 2) for side in (height, width))
            return images[:, top : top + self.size, left : left + self.size]
        images = resample(images, rows[:, :AFFINE], self.size)
        for start in range(AFFINE + MIX, self.policy.columns, COLOR):
            images = _recolor(images, rows[:, start : start + COLOR])
        if self.policy.mixup or self.policy.cutmix:
            images = _mix(images, rows[:, AFFINE : AFFINE + MIX], self.size)
        return images

    def compute_output_shape(self, images_shape, rows_shape):
        return (images_shape[0], self.size, self.size, images_shape[-1])


def resample(images, affine, size: int):
    """Bilinear resampling: output pixel (x, y) is taken from affine @ (x, y, 1)."""
    shape = ops.shape(images)
    count, height, width = shape[0], shape[1], shape[2]
    centers = ops.arange(size, dtype="float32") + 0.5
    a, b, c, d, e, f = (affine[:, i, None, None] for i in range(AFFINE))
    x = a * centers[None, None, :] + b * centers[None, :, None] + c - 0.5
    y = d * centers[None, None, :] + e * centers[None, :, None] + f - 0.5
    last_x, last_y = ops.cast(width, "float32") - 1, ops.cast(height, "float32") - 1
    inside = (x >= -0.5) & (x <= last_x + 0.5) & (y >= -0.5) & (y <= last_y + 0.5)
    x, y = ops.clip(x, 0.0, last_x), ops.clip(y, 0.0, last_y)
    left, top = ops.floor(x), ops.floor(y)
    across, down = (x - left)[..., None], (y - top)[..., None]
    left, top = ops.cast(left, "int32"), ops.cast(top, "int32")
    right, bottom = ops.minimum(left + 1, width - 1), ops.minimum(top + 1, height - 1)
    first = ops.reshape(ops.arange(count, dtype="int32") * (height * width), (-1, 1, 1))
    flat = ops.reshape(images, (-1, images.shape[-1]))

    def at(row, column):
        return ops.take(flat, first + row * width + column, axis=0)

    upper = at(top, left) * (1 - across) + at(top, right) * across
    lower = at(bottom, left) * (1 - across) + at(bottom, right) * across
    resampled = upper * (1 - down) + lower * down
    return ops.where(
        inside[..., None], resampled, ops.reshape(ops.convert_to_tensor(FILL), (1, 1, 1, 3))
    )


def _recolor(x, row):
    """Applies one color operation per image; for images without one the row is neutral."""
    factor, color, contrast, sharpness, auto, threshold, step = (
        row[:, i, None, None, None] for i in range(COLOR)
    )
    # ITU-R 601 luma, as Pillow's conversion to "L"
    gray = x[..., :1] * 0.299 + x[..., 1:2] * 0.587 + x[..., 2:] * 0.114
    mean = ops.mean(gray, axis=(1, 2), keepdims=True)
    # Pillow's SMOOTH filter: a 3x3 box of ones with 5 in the middle, over 13
    smooth = (9 * ops.average_pool(x, 3, 1, "same", data_format="channels_last") + 4 * x) / 13
    base = color * gray + contrast * mean + sharpness * smooth  # brightness: black
    x = ops.where(factor == 1, x, ops.clip(base + factor * (x - base), 0.0, 255.0))
    low = ops.min(x, axis=(1, 2), keepdims=True)
    high = ops.max(x, axis=(1, 2), keepdims=True)
    stretched = (x - low) * (255 / ops.maximum(high - low, 1.0))
    x = ops.where((auto > 0) & (high > low), stretched, x)
    x = ops.where(x >= threshold, 255 - x, x)
    return ops.where(step > 1, ops.floor(x / step) * step, x)


def _mix(x, row, size: int):
    """Mixup and cutmix of each image with its partner in the reversed batch."""
    own, top, left, bottom, right = (row[:, i, None, None, None] for i in range(MIX))
    centers = ops.arange(size, dtype="float32") + 0.5
    across, down = centers[None, None, :, None], centers[None, :, None, None]
    box = (down > top) & (down < bottom) & (across > left) & (across < right)
    weight = ops.where(box, 0.0, own)
    return x * weight + ops.flip(x, axis=0) * (1 - weight)
