import numpy as np
import pytest

from cutout_local.remover.matting import closed_form_alpha, matte, trimap
from cutout_local.remover.result import Floats, Image
from tests.unit.remover.conftest import Scene


def ramp() -> tuple[Image, Floats]:
    """Two colours mixed by an alpha that falls from 1 to 0 between columns 20 and 40."""
    alpha = np.tile(np.clip((40 - np.arange(60.0)) / 20, 0, 1), (30, 1))
    mixed = alpha[..., None] * [220, 80, 40] + (1 - alpha[..., None]) * [30, 60, 200]
    return mixed.round().astype(np.uint8), alpha


def test_the_alpha_of_a_linear_mixture_is_recovered() -> None:
    rgb, alpha = ramp()
    known = np.full(alpha.shape, 0.5)
    known[:, :16], known[:, 44:] = 1, 0

    solved = closed_form_alpha(rgb, known, np.full(alpha.shape, 0.5))

    assert np.abs(solved - alpha).max() < 0.02


def test_known_pixels_are_never_changed() -> None:
    rgb, alpha = ramp()
    known = np.where(alpha > 0.7, 1.0, np.where(alpha < 0.3, 0.0, 0.5))

    solved = closed_form_alpha(rgb, known, np.full(alpha.shape, 0.5))

    assert np.array_equal(solved[known != 0.5], known[known != 0.5])
    assert solved.min() >= 0
    assert solved.max() <= 1


def test_nothing_unknown_needs_no_solving() -> None:
    rgb, alpha = ramp()
    known = (alpha > 0.5).astype(float)

    assert np.array_equal(closed_form_alpha(rgb, known, np.zeros(alpha.shape)), known)


def test_an_image_two_pixels_wide_keeps_the_guess() -> None:
    guess = np.linspace(0, 1, 20).reshape(10, 2)

    solved = closed_form_alpha(np.zeros((10, 2, 3), np.uint8), np.full((10, 2), 0.5), guess)

    assert np.array_equal(solved, guess)


def test_the_trimap_has_a_band_along_the_outline_only() -> None:
    mask = np.zeros((500, 500), bool)
    mask[100:400, 100:] = True

    known = trimap(mask)

    assert known[250, [80, 90, 98, 102, 110, 120]].tolist() == [0, 0, 0.5, 0.5, 1, 1]
    assert known[250, -1] == 1


@pytest.mark.parametrize("size", [3, 5, 12, 40])
def test_a_small_subject_keeps_a_known_core(size: int) -> None:
    mask = np.zeros((100, 1400), bool)
    mask[50 : 50 + size, 700 : 700 + size] = True

    assert trimap(mask).max() == 1


def test_a_full_and_an_empty_mask_leave_nothing_unknown() -> None:
    assert trimap(np.ones((50, 60), bool)).min() == 1
    assert trimap(np.zeros((50, 60), bool)).max() == 0


def test_a_coarse_mask_becomes_a_fine_alpha(disc: Scene) -> None:
    coarse = disc.alpha[::3, ::3] > 0.5

    alpha = matte(disc.rgb, coarse)

    assert alpha.shape == disc.alpha.shape
    assert np.abs(alpha - disc.alpha).mean() < 0.01
    assert ((alpha > 0.1) & (alpha < 0.9)).any()


def test_an_image_above_the_matting_size_gets_an_alpha_of_its_own_size(disc: Scene) -> None:
    large = disc.rgb.repeat(6, axis=0).repeat(6, axis=1)

    alpha = matte(large, disc.alpha > 0.5)

    assert alpha.shape == large.shape[:2]
    assert alpha[720, 960] == 1
    assert alpha[10, 10] == 0
