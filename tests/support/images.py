"""Pictures made for a test: noise, so that they are as large as their pixels ask for."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture of random pixels, the same ones each time."""
    values = np.random.default_rng(1).integers(0, 256, (height, width, 4), dtype=np.uint8)
    picture = Image.fromarray(values)
    return picture.convert(mode) if mode.endswith("A") else picture.convert("RGB").convert(mode)


def encode(picture: Image.Image, format: str, **options: object) -> bytes:  # noqa: A002 (Pillow's)
    """The picture as a file."""
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def png(width: int = 8, height: int = 6, *, alpha: bool = True) -> bytes:
    """A PNG with an alpha channel, or without any transparency."""
    return encode(noise(width, height, "RGBA" if alpha else "RGB"), "PNG", compress_level=1)


def jpeg(width: int = 8, height: int = 6, *, orientation: int = 1, extra: bytes = b"") -> bytes:
    """A JPEG; `orientation` is EXIF's, `extra` goes before the pixels as an ICC profile."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(noise(width, height), "JPEG", exif=exif, icc_profile=extra)


def webp(width: int = 8, height: int = 6) -> bytes:
    """A lossless WebP with an alpha channel."""
    return encode(noise(width, height, "RGBA"), "WEBP", lossless=True)


def gif(width: int = 8, height: int = 6) -> bytes:
    """A GIF of one frame."""
    return encode(noise(width, height, "P"), "GIF")


def bmp(width: int = 8, height: int = 6) -> bytes:
    """A Windows bitmap."""
    return encode(noise(width, height), "BMP")


def tiff(width: int = 8, height: int = 6) -> bytes:
    """An uncompressed TIFF, which has its header behind the pixels."""
    return encode(noise(width, height), "TIFF")


Maker = Callable[[int, int], bytes]

FORMATS: dict[str, Maker] = {
    "JPEG": jpeg,
    "PNG": png,
    "WebP": webp,
    "GIF": gif,
    "BMP": bmp,
    "TIFF": tiff,
}
"""How to make a picture of each format that the vendor takes, by the name Cutout gives it."""
