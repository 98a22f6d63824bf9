"""What people drop into a bucket: photos, odd photos, and everything else."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import cv2
import numpy as np
from PIL import Image

from tests.chaos.numbered_images import cells, numbered
from tests.support import heic

MAX_MEGAPIXELS, MAX_MEGABYTES = 2, 1  # the campaign's, so that files that break them are small


class Expected(Enum):
    """How a file ends when nothing goes wrong."""

    COMPLETED = "completed"
    REJECTED = "rejected"  # before any money is spent
    UNREADABLE = "failed"  # its header is good, and only the vendor finds out
    DELETED = "any"  # gone while it is worked on: any plain answer will do


@dataclass(frozen=True)
class Kind:
    """A kind of file: its bytes for a number, how its key looks, and what comes of it."""

    expected: Expected
    make: Callable[[int], bytes]
    key: str = "{name}.jpg"
    metadata: Mapping[str, str] = field(default_factory=dict)


def _encoded(number: int, format: str, mode: str = "RGB", **options: object) -> bytes:  # noqa: A002
    file = io.BytesIO()
    numbered(number).convert(mode).save(file, format, **options)
    return file.getvalue()


def _jpeg(number: int) -> bytes:
    return _encoded(number, "JPEG", quality=90)


def _png(number: int) -> bytes:
    return _encoded(number, "PNG")


def _animated(number: int, format: str) -> bytes:  # noqa: A002
    other = numbered(~number & 0xFFFFFF)
    return _encoded(
        number, format, save_all=True, append_images=[other], duration=50, lossless=True
    )


def _of_16_bits(number: int) -> bytes:
    pixels = np.asarray(numbered(number)).astype(np.uint16) * 257
    return bytes(cv2.imencode(".png", pixels)[1])


def _rotated(number: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encoded(number, "JPEG", exif=exif)


def _with_transparent_colour(number: int) -> bytes:
    return _encoded(number, "PNG", "P", transparency=0)


def _png_of(width: int, height: int) -> bytes:
    """A whole PNG of one colour: a few KB that unpack to width x height pixels."""
    rows = zlib.compress((b"\0" + bytes((width + 7) // 8)) * height, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _same(body: bytes) -> Callable[[int], bytes]:
    return lambda _number: body


def _rejected(body: bytes, key: str = "{name}.jpg") -> Kind:
    return Kind(Expected.REJECTED, _same(body), key)


def _good(make: Callable[[int], bytes], key: str = "{name}.jpg", **metadata: str) -> Kind:
    return Kind(
        Expected.COMPLETED, make, key, {f"cutout-{name}": v for name, v in metadata.items()}
    )


PHOTO = _good(_jpeg)

KINDS: dict[str, Kind] = {
    # images, however odd
    "PNG named .jpg": _good(_png),
    "JPEG without a suffix": _good(_jpeg, "{name}"),
    "animated GIF": _good(lambda n: _animated(n, "GIF"), "{name}.gif"),
    "animated WebP": _good(lambda n: _animated(n, "WEBP"), "{name}.webp"),
    "animated PNG": _good(lambda n: _animated(n, "PNG"), "{name}.png"),
    "CMYK JPEG": _good(lambda n: _encoded(n, "JPEG", "CMYK")),
    "16-bit PNG": _good(_of_16_bits, "{name}.png"),
    "1-bit TIFF": _good(lambda n: _encoded(n, "TIFF", "1"), "{name}.tif"),
    "TIFF of two pages": _good(lambda n: _animated(n, "TIFF"), "{name}.tif"),
    "grey BMP": _good(lambda n: _encoded(n, "BMP", "L"), "{name}.bmp"),
    "PNG with a transparent colour": _good(_with_transparent_colour, "{name}.png"),
    "JPEG with EXIF rotation": _good(_rotated),
    "JPEG with a tail": _good(lambda n: _jpeg(n) + b"tail" * 9000),
    "unicode key": _good(_jpeg, "ümlaut/日本/😀 {name}.JPG"),
    "key of signs": _good(_jpeg, "a+b%20c&d=e;f/..x/'\" \\{name}\n.jpg"),
    "asks for a sync answer": _good(_jpeg, sync="true"),
    "asks for base64": _good(_jpeg, base64="true"),
    # what the vendor does not take, and is converted
    "HEIC": _good(lambda n: heic.tiled(cells(n)), "{name}.heic"),
    "AVIF": _good(lambda n: _encoded(n, "AVIF", quality=90), "{name}.avif"),
    # no images, or too much of one
    "zero bytes": _rejected(b""),
    "one byte": _rejected(b"\xff"),
    "folder": _rejected(b"", "{name}/"),
    "text": _rejected(b"This is not an image.\n" * 50),
    "text that starts with BM": _rejected(b"BMW and other cars. " * 50),
    "SVG": _rejected(
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "{name}.svg"
    ),
    "HTML": _rejected(b"<!doctype html><img src=cat.jpg>"),
    "broken HEIC": _rejected(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), "{name}.heic"),
    "broken AVIF": _rejected(b"\0\0\0\x1cftypavif\0\0\0\0mif1miaf" + bytes(500), "{name}.avif"),
    "PDF": _rejected(b"%PDF-1.7\n" + bytes(500)),
    "ZIP": _rejected(b"PK\x03\x04" + bytes(500)),
    "PSD": _rejected(b"8BPS\0\x01" + bytes(500), "{name}.psd"),
    "program": _rejected(b"\x7fELF\x02\x01\x01" + bytes(500)),
    "empty JPEG": _rejected(b"\xff\xd8\xff\xd9"),
    "JPEG cut in its header": Kind(Expected.REJECTED, lambda n: _jpeg(n)[:30]),
    "PNG signature only": _rejected(b"\x89PNG\r\n\x1a\n"),
    "header of 20,000 x 20,000": _rejected(
        _png_of(20_000, 1)[:16] + struct.pack(">II", 20_000, 20_000) + _png_of(20_000, 1)[24:]
    ),
    "bomb of 30 megapixels": _rejected(_png_of(6_000, 5_000), "{name}.png"),
    "more bytes than allowed": Kind(
        Expected.REJECTED, lambda n: _jpeg(n) + bytes(MAX_MEGABYTES * 1_000_000)
    ),
    "key too long for a suffix": Kind(
        Expected.REJECTED, _jpeg, "{name}" + "k" * 1000 + "/" + "x" * 16
    ),
    "asks for nonsense": Kind(Expected.REJECTED, _jpeg, metadata={"cutout-sync": "perhaps"}),
    "asks for another model": Kind(Expected.REJECTED, _jpeg, metadata={"cutout-model": "a/b"}),
    # images to look at, not to read
    "JPEG cut in its body": Kind(Expected.UNREADABLE, lambda n: _jpeg(n)[:-200]),
    "PNG cut in its body": Kind(Expected.UNREADABLE, lambda n: _png(n)[:-60], "{name}.png"),
    "deleted at once": Kind(Expected.DELETED, _jpeg),
}
