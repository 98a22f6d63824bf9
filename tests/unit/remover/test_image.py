from collections.abc import Callable

import numpy as np
import pytest

from cutout_local.remover.image import fit, frame_width, is_blank, letterbox, to_lab
from cutout_local.remover.result import Image


def noise(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((800, 400), (400, 200)),
        ((300, 200), (300, 200)),
        ((1, 1), (8, 8)),
        ((8, 3000), (8, 400)),
        ((3000, 2), (400, 8)),
    ],
)
def test_the_longest_side_fits_and_no_side_vanishes(
    size: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fit(noise(*size), 400).shape[:2] == fitted


def test_a_small_image_is_not_resampled() -> None:
    image = noise(20, 30)

    assert np.array_equal(fit(image, 400), image)


def test_lab_has_lightness_in_percent_and_no_chroma_for_grey() -> None:
    black_and_white = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)

    assert np.allclose(to_lab(black_and_white), [[[0, 0, 0], [100, 0, 0]]], atol=0.1)


def test_one_plain_colour_is_blank_and_noise_is_not() -> None:
    assert is_blank(np.full((20, 20, 3), 77, np.uint8))
    assert not is_blank(noise(20, 20))


def test_a_plain_frame_around_a_busy_image_is_measured() -> None:
    image = np.full((200, 300, 3), 30, np.uint8)
    image[6:-6, 6:-6] = noise(188, 288)

    assert 6 <= frame_width(image) <= 8


def test_a_plain_backdrop_is_no_frame() -> None:
    image = np.full((200, 300, 3), 30, np.uint8)
    image[60:-60, 60:-60] = noise(80, 180)

    assert frame_width(image) == 0


def test_a_frame_on_three_sides_is_none() -> None:
    image = np.full((200, 300, 3), 30, np.uint8)
    image[6:, 6:-6] = noise(194, 288)

    assert frame_width(image) == 0


@pytest.mark.parametrize("colour", [0, 16, 255])
@pytest.mark.parametrize("upright", [True, False])
def test_bars_along_opposite_sides_are_left_out(colour: int, upright: bool) -> None:
    image = np.full((200, 300, 3), colour, np.uint8)
    image[30:-40] = noise(130, 300)

    rows, columns = letterbox(image if upright else image.swapaxes(0, 1))

    bars, photo = (rows, columns) if upright else (columns, rows)
    assert 30 <= bars.start <= 32
    assert 158 <= bars.stop <= 160
    assert photo == slice(0, 300)


def backdrop() -> Image:
    """A box before white, which begins at once over more than half of the width."""
    image = np.full((200, 300, 3), 255, np.uint8)
    image[30:-40, 50:-50] = noise(130, 200)
    return image


def sky() -> Image:
    rows = np.linspace(250, 60, 200, dtype=np.uint8)
    return np.tile(rows[:, None, None], (1, 300, 3))


def one_bar() -> Image:
    image = noise(200, 300)
    image[:30] = 0
    return image


def bars_of_two_colours() -> Image:
    image = one_bar()
    image[-30:] = 255
    return image


def hardly_anything_between() -> Image:
    image = np.zeros((60, 300, 3), np.uint8)
    image[28:-28] = 255
    return image


@pytest.mark.parametrize(
    "make", [backdrop, sky, one_bar, bars_of_two_colours, hardly_anything_between]
)
def test_what_looks_like_bars_stays(make: Callable[[], Image]) -> None:
    image = make()

    assert letterbox(image) == (slice(0, len(image)), slice(0, 300))


def test_a_plain_image_has_no_bars() -> None:
    assert letterbox(np.zeros((20, 30, 3), np.uint8)) == (slice(0, 20), slice(0, 30))


@pytest.mark.parametrize("side", [8, 16, 40])
def test_a_frame_never_eats_a_small_image(side: int) -> None:
    image = np.full((side, side, 3), 30, np.uint8)
    image[2:-2, 2:-2] = noise(side - 4, side - 4)

    assert 2 * frame_width(image) < side / 2
