import numpy as np
import pytest

from cutout_local.remover.picture import fit, frame_width, is_blank, to_lab
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


def test_a_small_picture_is_not_resampled() -> None:
    picture = noise(20, 30)

    assert np.array_equal(fit(picture, 400), picture)


def test_lab_has_lightness_in_percent_and_no_chroma_for_grey() -> None:
    black_and_white = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)

    assert np.allclose(to_lab(black_and_white), [[[0, 0, 0], [100, 0, 0]]], atol=0.1)


def test_one_plain_colour_is_blank_and_noise_is_not() -> None:
    assert is_blank(np.full((20, 20, 3), 77, np.uint8))
    assert not is_blank(noise(20, 20))


def test_a_plain_frame_around_a_busy_picture_is_measured() -> None:
    picture = np.full((200, 300, 3), 30, np.uint8)
    picture[6:-6, 6:-6] = noise(188, 288)

    assert 6 <= frame_width(picture) <= 8


def test_a_plain_backdrop_is_no_frame() -> None:
    picture = np.full((200, 300, 3), 30, np.uint8)
    picture[60:-60, 60:-60] = noise(80, 180)

    assert frame_width(picture) == 0


def test_a_frame_on_three_sides_is_none() -> None:
    picture = np.full((200, 300, 3), 30, np.uint8)
    picture[6:, 6:-6] = noise(194, 288)

    assert frame_width(picture) == 0


@pytest.mark.parametrize("side", [8, 16, 40])
def test_a_frame_never_eats_a_small_picture(side: int) -> None:
    picture = np.full((side, side, 3), 30, np.uint8)
    picture[2:-2, 2:-2] = noise(side - 4, side - 4)

    assert 2 * frame_width(picture) < side / 2
