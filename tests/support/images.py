"""Images made for a test: noise, so that they are as large as their pixels ask for."""

import base64
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """An image of random pixels, the same ones each time."""
    values = np.random.default_rng(1).integers(0, 256, (height, width, 4), dtype=np.uint8)
    image = Image.fromarray(values)
    return image.convert(mode) if mode.endswith("A") else image.convert("RGB").convert(mode)


def encode(image: Image.Image, format: str, **options: object) -> bytes:  # noqa: A002 (Pillow's)
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png(width: int = 8, height: int = 6, *, alpha: bool = True) -> bytes:
    """A PNG with an alpha channel, or without any transparency."""
    return encode(noise(width, height, "RGBA" if alpha else "RGB"), "PNG", compress_level=0)


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
"""How to make an image of each format that the vendor takes, by the name Cutout gives it."""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int = 1, height: int = 1, colour: int = 6) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))


SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = chunk(b"IDAT", zlib.compress(b"\x00\x00\x00\x00\x00"))
END = chunk(b"IEND", b"")


HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB7AABAAAAAAAAAG8AAgAAAAACWwABAAAAAAAAACQAAAA4aWluZgAA"
    "AAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcn"
    "AAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroC"
    "QGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm"
    "5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AA"
    "AAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAA"
    "AOY2RzYwACAAEAAQAAAJttZGF0AAAAaygBrwngOSMkv//6Mb//+EaeQ/a5hcE4/cw/fa0///HzHUV2VhWyBv6lTxeL"
    "5SqdaxKkdyIbLV+IlkDVv6jxuISpfOYu4pdoI2JSdB9o1xMk4xjV6Xq42tUwV22zmAd3qM1/NUlN/4RXdfGzAAAABk"
    "V4aWYAAE1NACoAAAAIAAEBEgADAAAAAQAGAAAAAAAA"
)
"""48 x 64 pixels once turned upright: red on top, green below; made with pillow-heif, since
pi-heif has no encoder."""


def avif(width: int = 8, height: int = 6) -> bytes:
    """An AVIF without transparency."""
    return encode(noise(width, height), "AVIF", speed=10)


def animated_png() -> bytes:
    frames = [Image.fromarray(np.full((6, 8, 4), shade, np.uint8)) for shade in (50, 150)]
    return encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
