"""Reading an image file as a network takes it. Needs NumPy and Pillow only."""

import io
import os

import numpy as np


def decode(source: bytes | str | os.PathLike, image_size: int) -> np.ndarray:
    """Decodes one image to a square.

    Args:
        source: an encoded image (JPEG, PNG, ...), or the path of one. The rotation in its
            EXIF data is applied.
        image_size: side of the square in pixels.

    Returns:
        `(image_size, image_size, 3)` uint8, RGB from 0 to 255.

    Raises:
        OSError: it is truncated or not an image. (Pillow's decoders also raise other errors.)
        ValueError: it has more than 8 bits per channel.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        if image.mode[0] in "IF":
            raise ValueError(f"more than 8 bits per channel (mode {image.mode})")
        image.draft("RGB", (image_size, image_size))  # JPEG: decode at 1/2, 1/4, 1/8
        image = ImageOps.exif_transpose(image).convert("RGB")
    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    box = (left, top, left + side, top + side)
    image = image.resize((image_size, image_size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(image)
