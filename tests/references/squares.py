"""Writes squares.json: small images and the squares that Pillow makes of them, bit for bit.

python -m tests.references.squares. The tests of Python, of the Kotlin core and of the page read it.
"""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from keras_seqpar.utils.images import decode

PATH = Path(__file__).with_suffix(".json")
# (width, height, size of the square). Where rows shrink much more than columns, Pillow begins with
# them; else with columns. Both orders are here, just beyond and just before that limit.
SIZES = [
    *((15, 20, 14), (15, 17, 14), (15, 16, 14), (24, 32, 22), (9, 40, 8), (8, 9, 8), (8, 40, 8)),
    *((32, 24, 22), (40, 9, 8), (20, 15, 14), (30, 30, 7), (31, 30, 7), (30, 31, 7), (8, 8, 8)),
    *((5, 6, 12), (6, 5, 12), (4, 30, 12), (30, 4, 12), (1, 1, 3), (7, 2, 1), (13, 50, 13)),
]


def image(width: int, height: int, seed: int, *, alpha: bool) -> np.ndarray:
    """`(height, width, 4)` uint8: blocks of any color, so that a bicubic filter overshoots."""
    rng = np.random.default_rng(seed)
    colors = rng.choice([0, 40, 128, 215, 255], (-(-height // 3), -(-width // 2), 4))
    pixels = colors.repeat(3, 0).repeat(2, 1)[:height, :width].astype("uint8")
    pixels[::2, ::3] = rng.integers(0, 256, pixels[::2, ::3].shape)
    if not alpha:
        pixels[..., 3] = 255
    return pixels


def png(pixels: np.ndarray) -> bytes:
    """An RGBA image as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "PNG")
    return file.getvalue()


def main() -> None:
    """Writes the file."""
    cases = []
    for seed, (width, height, size) in enumerate(SIZES):
        for alpha in (False, True)[: 2 if seed % 3 == 0 else 1]:
            pixels = image(width, height, seed, alpha=alpha)
            square = decode(png(pixels), size)
            cases.append(
                {
                    **{"width": width, "height": height, "size": size},
                    "rgba": base64.b64encode(pixels.tobytes()).decode(),
                    "square": base64.b64encode(square.tobytes()).decode(),
                }
            )
    PATH.write_text(json.dumps(cases, indent=0) + "\n")


if __name__ == "__main__":
    main()
