from io import BytesIO
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image, ImageCms

from cutout import convert
from cutout.domain import images
from cutout_local.remover import ImageTooLarge, UnreadableImage, decode, encode_png
from cutout_local.remover.decode import FORMATS
from tests.support.images import HEIC

LIMIT = 1_000_000
RED, GREEN = (200, 30, 30), (20, 160, 60)


def two_colours(width: int = 48, height: int = 32) -> Image.Image:
    """Red on the left, green on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height))
    return image


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def close(pixel: Any, colour: tuple[int, int, int], by: int = 12) -> bool:
    return bool(np.abs(np.asarray(pixel, int) - colour).max() <= by)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_every_supported_format_gives_its_pixels(file_format: str) -> None:
    rgb = decode(saved(two_colours(), file_format), LIMIT)

    assert rgb.shape == (32, 48, 3)
    assert rgb.dtype == np.uint8
    assert close(rgb[16, 8], RED)
    assert close(rgb[16, 40], GREEN)


def test_a_phones_heic_is_decoded_upright() -> None:
    rgb = decode(HEIC, LIMIT)

    assert rgb.shape == (64, 48, 3)
    assert close(rgb[4, 24], RED)
    assert close(rgb[60, 24], GREEN)


def test_the_formats_are_those_that_the_pipeline_takes_or_converts() -> None:
    taken = {name.upper() for name in images.FORMATS.values()}

    assert set(FORMATS) == taken | set(convert.FORMATS)


@pytest.mark.parametrize("file_format", ["PPM", "ICO", "PCX"])
def test_other_formats_are_refused_even_if_pillow_reads_them(file_format: str) -> None:
    with pytest.raises(UnreadableImage):
        decode(saved(two_colours(), file_format), LIMIT)


@pytest.mark.parametrize(
    ("orientation", "shape", "red_at"),
    [
        (1, (32, 48), (16, 4)),
        (3, (32, 48), (16, 44)),
        (6, (48, 32), (4, 16)),
        (8, (48, 32), (44, 16)),
    ],
)
def test_the_exif_orientation_is_applied(
    orientation: int, shape: tuple[int, int], red_at: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    rgb = decode(saved(two_colours(), "JPEG", exif=exif, quality=95), LIMIT)

    assert rgb.shape[:2] == shape
    assert close(rgb[red_at], RED)


def test_cmyk_becomes_rgb() -> None:
    rgb = decode(saved(two_colours().convert("CMYK"), "JPEG", quality=95), LIMIT)

    assert close(rgb[16, 8], RED)


def test_sixteen_bit_grey_keeps_its_range() -> None:
    grey = np.full((8, 8), 0x8000, np.uint16)
    grey[:, 4:] = 0x4000

    rgb = decode(saved(Image.fromarray(grey), "PNG"), LIMIT)

    assert rgb[0, 0].tolist() == [127, 127, 127]
    assert rgb[0, 7].tolist() == [63, 63, 63]


def test_float_grey_is_scaled_by_its_values() -> None:
    ramp = np.tile(np.linspace(-1, 3, 9, dtype=np.float32), (4, 1))

    rgb = decode(saved(Image.fromarray(ramp), "TIFF"), LIMIT)

    assert rgb[0, [0, 4, 8], 0].tolist() == [0, 127, 255]


def test_a_palette_is_resolved() -> None:
    assert close(decode(saved(two_colours().quantize(4), "PNG"), LIMIT)[16, 40], GREEN)


def test_the_first_frame_of_an_animation_counts() -> None:
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), GREEN)

    data = saved(first, "GIF", save_all=True, append_images=[second])

    assert close(decode(data, LIMIT)[4, 4], RED)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_become_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 4, 8))

    rgb = decode(saved(image.convert(mode), "PNG"), LIMIT)

    assert rgb[4, 1].tolist() == [0, 0, 0]
    assert rgb[4, 6].tolist() == [255, 255, 255]


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    rgb = decode(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG"), LIMIT)

    assert close(rgb[0, 0], (127, 127, 127), by=1)


def profile(colour_space: Literal["LAB", "sRGB"]) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(colour_space)).tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_an_embedded_profile_is_converted_to_srgb(mode: str) -> None:
    swapped = profile("sRGB").replace(b"rXYZ", b"----")
    swapped = swapped.replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")

    image = two_colours().convert(mode)
    plain = decode(saved(image, "PNG", icc_profile=profile("sRGB")), LIMIT)
    exchanged = decode(saved(image, "PNG", icc_profile=swapped), LIMIT)

    assert close(plain[16, 8], RED, by=1)
    assert close(exchanged[16, 8], (RED[1], RED[0], RED[2]), by=2)


def test_a_profile_for_another_colour_space_is_ignored() -> None:
    rgb = decode(saved(two_colours(), "PNG", icc_profile=profile("LAB")), LIMIT)

    assert close(rgb[16, 8], RED, by=0)


def test_a_broken_profile_is_ignored() -> None:
    rgb = decode(saved(two_colours(), "PNG", icc_profile=b"no profile"), LIMIT)

    assert close(rgb[16, 8], RED, by=0)


def test_too_many_pixels_are_refused() -> None:
    with pytest.raises(ImageTooLarge, match="48 x 32"):
        decode(saved(two_colours(), "PNG"), max_pixels=48 * 32 - 1)


def test_exactly_the_allowed_pixels_are_taken() -> None:
    assert decode(saved(two_colours(), "PNG"), max_pixels=48 * 32).shape == (32, 48, 3)


def test_a_large_size_is_refused_from_the_header_alone() -> None:
    header_only = saved(Image.new("1", (4000, 4000)), "PNG")[:60]

    with pytest.raises(ImageTooLarge):
        decode(header_only, LIMIT)


def test_a_decompression_bomb_is_too_large() -> None:
    bomb = saved(Image.new("1", (20_000, 20_000)), "PNG")

    with pytest.raises(ImageTooLarge, match="20000 x 20000 pixels, more than 1,000,000"):
        decode(bomb, LIMIT)


def test_what_the_limit_allows_is_decoded_without_a_warning_of_pillows(
    recwarn: pytest.WarningsRecorder,
) -> None:
    wide = Image.new("1", (95_000, 1_000))  # Pillow warns from 89,478,485 pixels on

    assert decode(saved(wide, "PNG"), max_pixels=100_000_000).shape == (1_000, 95_000, 3)
    assert not recwarn.list


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_truncated_file_is_unreadable(file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), file_format)

    with pytest.raises(UnreadableImage):
        decode(data[: len(data) // 2], LIMIT)


@pytest.mark.parametrize("data", [HEIC[:-9], b"", b"\x00", b"<html></html>", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        decode(data, LIMIT)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damaged_bytes_raise_nothing_but_our_errors(file_format: str) -> None:
    random = np.random.default_rng(3)
    data = np.frombuffer(saved(two_colours(), file_format), np.uint8)
    outcomes = set()
    for _ in range(150):
        damaged = data.copy()
        places = random.integers(0, len(data), 4)
        damaged[places] = random.integers(0, 256, 4)
        try:
            assert decode(damaged.tobytes(), LIMIT).shape[2] == 3
            outcomes.add("decoded")
        except (ImageTooLarge, UnreadableImage):
            outcomes.add("refused")

    assert "refused" in outcomes


def test_a_png_holds_exactly_the_cutout() -> None:
    rgba = np.random.default_rng(1).integers(0, 256, (9, 7, 4), dtype=np.uint8)

    with Image.open(BytesIO(encode_png(rgba))) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), rgba)
