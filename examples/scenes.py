"""What the notebooks show: a photo that comes with scikit-learn, and golf balls that are drawn."""

import numpy as np
from skimage import data, transform
from sklearn.datasets import load_sample_image


def temple(size: int) -> np.ndarray:
    """The middle of a photo of a temple by danielbuechele (CC BY 2.0), uint8 of `size` pixels."""
    photo = load_sample_image("china.jpg")[:, :427]
    return np.uint8(255 * transform.resize(photo, (size, size), anti_aliasing=True))


def lawn(size: int) -> np.ndarray:
    """Grass, from above."""
    gray = transform.resize(data.grass()[:384, :384] / 255, (size, size), anti_aliasing=True)
    return np.uint8(255 * gray[..., None] * (0.45, 0.75, 0.25))


def with_ball(image: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    """The image with a golf ball around a point, all in pixels; it may leave the image."""
    down, right = np.mgrid[: image.shape[0], : image.shape[1]]
    u, v = (right - x) / radius, (down - y) / radius
    front = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))  # towards the viewer
    light = np.clip(0.69 * front - 0.4 * u - 0.6 * v, 0, 1)
    row, column = (
        np.arcsin(np.clip(v, -1, 1)) / 0.2,
        np.arctan2(u, front) * np.sqrt(1 - v.clip(-1, 1) ** 2) / 0.2,
    )
    column = column + 0.5 * (np.round(row) % 2)
    dimple = np.hypot(row - np.round(row), column - np.round(column)) < 0.36
    gray = (120 + 135 * light) * (1 - 0.13 * dimple)
    ball = u**2 + v**2 < 1
    return np.where(ball[..., None], gray[..., None], image).astype("uint8")
