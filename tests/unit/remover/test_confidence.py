import numpy as np
import pytest

from cutout_local.remover.confidence import confidence, level
from cutout_local.remover.cues import Evidence
from cutout_local.remover.params import PARAMS
from cutout_local.remover.result import Mask
from tests.unit.remover.conftest import Scene


def sure_of(mask: Mask) -> Evidence:
    return Evidence(np.where(mask, 0.95, 0.05), mask)


def test_a_mask_on_the_outline_is_trusted_more_than_one_beside_it(disc: Scene) -> None:
    right = disc.alpha > 0.5
    wrong = np.roll(right, 70, axis=1)

    assert confidence(disc.rgb, right, sure_of(right), PARAMS) > PARAMS.high
    assert confidence(disc.rgb, wrong, sure_of(right), PARAMS) < PARAMS.medium


def test_scattered_parts_are_trusted_less(disc: Scene) -> None:
    whole = disc.alpha > 0.5
    split = whole.copy()
    split[:, 150:170] = False

    found = sure_of(whole)

    assert confidence(disc.rgb, split, found, PARAMS) < confidence(disc.rgb, whole, found, PARAMS)


def test_a_mask_without_background_is_not_trusted_at_all(disc: Scene) -> None:
    everything = np.ones(disc.alpha.shape, bool)

    assert confidence(disc.rgb, everything, sure_of(everything), PARAMS) == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mask_that_leaves_only_bars_is_not_trusted_at_all(disc: Scene, axis: int) -> None:
    between = np.moveaxis(np.zeros(disc.alpha.shape, bool), axis, 0)
    between[30:-30] = True
    mask = np.moveaxis(between, 0, axis)

    assert confidence(disc.rgb, mask, sure_of(mask), PARAMS) == 0


@pytest.mark.parametrize(
    ("score", "name"),
    [(1.0, "high"), (0.85, "high"), (0.84, "medium"), (0.70, "medium"), (0.69, "low"), (0, "low")],
)
def test_levels_start_at_their_limits(score: float, name: str) -> None:
    assert level(score, PARAMS) == name
