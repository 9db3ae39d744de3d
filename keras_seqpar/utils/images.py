"""Reading an image file as a network takes it: the rule that every reader follows.

Folders, archives, packs of data and `mobile.run` read images with `decode`. The Kotlin code and
the page follow the same rule, in this order:

1. The first image of a file with several (animations, pages) is taken.
2. Its EXIF orientation is applied. Color profiles are ignored.
3. 16-bit values keep their upper 8 bits; CMYK, palettes and gray become RGB as in Pillow.
4. Transparent parts are composed over `BACKGROUND`, at full size, before anything is resized:
   each channel becomes `(alpha * color + (255 - alpha) * background) / 255`, rounded to the
   nearest integer. Alpha may come from a channel (RGBA, LA), a palette, or one transparent color
   (tRNS of PNG, GIF). The color of pixels with alpha 0 never shows.
5. The square in the middle is cut out and resized: bicubic, with antialiasing.

Needs NumPy and Pillow only.
"""

import functools
import io
import os
from pathlib import Path

import numpy as np

# White: drawings, logos and product photos with transparent parts are made for white pages, and
# black strokes would vanish over black.
BACKGROUND = (255, 255, 255)


# Packages that teach Pillow further kinds of images.
PLUGINS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".jxl": "pillow-jxl-plugin"}
_HEIC = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1")  # how such files begin, after 4 bytes
# Formats that Pillow can name but not decode by itself, or runs another program for (EPS).
_NO_IMAGES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


def image_endings() -> set[str]:
    """Endings of the files that Pillow reads, with the plugins that are registered now.

    Example:

    >>> ".jfif" in image_endings()
    True
    """
    from PIL import Image

    _register_plugins()
    endings = Image.registered_extensions()
    return {
        ending
        for ending, kind in endings.items()
        if (kind in Image.OPEN and kind not in _NO_IMAGES) or kind == "MPO"  # opened as JPEG
    }


@functools.cache
def _register_plugins() -> None:
    """Lets Pillow use the plugins that are installed and do not register themselves."""
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()


def decode(source: bytes | str | os.PathLike, image_size: int) -> np.ndarray:
    """Decodes one image to a square, by the rule at the top of this file.

    Args:
        source: an encoded image (JPEG, PNG, ...), or the path of one.
        image_size: side of the square in pixels.

    Returns:
        `(image_size, image_size, 3)` uint8, RGB from 0 to 255.

    Raises:
        OSError: it is missing, truncated, damaged or not an image. Messages name the path.
        ValueError: its values have more than 8 bits and no known range: 32 bits, floats, or 16
            bits of gray in another format than PNG; or it is damaged.

    Example:

    >>> keras.utils.save_img("logo.png", images[0])
    >>> decode("logo.png", 224).shape
    (224, 224, 3)
    """
    return square_of(read(source, image_size), image_size)


def square_of(image, image_size: int) -> np.ndarray:
    """The square in the middle of an image in RGB, resized; returns as `decode`."""
    from PIL import Image

    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((image_size, image_size), Image.Resampling.BICUBIC, box=box))


def decode_whole(source: bytes | str | os.PathLike) -> np.ndarray:
    """Decodes one image at its own size and proportions; otherwise as `decode`.

    Returns:
        `(height, width, 3)` uint8, RGB from 0 to 255.

    Raises:
        OSError: as for `decode`.
        ValueError: as for `decode`.
    """
    return np.asarray(read(source))


def read(source: bytes | str | os.PathLike, image_size: int | None = None):
    """One image in RGB, before the square is cut out; a Pillow image.

    Args:
        source: as for `decode`.
        image_size: side of the square that is wanted; a large JPEG is decoded at a fraction of
            its size.

    Raises:
        OSError: as for `decode`.
        ValueError: as for `decode`.
    """
    name = "" if isinstance(source, bytes) else f"{os.fspath(source)}: "
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        return _read_rgb(content, image_size)
    except (FileNotFoundError, IsADirectoryError, PermissionError, MemoryError):
        raise  # they name the file
    except ValueError as error:
        raise ValueError(f"{name}{error}") from error
    except Exception as error:  # Pillow's decoders raise errors of many kinds
        reason = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise OSError(f"{name}{reason}") from error


def _read_rgb(content: bytes, image_size: int | None):
    """Decodes an image at its size or, with an `image_size`, a large JPEG at a fraction of it."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    _register_plugins()
    Image.init()
    formats = [kind for kind in Image.OPEN if kind not in _NO_IMAGES]
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
    except UnidentifiedImageError:
        hint = " (HEIC: pip install pillow-heif)" if content[4:12] in _HEIC else ""
        raise OSError(
            "cannot identify image file: damaged, empty, or of a kind that Pillow does not read"
            + hint
        ) from None
    with image:
        if image_size:
            image.draft("RGB", (image_size, image_size))  # JPEG: decode at 1/2, 1/4, 1/8
        if image.tile and image.tile[0][3] == "RGB;16B" and "transparency" in image.info:
            image.info["transparency"] = tuple(v >> 8 for v in image.info["transparency"])
        kind = image.format
        image.load()
        ImageOps.exif_transpose(image, in_place=True)  # without a copy where nothing is turned
        return _opaque(_eight_bits(image, kind))


def _eight_bits(image, file_format: str | None):
    """Keeps the upper 8 bits of 16-bit gray, as Pillow itself does for 16-bit colors."""
    from PIL import Image

    if image.mode[0] not in "IF":
        return image
    if file_format != "PNG":  # PNG: black is 0 and white is 65535; other formats do not say
        raise ValueError(
            f"more than 8 bits per channel (mode {image.mode}), whose range is not known: save it "
            "with 8 bits"
        )
    upper = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
    if (transparent := image.info.get("transparency")) is not None:
        upper.info["transparency"] = transparent >> 8
    return upper


def _opaque(image):
    """Composes an image over the background: RGB."""
    from PIL import Image

    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image.convert("RGBA")
    below = Image.new("RGB", image.size, BACKGROUND)
    below.paste(image, mask=image.getchannel("A"))
    return below
