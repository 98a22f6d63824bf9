import numpy as np
import pytest

from cutout_local.remover.colour_cues import (
    border_distance,
    histogram_likelihood,
    lab_bins,
    sharpness,
)
from cutout_local.remover.image import to_lab
from tests.unit.remover.conftest import Scene


def test_texture_is_sharper_than_a_gradient(disc: Scene) -> None:
    sharp = sharpness(disc.rgb)

    assert sharp[disc.alpha == 1].mean() > sharp[:, :40].mean() + 1


def test_equal_colours_share_a_bin_and_black_is_in_the_first_row() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [254, 255, 254]]], np.uint8)

    [[black, white, nearly_white]] = lab_bins(colours, (8, 16, 16))

    assert black < 16 * 16
    assert white == nearly_white
    assert white >= 7 * 16 * 16


def test_the_likelihood_tells_the_colours_of_the_prior(disc: Scene) -> None:
    ratio = histogram_likelihood(disc.rgb, disc.alpha)

    assert ratio[disc.alpha == 1].mean() > 2
    assert ratio[disc.alpha == 0].mean() < -2
    assert np.abs(ratio).max() <= 4


def test_without_evidence_the_likelihood_is_even(disc: Scene) -> None:
    even = (3 - np.sqrt(5)) / 2  # p = (1 - p)²

    ratio = histogram_likelihood(disc.rgb, np.full(disc.alpha.shape, even))

    assert np.allclose(ratio, 0)


def test_the_subject_is_far_from_the_border_colours(disc: Scene) -> None:
    distance = border_distance(to_lab(disc.rgb))

    assert distance.shape == disc.alpha.shape
    assert np.median(distance[disc.alpha == 1]) > 3 * np.median(distance[disc.alpha == 0])


def test_the_border_distance_is_the_same_every_time(disc: Scene) -> None:
    lab = to_lab(disc.rgb)

    assert border_distance(lab) == pytest.approx(border_distance(lab), abs=0)
