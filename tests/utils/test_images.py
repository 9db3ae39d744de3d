"""Decoding one image: transparency, bits, frames, orientation."""

import base64
import io
import json
import struct
import warnings
import zlib

import numpy as np
import pytest

from keras_seqpar.utils.images import BACKGROUND, decode
from tests.references import squares

Image = pytest.importorskip("PIL.Image")
MAGENTA = (255, 0, 255)


def encoded(image, file_format="PNG", **options):
    content = io.BytesIO()
    image.save(content, file_format, **options)
    return content.getvalue()


def deep_png(color_type, values, transparent=()):
    """A PNG of 4x4 pixels with 16 bits per channel."""

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    def big_endian(numbers):
        return struct.pack(f">{len(numbers)}H", *numbers)

    header = struct.pack(">IIBBBBB", 4, 4, 16, color_type, 0, 0, 0)
    key = chunk(b"tRNS", big_endian(transparent)) if transparent else b""
    rows = zlib.compress(4 * (b"\0" + 4 * big_endian(values)))
    parts = chunk(b"IHDR", header), key, chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def see_through():
    """Images whose pixels are all transparent, and whose hidden color is not the background's."""
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([*MAGENTA, 0, 255, 0])
    color = Image.new("RGBA", (8, 8), (*MAGENTA, 0))
    return {
        "RGBA": encoded(color),
        "LA": encoded(Image.new("LA", (8, 8), (9, 0))),
        "palette, one color": encoded(palette, transparency=0),
        "palette, alpha per color": encoded(palette, transparency=bytes([0, 255])),
        "RGB, one color": encoded(Image.new("RGB", (8, 8), MAGENTA), transparency=MAGENTA),
        "gray, one color": encoded(Image.new("L", (8, 8), 7), transparency=7),
        "two colors": encoded(Image.new("1", (8, 8), 0), transparency=0),
        "16-bit gray, one color": deep_png(0, [60000], [60000]),
        "16-bit colors, one color": deep_png(2, [60000, 5, 65535], [60000, 5, 65535]),
        "16-bit gray and alpha": deep_png(4, [60000, 0]),
        "16-bit colors and alpha": deep_png(6, [60000, 5, 65535, 0]),
        "GIF": encoded(color, "GIF"),
        "WebP": encoded(color, "WEBP", lossless=True, exact=True),
        "TIFF": encoded(color, "TIFF"),
        "JPEG 2000": encoded(color, "JPEG2000"),
    }


@pytest.mark.parametrize("kind", see_through())
@pytest.mark.parametrize("size", [8, 5, 20])
def test_what_is_transparent_shows_the_background(kind, size):
    assert (decode(see_through()[kind], size) == BACKGROUND).all()


def test_transparency_is_composed_to_the_nearest_integer():
    alpha, value = np.mgrid[:256, :256]
    colors = np.stack([value, value, value, alpha], -1).astype("uint8")
    want = np.rint((alpha * value + (255 - alpha) * 255) / 255)
    assert np.array_equal(decode(encoded(Image.fromarray(colors)), 256)[..., 0], want)


def test_the_hidden_color_does_not_bleed_into_edges_when_resized():
    pixels = np.zeros((64, 64, 4), "uint8")
    pixels[:] = (255, 0, 0, 0)  # red, not to be seen
    pixels[16:48, 16:48] = (0, 0, 0, 255)
    small = decode(encoded(Image.fromarray(pixels)), 10)
    assert (small == small[..., :1]).all()  # grays between black and white only


def test_squares_are_those_that_kotlin_and_the_page_make():
    """Their tests read the same file; `python -m tests.references.squares` writes it."""
    for case in json.loads(squares.PATH.read_text()):
        width, height, size = case["width"], case["height"], case["size"]
        pixels = np.frombuffer(base64.b64decode(case["rgba"]), "uint8")
        square = decode(squares.png(pixels.reshape(height, width, 4)), size)
        assert base64.b64encode(square.tobytes()).decode() == case["square"], (width, height, size)


def test_16_bits_keep_the_upper_8():
    for content, want in (
        (deep_png(0, [60000]), [234] * 3),
        (deep_png(2, [60000, 5, 65535]), [234, 0, 255]),
        (deep_png(4, [60000, 65535]), [234] * 3),
    ):
        assert (decode(content, 4) == want).all()


@pytest.mark.parametrize(("kind", "dtype"), [("I;16", "uint16"), ("I", "int32"), ("F", "float32")])
def test_values_of_unknown_range_are_refused(kind, dtype):
    content = encoded(Image.fromarray(np.full((4, 4), 3000, dtype)), "TIFF")
    with pytest.raises(ValueError, match=rf"8 bits per channel \(mode {kind}\).*save it with 8"):
        decode(content, 4)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_images_is_taken(file_format):
    first, *others = (Image.new("RGB", (8, 8), (0, 0, 100 * i)) for i in range(3))
    content = encoded(first, file_format, save_all=True, append_images=others)
    assert (decode(content, 8) <= 1).all()


def test_cmyk_is_read_as_its_colors():
    white = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    assert (decode(encoded(white, "JPEG"), 8) > 250).all()
    assert (decode(encoded(white, "TIFF"), 8) == 255).all()


def test_orientation_and_transparency_together():
    pixels = np.zeros((8, 8, 4), "uint8")
    pixels[:4] = (0, 0, 0, 255)  # the upper half is black, the rest is transparent
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise: above becomes right
    turned = decode(encoded(Image.fromarray(pixels), exif=exif), 8)
    assert (turned[:, 4:] == 0).all()
    assert (turned[:, :4] == 255).all()


@pytest.mark.parametrize("given", ["path", "bytes"])
@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", OSError, "cannot identify image file: damaged, empty, or of a kind"),
        (b"<html>", OSError, "cannot identify image file"),
        (b"\0\0\0\x18ftypheic" + bytes(40), OSError, "HEIC: pip install pillow-heif"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", OSError, "cannot identify"),
        (encoded(Image.effect_noise((40, 40), 9))[:700], OSError, "truncated"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), ValueError, "more than 8 bits"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, error, words, given):
    path = tmp_path / "it.jpg"
    path.write_bytes(content)
    with pytest.raises(error, match=words) as caught:
        decode(path if given == "path" else content, 8)
    assert str(caught.value).startswith(f"{path}: ") == (given == "path")


def test_damaged_images_end_in_one_of_two_errors():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (20, 20, 4), "uint8"))
    sources = [encoded(noise, kind) for kind in ("PNG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000")]
    sources += [encoded(noise.convert("RGB"), kind) for kind in ("JPEG", "PPM", "TGA", "PCX")]
    for i in range(300):
        content = bytearray(sources[i % len(sources)])
        for at in rng.integers(0, min(len(content), 200), 3):
            content[at] ^= 1 << rng.integers(8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of very large images
            try:
                image = decode(bytes(content), 8)
            except (OSError, ValueError) as error:
                assert str(error)
            else:
                assert image.shape == (8, 8, 3)
