import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutout.domain.errors import (
    BadOutput,
)
from cutout.domain.png import PngCheck
from tests.support import images as pictures
from tests.support.images import END, PIXELS, SIGNATURE, animated_png, chunk, header

PNG = pictures.png()
PLENTY = 100_000_000


def check(blocks: Iterable[bytes | memoryview], max_bytes: int = PLENTY) -> PngCheck:
    png = PngCheck(max_bytes)
    for block in blocks:
        png.feed(block)
    png.finish()
    return png


def verdict(blocks: Iterable[bytes]) -> str:
    try:
        check(blocks)
    except BadOutput as error:
        return str(error)
    return "good"


def test_a_png_with_an_alpha_channel_is_good() -> None:
    png = check([PNG])
    assert (png.width, png.height, png.size) == (8, 6, len(PNG))


def palette_with_transparency() -> bytes:
    return pictures.encode(pictures.noise(8, 6, "P"), "PNG", transparency=0)


@pytest.mark.parametrize(
    "data",
    [
        pictures.encode(pictures.noise(8, 6, "LA"), "PNG"),
        palette_with_transparency(),
        pictures.encode(pictures.noise(8, 6), "PNG", transparency=(1, 2, 3)),
        animated_png(),
        SIGNATURE + header() + chunk(b"teXt", bytes(1000)) + PIXELS * 3 + END,
    ],
    ids=["grey and alpha", "palette and tRNS", "RGB and tRNS", "animated", "unknown chunk"],
)
def test_other_pngs_with_transparency_are_good(data: bytes) -> None:
    assert verdict([data]) == "good"


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_a_png_without_transparency_is_bad(mode: str) -> None:
    opaque = pictures.encode(pictures.noise(8, 6, mode), "PNG")
    assert verdict([opaque]) == "the output is a PNG without transparency"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pictures.jpeg(), "the output is not a PNG"),
        (b"<html>not found</html>", "the output is not a PNG"),
        (b"", "the output ends in the middle, after 0 bytes"),
        (SIGNATURE + PIXELS + END, "the output is a PNG without a proper header"),
        (SIGNATURE + header() + header() + END, "the output is a PNG without a proper header"),
        (SIGNATURE + header(width=0) + END, "the output is a PNG without a proper header"),
        (SIGNATURE + header(height=0) + END, "the output is a PNG without a proper header"),
        (SIGNATURE + chunk(b"IHDR", bytes(14)), "the output is a PNG without a proper header"),
        (SIGNATURE + chunk(b"IHDR", bytes(3)) + END, "the output is a PNG without a proper header"),
        (SIGNATURE + header() + END, "the output is a PNG without pixels"),
        (PNG + b"\x00", "the output has bytes after its end"),
        (PNG + PNG, "the output has bytes after its end"),
    ],
)
def test_what_is_no_whole_png_is_bad(data: bytes, reason: str) -> None:
    assert verdict([data]) == reason


@given(st.data())
@pytest.mark.parametrize(
    "data",
    [
        PNG,
        palette_with_transparency(),
        pictures.png(alpha=False),
        PNG[:-1],
        PNG[:40],
        PNG + b"more",
        PNG[:60] + b"\x00" + PNG[61:],
        pictures.jpeg(),
    ],
    ids=["good", "palette", "opaque", "short", "shorter", "long", "damaged", "jpeg"],
)
def test_the_verdict_is_the_same_however_the_bytes_arrive(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=20)))
    blocks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert verdict(blocks) == verdict([data])


def test_the_verdict_is_the_same_for_single_bytes() -> None:
    assert verdict(PNG[i : i + 1] for i in range(len(PNG))) == "good"


def test_memory_views_are_taken() -> None:
    assert check([memoryview(PNG)]).size == len(PNG)


def test_a_png_that_stops_anywhere_is_bad() -> None:
    for length in range(len(PNG)):
        assert verdict([PNG[:length]]) == f"the output ends in the middle, after {length} bytes"


def test_a_png_with_any_byte_flipped_is_bad() -> None:
    for place in range(len(PNG)):
        damaged = bytearray(PNG)
        damaged[place] ^= 0xFF
        assert verdict([bytes(damaged)]) != "good", f"byte {place}"


def test_a_png_with_any_bit_of_its_header_flipped_is_bad() -> None:
    for place in range(33 * 8):
        damaged = bytearray(PNG)
        damaged[place // 8] ^= 1 << place % 8
        assert verdict([bytes(damaged)]) != "good", f"bit {place}"


def test_a_png_as_large_as_allowed_is_good() -> None:
    check([PNG], max_bytes=len(PNG))


def test_a_png_that_is_too_large_is_refused_before_its_end() -> None:
    png = PngCheck(max_bytes=100)
    png.feed(PNG[:100])
    with pytest.raises(BadOutput, match="more than the 100 bytes allowed"):
        png.feed(PNG[100:101])


def test_only_headers_are_kept() -> None:
    png = PngCheck(PLENTY)
    png.feed(SIGNATURE + header() + struct.pack(">I4s", 50_000_000, b"IDAT"))
    for _ in range(40):
        png.feed(bytes(1_000_000))
        assert len(png._pending) == 0
