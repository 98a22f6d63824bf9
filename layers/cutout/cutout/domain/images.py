"""What an upload is, by its bytes."""

from dataclasses import dataclass
from typing import BinaryIO

import filetype
import imagesize

from cutout.domain.errors import (
    CutoutError,
    TooFewPixels,
    TooManyPixels,
    UnsupportedFormat,
    UploadTooLarge,
)

# What the vendor takes, by the media types that `filetype` reports.
FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/apng": "PNG",
    "image/webp": "WebP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
}
SUPPORTED = ", ".join(dict.fromkeys(FORMATS.values()))
# What can be converted, by the brands that such a file names.
# https://github.com/nokiatech/heif/wiki and https://aomediacodec.github.io/av1-avif/
_CONVERTIBLE = {
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"},
}
MEGABYTE = 1_000_000
MEGAPIXEL = 1_000_000
MIN_SIDE = 2  # pixels: in a single row or column nothing stands before anything
_HEAD_BYTES = 8192  # as much as `filetype` looks at


@dataclass(frozen=True)
class ImageHeader:
    """Format, and size in pixels as stored (before any EXIF rotation)."""

    format: str
    width: int
    height: int

    @property
    def media_type(self) -> str:
        return next(media_type for media_type, name in FORMATS.items() if name == self.format)


def identify(file: BinaryIO) -> ImageHeader:
    """Tell what image a file holds, from its headers alone.

    What is behind them is the vendor's to judge, who refunds what fails: viewers show many a
    file that is cut off. Raises `UnsupportedFormat`; errors of the file's own reads pass through.
    """
    head = file.read(_HEAD_BYTES)
    if not head:
        raise UnsupportedFormat("the object is empty, it has 0 bytes; upload it again")
    kind = filetype.guess(head)
    if kind is None or kind.mime not in FORMATS:
        found = f"looks like {kind.mime}" if kind else "is not an image that can be recognised"
        raise UnsupportedFormat(f"the object {found}; upload one of {SUPPORTED}")
    name = FORMATS[kind.mime]
    file.seek(0)
    width, height = _size(file, name)
    return ImageHeader(name, width, height)


def is_convertible(file: BinaryIO) -> bool:
    """Whether a file claims to be HEIC or AVIF; its size in pixels only a decoder tells.

    Errors of the file's own reads pass through.
    """
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if head[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[at : at + 4] for at in (8, *range(16, end, 4))}
    return any(brands & known for known in _CONVERTIBLE.values())


def _size(file: BinaryIO, name: str) -> tuple[int, int]:
    broken = f"the object starts like a {name} file but its header is broken; upload it again"
    try:
        # Not `get`, which turns every error into a size of -1, those of the file's reads too.
        found = imagesize.get_info(
            file, dpi=False, colors=False, channels=False, exif_rotation=False
        )
    except CutoutError:
        raise
    except Exception as error:  # imagesize documents no errors: its parsers raise what they meet
        raise UnsupportedFormat(broken) from error
    if found.width < 1 or found.height < 1:
        raise UnsupportedFormat(broken)
    return int(found.width), int(found.height)


def check_bytes(size: int, max_megabytes: int) -> None:
    """Raise `UploadTooLarge` for more bytes than the stack allows."""
    if size > max_megabytes * MEGABYTE:
        raise UploadTooLarge(
            f"the object has {size} bytes and the stack allows {max_megabytes} MB; "
            "make it smaller or raise MaxUploadMegabytes"
        )


def check_pixels(image: ImageHeader, max_megapixels: int) -> None:
    """Raise `TooFewPixels` for a single row or column, `TooManyPixels` for more than allowed."""
    if min(image.width, image.height) < MIN_SIDE:
        raise TooFewPixels(
            f"the image has {image.width} x {image.height} pixels, too few for a subject and a "
            "background; upload a larger one"
        )
    if image.width * image.height > max_megapixels * MEGAPIXEL:
        raise TooManyPixels(
            f"the image has {image.width} x {image.height} pixels and the stack allows "
            f"{max_megapixels} megapixels; make it smaller or raise MaxMegapixels"
        )
