import io
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cutout.domain.errors import (
    ServiceError,
    SourceGone,
    TooFewPixels,
    TooManyPixels,
    UnsupportedFormat,
    UploadTooLarge,
)
from cutout.domain.images import ImageHeader, check_bytes, check_pixels, identify
from tests.support import images

PNG = images.png()
PLENTY = 100_000_000

HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64)
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="8" height="6"/>'


def looked_at(data: bytes) -> ImageHeader:
    return identify(io.BytesIO(data))


@pytest.mark.parametrize("name", images.FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (8, 6), (300, 2)])
def test_each_format_is_known_by_its_bytes(name: str, size: tuple[int, int]) -> None:
    assert looked_at(images.FORMATS[name](*size)) == ImageHeader(name, *size)


def test_an_animated_png_is_a_png() -> None:
    assert looked_at(images.animated_png()) == ImageHeader("PNG", 8, 6)


def test_a_lossy_webp_is_a_webp() -> None:
    assert looked_at(images.encode(images.noise(20, 10), "WEBP")) == ImageHeader("WebP", 20, 10)


def test_a_bitmap_that_starts_at_the_top_has_its_height() -> None:
    data = bytearray(images.bmp(8, 6))
    data[22:26] = struct.pack("<i", -6)
    assert looked_at(bytes(data)) == ImageHeader("BMP", 8, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_the_one_that_is_stored(orientation: int) -> None:
    assert looked_at(images.jpeg(8, 6, orientation=orientation)) == ImageHeader("JPEG", 8, 6)


def test_a_header_may_be_far_into_the_file() -> None:
    assert looked_at(images.jpeg(8, 6, extra=bytes(300_000))) == ImageHeader("JPEG", 8, 6)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"%PDF-1.7\n" + bytes(100), "looks like application/pdf"),
        (HEIC, "looks like image/heic"),
        (SVG, "is not an image that can be recognised"),
        (b"just some text", "is not an image that can be recognised"),
        (b"\x00" * 100, "is not an image that can be recognised"),
    ],
    ids=["pdf", "heic", "svg", "text", "zeros"],
)
def test_anything_else_is_refused_with_what_it_is(data: bytes, found: str) -> None:
    with pytest.raises(UnsupportedFormat, match=f"{found}; upload one of JPEG, PNG, WebP, GIF"):
        looked_at(data)


def test_an_empty_object_is_called_empty() -> None:
    with pytest.raises(UnsupportedFormat, match=r"^the object is empty, it has 0 bytes"):
        looked_at(b"")


@pytest.mark.parametrize(
    ("name", "length"), [("JPEG", 20), ("PNG", 20), ("WebP", 20), ("GIF", 8), ("BMP", 20)]
)
def test_a_header_that_stops_short_is_broken(name: str, length: int) -> None:
    with pytest.raises(UnsupportedFormat, match=f"starts like a {name} file but its header"):
        looked_at(images.FORMATS[name](8, 6)[:length])


def test_a_tiff_without_its_directory_is_broken() -> None:
    with pytest.raises(UnsupportedFormat, match="starts like a TIFF file but its header"):
        looked_at(b"II*\x00\x08\x00\x00\x00" + bytes(100))


@pytest.mark.parametrize("name", images.FORMATS)
@given(st.data())
def test_a_broken_image_is_nothing_worse_than_unsupported(name: str, data: st.DataObject) -> None:
    image = bytearray(images.FORMATS[name](8, 6))
    for _ in range(data.draw(st.integers(0, 4))):
        # The header is where damage matters; TIFF has it at the end.
        place = data.draw(st.integers(-200, 200).filter(lambda p: -len(image) <= p < len(image)))
        image[place] = data.draw(st.integers(0, 255))
    identify_or_refuse(bytes(image[: data.draw(st.integers(0, len(image)))]))


@given(
    st.sampled_from(
        [b"", b"BM", b"\xff\xd8\xff", b"GIF89a", b"II*\0", b"MM\0*", b"RIFF\0\0\0\0WEBP"]
    ),
    st.binary(max_size=300),
)
@example(b"\x89PNG\r\n\x1a\n", b"")
def test_bytes_from_anywhere_are_nothing_worse_than_unsupported(start: bytes, rest: bytes) -> None:
    identify_or_refuse(start + rest)


def identify_or_refuse(data: bytes) -> None:
    try:
        image = looked_at(data)
    except UnsupportedFormat:
        return
    assert image.width > 0
    assert image.height > 0


class FailingFile(io.BytesIO):
    """A file whose reads fail once the first block has been read."""

    def __init__(self, data: bytes, error: Exception) -> None:
        super().__init__(data)
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 8192:
            raise self._error
        return super().read(size)


@pytest.mark.parametrize("error", [SourceGone("deleted"), ServiceError("not now")])
def test_a_read_that_fails_says_nothing_about_the_format(error: Exception) -> None:
    file = FailingFile(images.jpeg(8, 6, extra=bytes(100_000)), error)
    with pytest.raises(type(error)):
        identify(file)


def test_bytes_are_counted_in_decimal_megabytes() -> None:
    check_bytes(50_000_000, max_megabytes=50)
    with pytest.raises(UploadTooLarge, match="50000001 bytes and the stack allows 50 MB"):
        check_bytes(50_000_001, max_megabytes=50)


def test_pixels_are_counted() -> None:
    check_pixels(ImageHeader("PNG", 1000, 1000), max_megapixels=1)
    with pytest.raises(TooManyPixels, match="1000 x 1001 pixels and the stack allows 1 megapixel"):
        check_pixels(ImageHeader("PNG", 1000, 1001), max_megapixels=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_a_single_row_or_column_has_too_few_pixels(size: tuple[int, int]) -> None:
    with pytest.raises(TooFewPixels, match=f"has {size[0]} x {size[1]} pixels, too few"):
        check_pixels(ImageHeader("PNG", *size), max_megapixels=1)
    check_pixels(ImageHeader("PNG", 2, 2), max_megapixels=1)


@pytest.mark.parametrize("side", [30_000, 65_535, 2**31 - 1])
def test_a_header_that_promises_a_huge_image_is_believed(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    image = looked_at(b"\x89PNG\r\n\x1a\n" + images.chunk(b"IHDR", header))
    assert image == ImageHeader("PNG", side, side)
    with pytest.raises(TooManyPixels):
        check_pixels(image, max_megapixels=50)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WebP", "image/webp"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
    ],
)
def test_an_image_is_served_as_what_it_is(name: str, media_type: str) -> None:
    assert ImageHeader(name, 8, 6).media_type == media_type
