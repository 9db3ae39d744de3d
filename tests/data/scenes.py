"""A small CamVid: drawn scenes in a zip."""

import io
import zipfile

import numpy as np

from keras_seqpar.data import camvid

HEIGHT, WIDTH = 40, 48
CLASSES = ("sky", "road", "car")


def write_scenes(path, count=4, *, unlabeled=True, drop=""):
    """A zip with blue sky above gray road and red cars; one corner is not labeled."""
    from PIL import Image

    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as file:
        lines = [*CLASSES, "unlabelled"] if unlabeled else CLASSES
        file.writestr("scenes/classes.txt", "\n".join(lines) + "\n")
        for split in camvid.SPLITS:
            for i in range(count):
                image = np.full((HEIGHT, WIDTH, 3), 100, "uint8")
                labels = np.full((HEIGHT, WIDTH), 1, "uint8")
                horizon = rng.integers(12, 20)
                image[:horizon], labels[:horizon] = (80, 120, 220), 0
                y, x = rng.integers(22, 30), rng.integers(4, 34)
                image[y : y + 8, x : x + 10], labels[y : y + 8, x : x + 10] = (200, 30, 30), 2
                image = (image + rng.integers(0, 20, image.shape)).astype("uint8")
                labels[:2, :2] = 3
                parts = (f"{split}/{i}.png", image), (f"{split}annot/{i}.png", labels)
                for name, array in parts:
                    content = io.BytesIO()
                    Image.fromarray(array).save(content, "PNG")
                    if name != drop:
                        file.writestr(f"scenes/{name}", content.getvalue())
    return path
