import io
import struct
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import replace
from itertools import product

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cutout.domain.errors import BadOutput, CutoutError, EmptyCutout, OpaqueCutout
from cutout.domain.png import PngCheck
from tests.support import images
from tests.support.images import END, PIXELS, SIGNATURE, animated_png, chunk, header
from tests.support.pngs import BROKEN, DEPTHS, GOOD, KINDS, SUITE, Png

PNG = images.png()
PLENTY = 100_000_000


def check(
    blocks: Iterable[bytes | memoryview],
    max_bytes: int = PLENTY,
    max_pixels: int = PLENTY,
    *,
    refuse_opaque: bool = False,
) -> PngCheck:
    png = PngCheck(max_bytes, max_pixels, refuse_opaque=refuse_opaque)
    for block in blocks:
        png.feed(block)
    png.finish()
    return png


def verdict(blocks: Iterable[bytes]) -> str:
    try:
        check(blocks)
    except (BadOutput, EmptyCutout) as error:
        return str(error)
    return "good"


def test_a_png_with_an_alpha_channel_is_good() -> None:
    png = check([PNG])
    assert (png.width, png.height, png.size) == (8, 6, len(PNG))


def palette_with_transparency() -> bytes:
    return images.encode(images.noise(8, 6, "P"), "PNG", transparency=0)


@pytest.mark.parametrize(
    "data",
    [
        images.encode(images.noise(8, 6, "LA"), "PNG"),
        palette_with_transparency(),
        images.encode(images.noise(8, 6), "PNG", transparency=(1, 2, 3)),
        replace(GOOD, chunks=chunk(b"teXt", bytes(1000))).encode(),
        SIGNATURE + GOOD.header + GOOD.idat() * 2 + END,
    ],
    ids=["grey and alpha", "palette and tRNS", "RGB and tRNS", "unknown chunk", "too much"],
)
def test_other_pngs_with_transparency_are_good(data: bytes) -> None:
    assert verdict([data]) == "good"


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_a_png_without_transparency_is_bad(mode: str) -> None:
    opaque = images.encode(images.noise(8, 6, mode), "PNG")
    assert verdict([opaque]) == "the output is a PNG without transparency"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (images.jpeg(), "the output is not a PNG"),
        (b"<html>not found</html>", "the output is not a PNG"),
        (b"", "the output ends in the middle, after 0 bytes"),
        (SIGNATURE + PIXELS + END, "the output is a PNG without a proper header"),
        (SIGNATURE + header() + header() + END, "the output is a PNG without a proper header"),
        (SIGNATURE + header(width=0) + END, "the output is a PNG without a proper header"),
        (SIGNATURE + header(height=0) + END, "the output is a PNG without a proper header"),
        (SIGNATURE + chunk(b"IHDR", bytes(14)), "the output is a PNG without a proper header"),
        (SIGNATURE + chunk(b"IHDR", bytes(3)) + END, "the output is a PNG without a proper header"),
        (SIGNATURE + header() + END, "the output is a PNG without pixels"),
        (animated_png(), "the output is an animated PNG"),
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
        images.png(alpha=False),
        PNG[:-1],
        PNG[:40],
        PNG + b"more",
        PNG[:60] + b"\x00" + PNG[61:],
        images.jpeg(),
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
    png = PngCheck(100, PLENTY)
    png.feed(PNG[:100])
    with pytest.raises(BadOutput, match="more than the 100 bytes allowed"):
        png.feed(PNG[100:101])


def test_a_png_with_as_many_pixels_as_an_upload_may_have_is_good() -> None:
    check([PNG], max_pixels=8 * 6)


def test_a_png_with_more_pixels_than_any_upload_is_refused_by_its_header() -> None:
    png = PngCheck(PLENTY, 8 * 6 - 1)
    with pytest.raises(BadOutput, match="8 x 6 pixels, and no upload may have more than 47"):
        png.feed(PNG[:33])


# ------------------------------------------------------------------ what decoders say


def decoded(data: bytes) -> Image.Image:
    """By Pillow, to the last byte. Raises what Pillow raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of palettes with transparency
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return image.convert("RGBA")


def decodes_by_libpng(data: bytes) -> bool:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) is not None


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_kind_of_png_is_good_with_every_filter(
    colour: int, depth: int, interlace: int
) -> None:
    for width, height in product((1, 2, 5, 9), (1, 3, 8)):
        made = Png.random(7, width, height, colour, depth, filters=(4, 3, 2, 1, 0))
        data = replace(made, interlace=interlace).encode()
        assert verdict([data]) in {
            "good",
            "the output is wholly transparent: the model found no subject",  # one pixel, by chance
        }
        assert decoded(data).size == (width, height)
        assert decodes_by_libpng(data)


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_broken_png_is_bad(data: bytes) -> None:
    for block in (len(data), 7 if len(data) < 100_000 else 65_536):
        with pytest.raises(BadOutput):
            check(data[i : i + block] for i in range(0, len(data), block))


@pytest.mark.parametrize("data", SUITE.values(), ids=SUITE)
def test_the_corrupt_files_of_the_suite_are_corrupt_for_pillow_and_libpng_too(data: bytes) -> None:
    with pytest.raises((OSError, SyntaxError, ValueError)):
        decoded(data)
    assert not decodes_by_libpng(data)


PARTS = st.sampled_from(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB pHYs iCCP "
    b"tEXt zTXt iTXt eXIf sBIT bKGD hIST tIME sPLT prVt".split()
)
BODIES = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=20).map(lambda text: b"a\0" + text),
    st.binary(max_size=20).map(lambda text: b"a\0\0" + zlib.compress(text)),
    st.binary(max_size=20).map(lambda text: b"a\0\1\0en\0a\0" + zlib.compress(text)),
)


@st.composite
def fuzzed(draw: st.DrawFn) -> bytes:
    """A good PNG with chunks put in, left out and changed; their checksums are right."""
    colour, depth = draw(st.sampled_from(KINDS))
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    made = Png.random(draw(st.integers(0, 9)), width, height, colour, depth)
    made = replace(made, interlace=draw(st.integers(0, 1)), filters=(draw(st.integers(0, 5)),) * 9)
    chunks = [made.header, made.chunks, made.idat(), END]
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(1, len(chunks)))
        added = chunk(draw(PARTS), draw(BODIES))
        chunks[place : place + draw(st.integers(0, 1))] = [added]
    return SIGNATURE + b"".join(chunks)


@settings(max_examples=500, deadline=None)
@given(fuzzed())
def test_what_passes_decodes(data: bytes) -> None:
    if verdict([data]) == "good":
        decoded(data)
        assert decodes_by_libpng(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_changed_byte_of_the_rows_passes_only_if_it_decodes(
    place: int, value: int, interlace: bool
) -> None:
    made = replace(GOOD, interlace=int(interlace))
    rows = bytearray(made.rows())
    rows[place % len(rows)] = value
    data = SIGNATURE + made.header + made.idat(bytes(rows)) + END
    if verdict([data]) == "good":
        decoded(data)
        assert decodes_by_libpng(data)


# ------------------------------------------------------------------ nothing to see


ALPHA_KINDS = [(colour, depth) for colour in (4, 6) for depth in DEPTHS[colour]]


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("filters", [(0,), (1,), (2,), (3,), (4,), (4, 0, 3, 1, 2)])
@pytest.mark.parametrize(("colour", "depth"), ALPHA_KINDS)
def test_a_wholly_empty_or_opaque_output_is_told_by_any_filter(
    colour: int, depth: int, filters: tuple[int, ...], interlace: int
) -> None:
    made = Png.random(3, 9, 8, colour, depth, filters=filters, interlace=interlace)
    empty, opaque = made.with_alpha(0), made.with_alpha(2**depth - 1)

    with pytest.raises(EmptyCutout, match="wholly transparent"):
        check([empty.encode()])
    with pytest.raises(OpaqueCutout, match="wholly opaque"):
        check([opaque.encode()], refuse_opaque=True)
    check([opaque.encode()])


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(ALPHA_KINDS),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.integers(0, 1),
    st.sampled_from([0, 1, 127, 254, 255]),
    st.one_of(st.none(), st.tuples(st.integers(0, 11), st.integers(0, 11), st.integers(0, 255))),
)
def test_one_pixel_that_differs_is_seen(
    kind: tuple[int, int],
    size: tuple[int, int],
    filters: list[int],
    interlace: int,
    alpha: int,
    odd: tuple[int, int, int] | None,
) -> None:
    made = Png.random(5, *size, *kind, filters=filters, interlace=interlace)
    made = made.with_alpha(alpha * (257 if kind[1] == 16 else 1))
    if odd:
        x, y, value = odd
        made.samples[y % size[1], x % size[0], -1] = value
    values = set(made.samples[:, :, -1].reshape(-1).tolist())

    try:
        check([made.encode()], refuse_opaque=True)
        found = "mixed"
    except CutoutError as error:
        found = error.code

    whole = {0: "empty_cutout", 2 ** kind[1] - 1: "opaque_cutout"}
    assert found == (whole.get(values.pop(), "mixed") if len(values) == 1 else "mixed")


# ------------------------------------------------------------------ memory


def test_no_pixels_are_kept() -> None:
    png = PngCheck(PLENTY, PLENTY)
    packer = zlib.compressobj(0)
    png.feed(SIGNATURE + header(width=5000, height=5000) + struct.pack(">I4s", 90_000_000, b"IDAT"))
    for _ in range(40):
        png.feed(packer.compress(bytes(1_000_000)))
        assert len(png._block) == 0
        assert len(png._pixels._rows) < 20_001
